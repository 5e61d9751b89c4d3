"""A class-conditional GAN (Mirza, Osindero 2014, arXiv:1411.1784) in PyTorch, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings.
"""
