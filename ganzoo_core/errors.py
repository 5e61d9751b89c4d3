"""The errors that ganzoo tells the user in one sentence, each with its exit code."""

from __future__ import annotations


class GanzooError(Exception):
    """An error that is told to the user as one sentence, without a traceback.

    A sentence names the thing, what was found, what was expected and what to do next.
    """

    exit_code = 1


class UsageError(GanzooError):
    """What was asked for cannot be: an unknown name, a bad value, parts that do not fit each other."""

    exit_code = 2


class DataError(UsageError):
    """The images cannot be had or cannot be read: a missing or broken file, no network."""


class PluginError(GanzooError):
    """A plugin failed: it could not be imported, breaks the contract, or raised."""

    exit_code = 3


class Diverged(GanzooError):
    """A loss became infinite or not a number."""

    exit_code = 4
