"""A run's folder: its layout, its files, and the generators and scores in it."""

__all__ = ["facts", "folder", "generators", "health", "layout", "licences", "scores"]
