"""Schedules: pure functions from images seen to learning rates and other values."""
