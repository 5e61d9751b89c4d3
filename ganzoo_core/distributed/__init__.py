"""Several processes that train one run: which one this is, and which launcher started it."""
