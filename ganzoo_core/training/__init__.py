"""A run, from a mix to its last checkpoint: assembled, trained, watched, resumed."""
