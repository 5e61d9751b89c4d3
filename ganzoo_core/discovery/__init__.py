"""What is installed: manifests are read, parts found by name, and the picked ones imported and called."""
