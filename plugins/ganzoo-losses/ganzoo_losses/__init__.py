"""GAN losses, one per module, written with `step.ops` and so for every framework."""
