"""Reading HLO, counting work, and what follows: on programs that this CPU compiles."""

import math
import sys

import jax
import jax.numpy as jnp
import pytest

from rnnjax import aot
from rnnjax.aot import _hlo
from rnnjax.aot._costs import costs
from rnnjax.aot._report import KERNEL_SECONDS
from rnnjax.aot._work import product_flops

PEAKS = aot.Peaks(flops=1e12, bandwidth=1e10, memory=1e9, clock=1e9)


def module(f, *args):
    return _hlo.parse(jax.jit(f).lower(*args).compile().as_text())


def scanned(steps):
    def f(w, xs):
        def step(h, x):
            h = jnp.tanh(h @ w + x)
            return h, h

        return jax.lax.scan(step, xs[0], xs, steps)[1]

    return f, (jnp.ones((8, 8)), jnp.ones((steps, 4, 8)))


class TestHLO:
    def test_loops_trips_and_products(self):
        f, args = scanned(5)
        outside, loop = costs(module(f, *args), estimated=False).parts
        assert (outside.depth, outside.trips, outside.products) == (0, 1, ())
        assert (loop.depth, loop.trips, loop.products) == (1, 5, ((4, 8),))
        assert outside.cycles is loop.cycles is None

    def test_nested_loops_multiply(self):
        def f(w, x):
            inner = lambda i, x: jnp.tanh(x @ w)  # noqa: E731
            outer = lambda i, x: jax.lax.fori_loop(2, 5, inner, x) + 1  # noqa: E731
            return jax.lax.fori_loop(0, 4, outer, x)

        text = jax.jit(f).lower(jnp.ones((8, 8)), jnp.ones((4, 8))).compile().as_text()
        # Without the compiler's own note the numbers come from the conditions.
        for given in (text, text.replace("known_trip_count", "unknown")):
            parts = costs(_hlo.parse(given), estimated=False).parts
            assert [(p.depth, p.trips) for p in parts] == [(0, 1), (1, 4), (2, 12)]

    def test_a_computed_number_of_trips_is_unknown(self):
        def f(n, x):
            return jax.lax.fori_loop(0, n, lambda i, x: jnp.sin(x) + 1, x)

        parts = costs(module(f, 3, jnp.ones((4, 4))), estimated=False).parts
        assert (parts[1].trips, parts[1].times) == (None, 1)

    def test_a_slice_moves_what_it_takes(self):
        """And an update what it writes: 5 steps of 4 x 8, not 5 times all of them."""
        f, args = scanned(50)
        loop = costs(module(f, *args), estimated=False).parts[1]
        assert loop.bytes < 4 * 50 * 4 * 8

    def test_arrays(self):
        found = _hlo.arrays("(s32[], bf16[8,128]{1,0:T(8,128)(2,1)S(1)}, pred[3])")
        assert [(a.dtype, a.shape, a.space) for a in found] == [
            ("s32", (), 0),
            ("bf16", (8, 128), 1),
            ("pred", (3,), 0),
        ]
        assert [a.bytes for a in found] == [4, 2048, 3]


class TestWork:
    def test_products_in_loops_and_branches(self):
        f, (w, xs) = scanned(5)

        def both(w, xs):
            small, large = (lambda x: x), (lambda x: x @ w @ w)
            return f(w, xs), jax.lax.cond(xs[0, 0, 0] > 0, small, large, xs[0])

        one = 2 * 4 * 8 * 8
        assert product_flops(jax.jit(both).trace(w, xs).jaxpr) == (5 + 2) * one

    def test_what_no_output_needs_is_left_out(self):
        def f(a):
            unused = a @ a
            return a + 1 if unused.shape else unused

        assert product_flops(jax.jit(f).trace(jnp.ones((3, 3))).jaxpr) == 0

    def test_a_linear_system_is_solved_once(self):
        """And neither applied nor solved transposed, which it has beside."""

        def f(a, b):
            product = lambda x: a @ x  # noqa: E731
            solve = lambda _, b: a @ (a @ b)  # noqa: E731
            return jax.lax.custom_linear_solve(product, b, solve, solve)

        a, b = jnp.eye(4), jnp.ones(4)
        assert product_flops(jax.jit(f).trace(a, b).jaxpr) == 2 * (2 * 4 * 4)

    def test_convolution(self):
        def f(x, w):
            return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID")

        x, w = jnp.ones((2, 3, 8, 8)), jnp.ones((5, 3, 3, 3))
        found = product_flops(jax.jit(f).trace(x, w).jaxpr)
        assert found == 2 * (2 * 5 * 6 * 6) * (3 * 3 * 3)


