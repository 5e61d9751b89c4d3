"""Modifiers: wrappers that are laid around another plugin's part."""
