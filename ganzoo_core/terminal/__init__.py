"""Output for a terminal or a pipe: sanitised text, tables and progress."""

__all__ = ["progress", "tables", "text"]
