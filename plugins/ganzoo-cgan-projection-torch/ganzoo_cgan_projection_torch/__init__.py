"""The projection discriminator (Miyato, Koyama 2018, arXiv:1802.05637) in PyTorch, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings.
"""
