"""`config.yaml`: every setting with its origin, and the run's facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ganzoo_core.settings import Settings


def format_config(settings: Settings, facts: Mapping[str, Any]) -> str:
    """Flat settings, each followed by its origin as a comment, and the run's facts under `run`."""
    lines = ["# Every setting of this run and where it came from. `ganzoo run --config FILE` reads it."]
    for key, entry in sorted(settings.entries.items()):
        if entry.value is not None:
            origin = " ".join(entry.origin.split())  # a file name may contain a line break
            lines.append(f"{key}: {json.dumps(entry.value)}" + (f"  # {origin}" if origin else ""))
    lines += ["run:", *(f"  {key}: {json.dumps(value)}" for key, value in facts.items())]
    return "\n".join(lines) + "\n"
