"""Output for a terminal or a pipe: sanitised text, tables and progress."""

__all__ = ["bars", "progress", "tables", "text"]
