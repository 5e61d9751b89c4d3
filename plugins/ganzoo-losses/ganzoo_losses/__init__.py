"""GAN losses, each in a module of its own, written on `step.ops` and so for every framework."""
