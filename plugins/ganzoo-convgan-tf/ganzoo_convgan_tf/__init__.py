"""A convolutional GAN with max pooling, in TensorFlow, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings.
"""
