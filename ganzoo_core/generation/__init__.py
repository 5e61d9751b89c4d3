"""Saved generators: load them, draw from them, write their cards and bundle them into plugins."""

__all__ = ["bundled", "bundling", "card", "latent_walk", "load", "notebook_view", "saved"]
