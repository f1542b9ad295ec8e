"""Meshes from a line of text."""

import jax
import pytest
from jax.sharding import AxisType

from rnnjax import sharding


def test_sizes_and_order_are_those_of_the_text():
    mesh = sharding.mesh(" data=2 , model=4")
    assert dict(mesh.shape) == {"data": 2, "model": 4}
    assert mesh.axis_types == (AxisType.Auto,) * 2
    assert list(mesh.devices.flat) == jax.devices()


def test_a_star_takes_what_is_left():
    assert dict(sharding.mesh("data=*,model=2").shape) == {"data": 4, "model": 2}
    assert dict(sharding.mesh("data=*", devices=jax.devices()[:3]).shape) == {"data": 3}


def test_fewer_than_all_devices_are_the_first():
    assert list(sharding.mesh("data=2").devices) == jax.devices()[:2]


def test_explicit_axes():
    assert sharding.mesh("data=8", explicit=True).axis_types == (AxisType.Explicit,)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "expected name=size"),
        ("data", "expected name=size"),
        ("data=0", "expected name=size"),
        ("data=-1", "expected name=size"),
        ("data=4;model=2", "expected name=size"),
        ("4=data", "expected name=size"),
        ("data=2,data=4", "every name once"),
        ("data=*,model=*", "one axis at most"),
        ("data=16", "number of devices, 8, got 'data=16', whose product is 16"),
        ("data=*,model=9", "whose product is 9"),
    ],
)
def test_what_cannot_be_is_named(spec, message):
    with pytest.raises(ValueError, match=message):
        sharding.mesh(spec)
