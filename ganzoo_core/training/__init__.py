"""Train a run, from a mix to its last checkpoint: assemble it, watch it, and resume it."""

__all__ = ["assemble", "other_process", "resuming", "run", "trackers"]
