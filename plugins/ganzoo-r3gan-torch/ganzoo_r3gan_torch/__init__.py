"""R3GAN (Huang et al. 2024, arXiv:2501.05441) in PyTorch, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings.
"""
