"""Read this process's rank in a distributed run from the environment, and detect launchers."""

__all__ = ["launchers", "ranks"]
