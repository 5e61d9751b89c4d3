"""Open untrusted files, decode them into typed records, and write files atomically."""

__all__ = ["atomic", "decoding", "files", "outputs", "paths", "records", "run_records", "tensors"]
