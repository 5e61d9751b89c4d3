"""The name of every file and folder in a run's folder."""

from __future__ import annotations

DATA = "data"  # the fingerprint of what a run learns from
WEIGHTS, CARD = "generator.safetensors", "generator.json"
CONFIG, STATS = "config.yaml", "stats.jsonl"
STATE, POSITION = "state.safetensors", "position.json"
LOCK = ".lock"
BEFORE = "before-restart-"  # in front of the generators of a run that was begun again
DAMAGED = "damaged-"  # in front of a checkpoint's number, once it was found to be
FOLDERS = ("data", "checkpoints", "snapshots", "samples", "generator", "trackers", "report")
SCORES = "scores.jsonl"
CURVES = "curves.png"
REPORT = "report.html"
MEASURED = "measured.json"  # in `report`: what took the networks
