"""Saved generators: loaded, described by a card, drawn from, and bundled into plugins."""
