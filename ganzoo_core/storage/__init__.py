"""Open files that may come from a stranger, decode them into typed records, and write files whole or not at all."""

__all__ = ["atomic", "decoding", "files", "outputs", "paths", "records", "run_records", "tensors"]
