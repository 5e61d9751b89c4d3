"""Worker process that draws from saved generators, in their own framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.processes import Say, serve
from ganzoo_core.runs import layout
from ganzoo_core.storage import files


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Draw images, and write them and their labels to the requested paths.

    Args:
        request: `generator`, its folder; `n`, `seed`, `device`, `settings` of `engine.*`; and the output paths
            `images` and `labels`.
        say: unused.

    Returns:
        Facts of the generator: `images` seen, `conditional`, `size` [H,W,C], and `generator`, the SHA-256 of its
        weights.
    """
    from ganzoo_core.generation.saved import SavedGenerator

    folder = Path(request["generator"])
    generator = SavedGenerator(folder, device=request["device"], settings=request.get("settings"))
    labels = generator.labels(request["n"])
    drawn = generator.generate(request["n"], seed=request["seed"], labels=labels)
    np.save(request["images"], drawn, allow_pickle=False)
    if labels is not None:
        np.save(request["labels"], labels, allow_pickle=False)
    return {
        "images": generator.images_seen,
        "conditional": labels is not None,
        "size": list(drawn.shape[1:]),
        "generator": files.compute_sha256(folder / layout.WEIGHTS),
    }


if __name__ == "__main__":
    serve(handle_request)
