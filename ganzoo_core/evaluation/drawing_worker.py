"""Worker process that draws from saved generators, in their own framework."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.data import side_by_side
from ganzoo_core.data.framing import crop_padding
from ganzoo_core.generation.data_rows import explain_fewer, load_for_generator
from ganzoo_core.generation.given import Given, crop_pictures
from ganzoo_core.generation.saved import SavedGenerator
from ganzoo_core.processes import Say, serve
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import files


def handle_request(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Draw images, and write them and their labels to the requested paths.

    Args:
        request: `generator`, its folder; `device`, `settings` of `engine.*`; without `n` it is only made ready. `n` and
            `seed`; `part`, the indices of the first of the `n` images to draw and of that after the last, all if it is
            missing; the output paths `images` and `labels`; and for a generator with conditions `data` and `data_root`,
            see `data_rows.load_for_generator`, and the output paths `targets`, if the images are to be scored, and
            `columns`, if they are to be shown, for an archive with the pictures that stand beside each other.
        say: receives a message if fewer images are drawn for scores than asked for.

    Returns:
        Facts: `count` of the images in all parts, and nothing more if the part lies behind them; of the generator
            `images` seen, `conditional`, `paired` where it is drawn from the conditions of real images, which are the
            targets, at their size, `size` [H,W,C], and `generator`, the SHA-256 of its weights.
    """
    generator, sha256 = _open_generator(request["generator"], request["device"], json.dumps(request.get("settings")))
    if "n" not in request:
        return {}
    n, on = request["n"], None
    first, stop = request.get("part", (0, n))
    if generator.spec.conditions:
        on = _read_test_part(request["generator"], n, request.get("data"), request.get("data_root"))
        if len(on) < n and "targets" in request and not first:
            say(explain_fewer(n, len(on)))
        n = len(on)
        if first >= n:
            return {"count": n}
    own = on.labels if on is not None and generator.spec.classes else None
    labels = generator.labels(n, own)
    drawn = generator.generate_part(first, stop, n, seed=request["seed"], labels=labels, on=on)
    np.save(request["images"], drawn, allow_pickle=False)
    if labels is not None:
        np.save(request["labels"], labels[first:stop], allow_pickle=False)
    # A growing network's images are smaller than their targets until it has all its layers.
    targets = None if on is None or on.targets is None else on.targets[first:stop]
    is_paired = targets is not None and targets.shape == drawn.shape
    if targets is not None and is_paired and "targets" in request:
        np.save(request["targets"], targets, allow_pickle=False)
    if on is not None and "columns" in request:
        conditions = crop_pictures(on.conditions, generator.card)
        columns: dict[str, Any] = side_by_side.list_columns(conditions, output=drawn, target=targets)
        np.savez(request["columns"], **columns)
    return {
        "count": n,
        "images": generator.images_seen,
        "conditional": labels is not None,
        "paired": is_paired,
        "size": list(drawn.shape[1:]),
        "generator": sha256,
    }


@functools.lru_cache(maxsize=1)
def _open_generator(folder: str, device: str, settings: str) -> tuple[SavedGenerator, str]:
    """The generator and the SHA-256 of its weights, kept from part to part; `settings` in JSON."""
    generator = SavedGenerator(Path(folder), device=device, settings=json.loads(settings))
    generator.open()
    return generator, files.compute_sha256(Path(folder) / layout.WEIGHTS)


@functools.cache
def _read_test_part(folder: str, n: int, data: str | None, data_root: str | None) -> Given:
    """Rows of the test part, of any class if there are fewer than all."""
    path = Path(folder)
    card = read_card(path)
    rows = load_for_generator(path, card, count=n, in_order=True, data=data, data_root=data_root)
    targets = crop_padding(rows.images, card.crop, (card.spec.height, card.spec.width))
    return Given(rows.conditions, targets=targets, labels=rows.labels)


if __name__ == "__main__":
    serve(handle_request)
