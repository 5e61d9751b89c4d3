"""Progressive growing of GANs (Karras et al. 2017, arXiv:1710.10196) in TensorFlow, as a ganzoo plugin.

`networks.py` holds the two networks, `plain.py` the whole GAN as one script without ganzoo, `ganzoo.toml` the
settings. The stages come from the schedule `progressive` of ganzoo-schedules.
"""
