"""DCGAN for 28 pixels in TensorFlow, a plugin of ganzoo."""
