"""From an image source to the training batches."""

__all__ = [
    "changes",
    "classes",
    "cores",
    "fingerprint",
    "framing",
    "lazy",
    "memory",
    "picture_files",
    "pixels",
    "prefetch",
    "reading",
    "sources",
    "splits",
    "stream",
    "summary",
]
