"""Worker process that draws from a saved generator when its parent has loaded the other framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.processes import Say, serve

_open_generators: dict[str, SavedGenerator] = {}


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Open a saved generator, or draw from the open one."""
    if "generator" in request:
        generator = _open_generators["generator"] = SavedGenerator(
            Path(request["generator"]), settings=request["settings"]
        )
        generator.open()
        return {}
    with np.load(request["draw"], allow_pickle=False) as inputs:
        conditions = {name: inputs[name] for name in inputs.files}
        z, labels = conditions.pop("z"), conditions.pop("labels", None)
    more = {name: request[name] for name in ("noise_seed", "first")}
    drawn = _open_generators["generator"].draw(z, labels, conditions or None, **more)
    np.save(request["to"], drawn, allow_pickle=False)
    return {}


if __name__ == "__main__":
    serve(handle_request)
