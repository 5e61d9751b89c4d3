"""Parts that are broken on purpose: each check of the contract must catch the one that bears its name."""
