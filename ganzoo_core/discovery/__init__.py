"""Find installed parts through their manifests, and import and call the picked ones."""

__all__ = ["answers", "catalog", "loading", "manifest"]
