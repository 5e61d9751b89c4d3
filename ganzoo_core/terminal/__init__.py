"""Write what a person reads in a terminal: cleaned text, tables and progress."""

__all__ = ["progress", "tables", "text"]
