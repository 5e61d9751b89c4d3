"""Find what is installed by its manifests, and import and call the parts that were picked."""

__all__ = ["answers", "catalog", "loading", "manifest"]
