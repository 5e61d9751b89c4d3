"""Refuse to score too few images, in words that say which side has them and what helps there."""

from __future__ import annotations

import ganzoo_core as gz

DRAW_MORE = "a run draws more with -n {}"
ADD_IMAGES = "add images to the data, or say --reference all if a part of them is held out"


def check_image_count(need: str, least: int, real: gz.Features, fake: gz.Features, *, advice: str = "") -> None:
    """Refuse fewer images than a metric needs.

    Args:
        need: what it needs, such as "kid needs at least 4 images on each side".
        least: the smallest number of images, of the reference and of those that are scored.
        real: of the reference.
        fake: of the images that are scored.
        advice: on what else helps.

    Raises:
        UsageError: if either side has fewer than `least`.
    """
    counts, ways = [], []
    scored, reference = len(fake.features), len(real.features)
    if scored < least:
        counts.append("1 image is scored" if scored == 1 else f"{scored:,} images are scored")
        ways.append(DRAW_MORE.format(max(1000, 2 * least)))
    if reference < least:
        counts.append("1 is in the reference" if reference == 1 else f"{reference:,} are in the reference")
        ways.append(ADD_IMAGES)
    if counts:
        raise gz.UsageError(f"{need}, and {' and '.join(counts)}; {'; '.join(filter(None, (*ways, advice)))}")


def require_images(name: str, least: int, real: gz.Features, fake: gz.Features) -> None:
    """Refuse fewer than `least` images on a side; see `check_image_count`."""
    check_image_count(f"{name} needs at least {least} images on each side", least, real, fake)
