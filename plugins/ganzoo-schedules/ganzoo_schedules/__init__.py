"""Schedules: pure functions from images seen to learning rates and the like."""
