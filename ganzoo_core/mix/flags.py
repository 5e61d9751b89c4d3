"""Settings that have a flag or an argument of their own, such as `--images` and `--seed`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganzoo_core.errors import UsageError
from ganzoo_core.messages import format_value
from ganzoo_core.settings.lengths import MAX_LENGTH_IMAGES, MAX_MINUTES


def collect_flags(**shorthands: Any) -> dict[str, tuple[Any, str]]:
    """Shorthands (`images`, `epochs`, `batch_size`, `seed` …) -> settings, each with its flag for messages."""
    settings: dict[str, tuple[Any, str]] = {}
    lengths = [
        (unit, shorthands[unit])
        for unit in ("images", "epochs", "steps", "minutes")
        if shorthands.get(unit) is not None
    ]
    if len(lengths) > 1:
        raise UsageError(f"{' and '.join(f'--{unit}' for unit, _ in lengths)} both say how long; give one")
    for unit, count in lengths:
        most = MAX_MINUTES if unit == "minutes" else MAX_LENGTH_IMAGES
        if not isinstance(count, int | float) or isinstance(count, bool) or not 0 < count <= most:
            raise UsageError(
                f"--{unit} is {format_value(count)}; expected a number above 0, and of at most {most:,.0f}"
            )
        settings["train.length"] = (np.format_float_positional(count, trim="-") + unit, f"--{unit}")
    for name, key in (("batch_size", "train.batch_size"), ("seed", "train.seed"), ("device", "engine.device")):
        if shorthands.get(name) is not None:
            settings[key] = (shorthands[name], "--" + name.replace("_", "-"))
    return settings
