"""Tell which of the processes that train one run this is, and which launcher started it."""

__all__ = ["launchers", "ranks"]
