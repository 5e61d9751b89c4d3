"""Load saved generators, write the card that describes each, draw from them, and bundle them into plugins."""

__all__ = ["bundled", "bundling", "card", "classes", "latent_walk", "load", "notebook_view", "saved"]
