"""pix2pix (Isola, Zhu, Zhou, Efros 2017, arXiv:1611.07004) as a ganzoo plugin: pictures in, pictures out.

`networks.py` holds the two networks, `loss.py` the loss, `plain.py` the whole GAN as one script without ganzoo,
`ganzoo.toml` the settings.
"""
