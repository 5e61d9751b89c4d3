"""Turn an image source into the batches that the networks see."""

__all__ = [
    "changes",
    "fingerprint",
    "framing",
    "lazy",
    "memory",
    "picture_files",
    "pixels",
    "prefetch",
    "sources",
    "splits",
    "stream",
    "summary",
]
