"""Read image files: the only scan of a folder, and the only decoding, for training, scoring and judging alike."""

__all__ = ["archives", "decoding", "encoded", "formats", "image_set", "options", "pool", "ranges", "scan", "worker"]
