"""The errors that ganzoo reports to the user in one sentence, each with its exit code."""

from __future__ import annotations


class GanzooError(Exception):
    """An error that is shown to the user as one sentence, without a traceback.

    The sentence names the thing, what was found, what was expected and what to do next.
    """

    exit_code = 1


class UsageError(GanzooError):
    """An invalid request: an unknown name, a bad value, parts that do not fit each other."""

    exit_code = 2


class DataError(UsageError):
    """The images cannot be obtained or read: a missing or broken file, no network."""


class PluginError(GanzooError):
    """A plugin failed: it could not be imported, breaks the contract, or raised."""

    exit_code = 3


class Diverged(GanzooError):
    """A loss became infinite or not a number."""

    exit_code = 4