def report(parts, flops=0.0, calls=(), **memory):
    sizes = {"arguments": 0, "results": 0, "temporary": 0, "code": 0} | memory
    room = aot.Memory(**sizes, capacity=PEAKS.memory)
    return aot.Report("v5e", "a TPU", 1, room, flops, parts, (), calls, PEAKS)


def part(depth=0, trips=1, cycles=None, kernels=0, moved=0.0):
    return aot.Part("loop" * depth, depth, trips, cycles, kernels, moved, ())


class TestReport:
    def test_cycles_are_bodies_times_trips_and_what_is_outside(self):
        made = report((part(cycles=7), part(1, 10, 100), part(2, None, 3)))
        assert made.cycles == 7 + 10 * 100 + 3
        assert report((part(),)).cycles is None

    def test_bound_by_the_largest(self):
        compute = report((part(cycles=2_000_000),), flops=1e9)  # 1 ms, 2 ms, 0
        assert compute.bound == "compute"
        assert compute.seconds["latency"] == pytest.approx(2e-3)
        assert report((part(cycles=2_100_000),), flops=1e9).bound == "latency"
        assert report((part(moved=2e7),), flops=1e9).bound == "bandwidth"
        launched = report((part(1, 1000, kernels=3),), flops=1e9)
        assert launched.seconds["latency"] == pytest.approx(3000 * KERNEL_SECONDS)
        assert launched.bound == "latency"

    def test_intensity(self):
        assert report((part(1, 10, moved=5.0),), flops=100.0).intensity == 2
        assert math.isinf(report((part(),), flops=1.0).intensity)

    def test_memory(self):
        small = report((part(),), arguments=10**8, temporary=9 * 10**8)
        assert small.memory.fits
        large = report((part(),), arguments=10**8, temporary=9 * 10**8, code=1)
        assert not large.memory.fits
        assert "does NOT fit in 1 GB" in str(large)

    def test_table(self):
        calls = (aot.CustomCall("tpu_custom_call", "lstm", "loop"),) * 2
        shown = str(report((part(cycles=7), part(1, None, 100, 3, 2e3)), 1e9, calls))
        assert "nothing was run" in shown
        for cell in ("outside of loops", "loop loop", "?", "2 kB", "estimated cycles"):
            assert cell in shown
        assert "2 x tpu_custom_call (lstm) in a loop" in shown
        assert "their cycles are not estimated" in shown


class TestErrors:
    x = jax.ShapeDtypeStruct((8,), jnp.float32)

    @pytest.mark.parametrize("target", ["v9", "v5e:2", "h100:0", "h100:2x2"])
    def test_unknown_targets(self, target):
        with pytest.raises(ValueError, match="target: expected one of v4, v5e"):
            aot.compile_for(jnp.sin, (self.x,), target)

    def test_args_is_a_tuple(self):
        with pytest.raises(TypeError, match=r"args: expected a tuple .* write \(x,\)"):
            aot.compile_for(jnp.sin, self.x, "v5e")

    @pytest.mark.parametrize(
        ("target", "package"), [("v5e", "libtpu"), ("h100", "jax_cuda12_plugin")]
    )
    def test_a_compiler_that_is_not_installed(self, target, package, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setattr("rnnjax._extras.find_spec", lambda name: None)
        with pytest.raises(ModuleNotFoundError, match=rf"{package}.*'rnnjax\[aot\]'"):
            aot.compile_for(jnp.sin, (self.x,), target)
