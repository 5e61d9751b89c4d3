"""The version of the contract between the core and plugins, by itself: reading a manifest needs nothing else of it."""

API = 1
"""The version of this contract. A manifest states the version it was written for (`api = 1`)."""
