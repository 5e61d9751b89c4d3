"""OpenMoji's emoji as a dataset for ganzoo. The manifest is `ganzoo.toml`."""
