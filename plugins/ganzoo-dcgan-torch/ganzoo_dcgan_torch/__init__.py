"""DCGAN (Radford, Metz, Chintala 2015, arXiv:1511.06434) in PyTorch, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings.
"""
