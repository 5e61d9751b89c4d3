"""Features of images for ganzoo's scores: the extractor `bundled`, a small network whose weights lie in the wheel."""
