"""What `import rnnjax.training` needs."""

import importlib
import sys

import pytest

import rnnjax.training


def test_without_optax_the_error_has_the_pip_line(monkeypatch):
    monkeypatch.delitem(sys.modules, "rnnjax.training")
    monkeypatch.setattr("rnnjax._extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"optax.*'rnnjax\[train\]'"):
        importlib.import_module("rnnjax.training")


def test_all_is_there_and_sorted():
    names = rnnjax.training.__all__
    assert names == sorted(names)
    assert all(callable(getattr(rnnjax.training, name)) for name in names)
