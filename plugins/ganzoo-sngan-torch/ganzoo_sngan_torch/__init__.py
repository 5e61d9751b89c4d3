"""SNGAN in PyTorch, a ganzoo plugin."""
