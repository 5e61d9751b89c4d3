"""A run's folder: its layout, its files, and the generators and scores kept in it."""
