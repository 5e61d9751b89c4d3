"""Training: assemble a run from a mix, train it to its last checkpoint, resume it."""

__all__ = ["assemble", "other_process", "resuming", "run", "trackers"]
