"""Modifiers: wrappers around another plugin's part."""
