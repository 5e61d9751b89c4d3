"""Scores for ganzoo: feature extractors (`classifier`, `inception`) and metrics on their features."""
