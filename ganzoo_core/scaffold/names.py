"""Check that a new plugin's name is valid for pip and Python, and not in use."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import sys

from ganzoo_core.errors import UsageError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
_RESERVED = {"tests", "package"}  # folders of a distribution that are no packages
MAX_NAME_LENGTH = 60


def to_package_name(name: str) -> str:
    """The top-level package of a distribution: `my-gan` -> `my_gan`."""
    return name.replace("-", "_")


def check_name(name: str) -> None:
    """Check that pip, Python and the manifest accept the name.

    Raises:
        UsageError: saying what is wrong with the name, and if possible suggesting another.
    """
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        hint = f"; how about {suggestion}?" if _NAME.fullmatch(suggestion) else ""
        raise UsageError(
            f"{name!r} cannot be a plugin's name; expected lower case letters, digits, hyphens and underscores, with a "
            f"letter or digit at either end{hint}"
        )
    if len(name) > MAX_NAME_LENGTH:
        raise UsageError(f"the name has {len(name)} letters; expected {MAX_NAME_LENGTH} at most")
    package = to_package_name(name)
    if not package.isidentifier():
        raise UsageError(f"{name} cannot be imported as {package}; begin the name with a letter")
    if keyword.iskeyword(package):
        raise UsageError(f"{name} is a keyword of Python, so no package can be called {package}; how about {name}-gan?")
    if package in sys.stdlib_module_names:
        raise UsageError(f"{package} is a module of Python's own, which {name} would hide; how about {name}-gan?")
    if package in _RESERVED:
        raise UsageError(f"a package called {package} would be in the way of others; how about my-{name}?")
    version = _find_installed_version(name)
    if version:
        raise UsageError(f"{name} {version} is installed already; choose another name, or `pip uninstall {name}` first")
    if _is_importable(package):
        raise UsageError(f"the module {package} is installed already, and {name} would hide it; choose another name")


def _find_installed_version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except Exception:  # not installed, or with unreadable metadata
        return ""


def _is_importable(module: str) -> bool:
    """Whether a module of this name can be imported; a folder without code does not count."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
