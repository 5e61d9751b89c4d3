"""A process that opens a saved generator and draws from it, beside one in which the other framework is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.processes import Say, serve

_open_generators: dict[str, SavedGenerator] = {}


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Open a saved generator, or draw from the one that is open."""
    if "generator" in request:
        _open_generators["generator"] = SavedGenerator(
            Path(request["generator"]), device=request["device"], settings=request["settings"]
        )
        return {}
    with np.load(request["draw"], allow_pickle=False) as given:
        labels = given["labels"] if "labels" in given else None  # noqa: SIM401
        drawn = _open_generators["generator"].draw(given["z"], labels)
    np.save(request["to"], drawn, allow_pickle=False)
    return {}


if __name__ == "__main__":
    serve(handle_request)
