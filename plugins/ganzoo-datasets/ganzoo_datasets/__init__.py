"""Datasets for ganzoo. The manifest is `ganzoo.toml`; each dataset has a module of its own."""
