"""From an image source to the batches that the networks see."""
