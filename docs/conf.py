"""Sphinx configuration. `sphinx-build -W -b html docs docs/_build` builds the pages."""

import importlib
import inspect
import pkgutil

from sphinx.util import logging

import rnnjax

project = "rnnjax"
author = "The rnnjax authors"
copyright = "2026, The rnnjax authors"
release = version = rnnjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"rnnjax {release}"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_timeout = 120
nb_execution_raise_on_error = True

# Docstrings write code in single backticks, as the pages do.
default_role = "code"
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # an Attributes section describes, it documents no symbol


# What users need of these is in rnnjax itself.
INNER_MODULES = ("rnnjax.base", "rnnjax.combinators", "rnnjax.unroll")


def public_modules():
    """rnnjax and its submodules, without the private and the inner ones."""
    yield rnnjax
    for info in pkgutil.walk_packages(rnnjax.__path__, "rnnjax."):
        if "._" not in info.name and not info.name.startswith(INNER_MODULES):
            yield importlib.import_module(info.name)


def check_public_symbols(app, env):
    """Warn, which fails the build, of every public symbol that no page documents."""
    documented = env.get_domain("py").objects
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            symbol = getattr(module, name)
            again = getattr(rnnjax, name, None) is symbol and f"rnnjax.{name}"
            if (
                not inspect.ismodule(symbol)
                and f"{module.__name__}.{name}" not in documented
                and again not in documented
            ):
                logging.getLogger("rnnjax").warning(
                    "%s.%s is public, but no page documents it.", module.__name__, name
                )


def skip_field_numbers(app, what, name, symbol, skip, options):
    """Leave out the `Alias for field number 0` of NamedTuples."""
    doc = getattr(symbol, "__doc__", None) or ""
    return True if doc.startswith("Alias for field number") else None


def setup(app):
    """Connect the functions above."""
    app.connect("env-check-consistency", check_public_symbols)
    app.connect("autodoc-skip-member", skip_field_numbers)
