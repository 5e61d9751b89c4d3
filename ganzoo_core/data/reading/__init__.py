"""Read image files: the only scan of a folder, and the only decoding, for training, scoring and judging alike."""

__all__ = ["decoding", "image_set", "options", "scan"]
