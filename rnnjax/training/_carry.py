"""The carry on its way from one window to the next."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rnnjax.base import Carry


def hand_on(given: Carry, returned: Carry) -> Carry:
    """``returned``, cut from the gradient and in exactly the type of ``given``.

    Raises:
      ValueError: it has another structure, shape or dtype, so that the next window
        would be compiled anew.
    """
    have, want = jax.tree.structure(returned), jax.tree.structure(given)
    if given is None and have != want:
        raise ValueError(
            "carry: expected the loss to return the carry None, as it was given, got "
            f"{have}. To hand the carry on, start from rnn.initial_carry(params, "
            "(B,)), as in init_state(params, optimizer, carry); to start every batch "
            "afresh, return None in its place."
        )
    if have != want:
        raise ValueError(
            f"carry: expected the loss to return the structure it was given, {want}, "
            f"got {have}. Start from rnn.initial_carry(params, (B,)) of the same rnn."
        )

    def leaf_on(path, like, leaf):
        types = [f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in (like, leaf)]
        if types[0] != types[1]:
            raise ValueError(
                f"carry{jax.tree_util.keystr(path)}: expected the loss to return "
                f"{types[0]}, as it was given, got {types[1]}. Give every window the "
                f"same batch size, and start from rnn.initial_carry(params, (B,))."
            )
        return jax.lax.stop_gradient(jnp.asarray(leaf, jnp.result_type(leaf)))

    return jax.tree_util.tree_map_with_path(leaf_on, given, returned)
