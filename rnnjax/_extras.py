"""Packages that are not installed, turned into the pip line that installs them."""

from importlib.util import find_spec


def require(*packages: str, extra: str) -> None:
    """Raise unless all `packages`, which the extra `extra` brings, are installed.

    Modules outside the core call it before they import such a package.

    Args:
      *packages: top-level import names, such as `"optax"`.
      extra: the extra of rnnjax that installs them, such as `"train"`.

    Raises:
      ModuleNotFoundError: naming the first missing package and the pip line.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"Expected the package {package}, which is not installed. "
                f"Install it by: pip install 'rnnjax[{extra}]'",
                name=package,
            )
