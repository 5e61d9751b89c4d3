"""The check of trained generators that a plugin ships."""

from __future__ import annotations

import numpy as np

from ganzoo_core.data.conditions import make_random_rows
from ganzoo_core.errors import GanzooError
from ganzoo_core.generation import bundled, bundling, load
from ganzoo_core.runs import layout
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import atomic
from ganzoo_core.testing.checks import Broken
from ganzoo_core.testing.distribution import read_wheel
from ganzoo_core.testing.subject import Subject

IMAGE_COUNT = 4


def shipped(subject: Subject) -> None:
    """Each generator is intact, small, in the wheel and of this model, and draws images that differ."""
    part = subject.part
    for name in part.generators:
        folder = bundled.get_bundled_folder(part, name)
        if not atomic.is_valid(folder):
            raise Broken(
                f'the manifest lists the generator "{name}", and {folder} holds none that is whole; '
                "`ganzoo ship RUN` writes one"
            )
        size = (folder / layout.WEIGHTS).stat().st_size
        if size > bundling.MAX_WEIGHT_BYTES:
            raise Broken(
                f"the weights of {name} are {size:,} bytes; a wheel should carry at most {bundling.MAX_WEIGHT_BYTES:,}"
            )
        held, _ = read_wheel(subject)
        for file in folder.iterdir():
            inside = f"{part.package}/{bundled.FOLDER}/{name}/{file.name}"
            if inside not in held:
                raise Broken(f"the wheel holds no {inside}; its build must take it in, as it does ganzoo.toml")
        made_by = read_card(folder).part
        if made_by is None or made_by.name != part.name:
            raise Broken(f"the generator {name} was made by {made_by and made_by.name}, not by {part.name}")
        try:
            generator = load.load(folder, device="cpu")
            on = make_random_rows(generator.spec.conditions, IMAGE_COUNT, seed=0) or None
            images = generator.generate(IMAGE_COUNT, on=on)
        except GanzooError as error:
            raise Broken(f"the generator {name} cannot be drawn from: {error}") from None
        if len(np.unique(images, axis=0)) < IMAGE_COUNT:
            raise Broken(f"the generator {name} draws the same image from different noise or conditions")
