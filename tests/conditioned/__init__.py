"""Small models that are drawn from conditions, and data that have some."""
