"""Trackers for ganzoo: TensorBoard and Weights & Biases."""
