"""Read what a generator with conditions is drawn from: pictures, arrays, a numpy archive, the test part of its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo_core.arguments import check_count
from ganzoo_core.data import derive
from ganzoo_core.data.derive import DERIVED
from ganzoo_core.data.framing import Framing, apply_framing
from ganzoo_core.data.reading.scan import find_images
from ganzoo_core.errors import DataError, UsageError
from ganzoo_core.generation import data_rows, own_pictures
from ganzoo_core.generation.given import Given
from ganzoo_core.generation.needs import describe_conditions
from ganzoo_core.messages import format_value, pluralise, quote_name
from ganzoo_core.storage.arrays import read_archive
from ganzoo_core.storage.paths import expand_user
from ganzoo_core.storage.records import Card

TEST = "test"  # the test part of the run's data
DEFAULT_ROWS = 16  # of it
ARCHIVED = ("images", "labels", "targets")  # arrays that `ganzoo generate` writes beside conditions
FITS = ("crop", "pad", "stretch")


class Reader:
    """Reads what one saved generator is drawn from.

    Args:
        folder: of the generator, for messages and to find its run.
        card: of the generator.
    """

    def __init__(self, folder: Path, card: Card) -> None:
        self.folder, self.card = folder, card
        self.shapes = {name: tuple(shape) for name, shape in card.spec.conditions.items()}
        full = (card.spec.height, card.spec.width)
        self.size = full if card.crop is None else (card.crop[2], card.crop[3])
        """Height and width of a picture without the border that the networks see."""
        self._framing = Framing(self.size, full, "none" if self.size == full else "pad", card.background or 0)

    def describe_needs(self) -> dict[str, str]:
        """What each condition is, in words."""
        return describe_conditions(self.card, self.size)

    def make_refusal(self) -> UsageError:
        """The error for a generator that is drawn without what it needs, with what to type."""
        needs = "; ".join(f"{name}: {words}" for name, words in self.describe_needs().items())
        return UsageError(f"{self.folder} draws from conditions ({needs}); {self._advise()}")

    def _advise(self) -> str:
        places = ["PICTURE"] if self._find_picture_name() else ["FILE.npz"]
        places += [TEST] if data_rows.find_run(self.folder) else []
        return f"say --on {' or --on '.join(places)}, in Python generate(on=…)"

    def read(
        self,
        on: Any,
        *,
        n: int | None = None,
        seed: int = 0,
        as_is: bool = False,
        fit: str | None = None,
        data_root: str | Path | None = None,
    ) -> Given:
        """Read and check the rows.

        Args:
            on: a mapping from the conditions' names to rows; the rows of the only condition; picture files, folders of
                them or their paths; a .npz file; `test` for the test part of the run's data; or a `Given`.
            n: how many rows of the test part; of no meaning otherwise.
            seed: of the masks that are derived.
            as_is: pictures are the condition itself, not images to derive it from.
            fit: how pictures of another size are brought to the generator's: `crop`, `pad` or `stretch`; None to refuse
                them.
            data_root: folder of the data sets, for the test part.

        Raises:
            UsageError, DataError: if there is nothing to draw from, or it does not fit; with what to type.
        """
        if not self.shapes:
            raise UsageError(f"{self.folder} draws from noise alone, so it takes no --on; leave it out")
        if fit is not None and fit not in FITS:
            raise UsageError(f"fit is {format_value(fit)}; expected {', '.join(FITS)}")
        if isinstance(on, Given):
            return on
        paths = [on] if isinstance(on, str | Path) else on
        is_test = isinstance(paths, list | tuple) and len(paths) == 1 and str(paths[0]) == TEST
        if data_root is not None and not is_test:
            raise UsageError("--data-root says where data sets lie, and only --on test reads one; leave it out")
        if isinstance(on, Mapping):
            return self._check(on)
        if isinstance(on, np.ndarray):
            return self._check({self._name_single(): on})
        if (
            not isinstance(paths, Sequence)
            or not paths
            or not all(isinstance(path, str | Path) and path != "" for path in paths)
        ):
            raise UsageError(
                f"on is {format_value(on)}; expected rows by the condition's name, an array, paths of pictures, a .npz "
                f"file or {TEST!r}"
            )
        if is_test:
            if fit is not None:
                raise UsageError(
                    "--fit is for pictures of another size, and the test part has the size that was trained on; leave "
                    "it out"
                )
            if as_is:
                raise UsageError(
                    "--as-is is for pictures and .npz files; the test part's conditions are made as they were in "
                    "training; leave it out"
                )
            return self._read_test_part(DEFAULT_ROWS if n is None else n, data_root, is_asked=n is not None)
        files = [expand_user(path) for path in paths]
        if any(path.suffix.lower() == ".npz" for path in files):
            if len(files) > 1:
                raise UsageError(f"--on takes one .npz file, or pictures; found {pluralise(len(files), 'path')}")
            if fit is not None:
                raise UsageError(
                    "--fit is for picture files; the arrays of a .npz file must have the size that was trained on; "
                    "leave it out"
                )
            return self._read_archive(files[0], as_is=as_is, seed=seed)
        return self._read_pictures(files, as_is=as_is, fit=fit, seed=seed)

    def _read_test_part(self, n: int, data_root: str | Path | None, *, is_asked: bool) -> Given:
        check_count("n", n, "images")
        try:
            rows = data_rows.load_for_generator(self.folder, self.card, count=n, data_root=data_root)
        except DataError as error:
            raise DataError(f"the test part cannot be read: {error}; --on PICTURE draws without it") from None
        if is_asked and len(rows) < n:
            raise UsageError(f"the test part has {pluralise(len(rows), 'image')}, and n is {n:,}; ask for fewer")
        labels = rows.labels if self.card.spec.classes else None
        return Given(rows.conditions, (), rows.images, labels)

    def _read_archive(self, path: Path, *, as_is: bool, seed: int) -> Given:
        known = [*self.shapes, *(name for name in ARCHIVED if name not in self.shapes)]
        arrays, held = read_archive(path, known)
        if unknown := [name for name in held if name not in known]:
            raise UsageError(
                f"{path} holds an array {quote_name(unknown[0])}, which {self.folder} does not draw from; it may hold "
                f"{', '.join(known)}"
            )
        own = {name: arrays.pop(name) for name in known[len(self.shapes) :] if name in arrays}
        images, labels = own.get("images"), own.get("labels")
        if not arrays and images is not None and self.card.derive and not as_is and len(self.shapes) == 1:
            arrays[DERIVED] = self._derive(self._check_rows("images", images, self._image_shape), seed)
        if missing := [name for name in self.shapes if name not in arrays]:
            raise UsageError(
                f"{path} holds no array {missing[0]}, which {self.folder} draws from "
                f"({self.describe_needs()[missing[0]]}); it has {', '.join(map(quote_name, held)) or 'none'}"
            )
        given = self._check(arrays)
        if labels is not None and self.card.spec.classes:
            if labels.dtype.kind not in "iu" or labels.shape != (len(given),):
                raise DataError(
                    f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected int64 [{len(given)}]"
                )
            return Given(given.conditions, labels=labels.astype(np.int64))
        return given

    @property
    def _image_shape(self) -> tuple[int, ...]:
        return self.card.spec.height, self.card.spec.width, self.card.spec.channels

    def _find_picture_name(self) -> str:
        """The only condition, if it is a picture; "" for a generator that takes something else."""
        names = [name for name, shape in self.shapes.items() if len(shape) == 3]
        return names[0] if len(names) == len(self.shapes) == 1 else ""

    def _name_single(self) -> str:
        if len(self.shapes) > 1:
            raise UsageError(
                f"{self.folder} takes {len(self.shapes)} conditions; give a mapping with {', '.join(self.shapes)}"
            )
        return next(iter(self.shapes))

    def _read_pictures(self, paths: Sequence[Path], *, as_is: bool, fit: str | None, seed: int) -> Given:
        name = self._find_picture_name()
        if not name:
            needs = "; ".join(f"{name}: {words}" for name, words in self.describe_needs().items())
            raise UsageError(
                f"{self.folder} does not draw from a picture alone ({needs}); say --on FILE.npz, with an array for each"
            )
        files = [file for path in paths for file in find_images(path).files]
        titles = tuple(Path(file.relative).stem for file in files)
        derived = name == DERIVED and bool(self.card.derive) and not as_is
        shape = self._image_shape if derived else self.shapes[name]
        size = self._unpadded(shape)
        if name == DERIVED and as_is and self.card.derive.startswith("mask"):
            if fit is not None:
                raise UsageError("--fit does not go with --as-is for pictures whose transparent part is filled in")
            rows = own_pictures.read_transparent(files, size, self.card.spec.channels, self.folder)
            return Given({name: self._frame(rows)}, titles)
        if shape[2] not in (1, 3):
            raise UsageError(
                f"a picture file does not have the {shape[2]} channels of {name}; say --on FILE.npz with that array"
            )
        factor = self._find_factor() if derived else 1
        pictures = own_pictures.read_pictures(files, size, shape[2], folder=self.folder, fit=fit, factor=factor)
        if derived:
            return Given({name: self._derive_pictures(pictures, seed)}, titles)
        rows = np.stack(pictures)
        return Given({name: self._frame(rows) if shape[:2] == self._framing.target_size else rows}, titles)

    def _derive_pictures(self, pictures: Sequence[np.ndarray], seed: int) -> np.ndarray:
        """Derive the condition from images uint8 [H,W,C]; smaller ones are only enlarged."""
        is_small = np.array([picture.shape[:2] != self.size for picture in pictures])
        images = [
            derive.enlarge(picture[None], self.size)[0] if small else picture
            for picture, small in zip(pictures, is_small, strict=True)
        ]
        framed = self._frame(np.stack(images))
        derived = self._derive(framed, seed)
        if is_small.any():  # of `downscale`, whose conditions have the images' shape
            derived[is_small] = framed[is_small]
        return derived

    def _find_factor(self) -> int:
        """How much smaller a picture may be that need not be made smaller first; 1 for none."""
        method, number = derive.parse_method(self.card.derive)
        divides = method == "downscale" and not any(side % int(number) for side in self.size)
        return int(number) if divides else 1

    def _unpadded(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of a picture as people have it: of one of the images' size without its border."""
        return self.size if tuple(shape[:2]) == self._framing.target_size else (shape[0], shape[1])

    def _frame(self, rows: np.ndarray) -> np.ndarray:
        """Add the border that the networks see."""
        return apply_framing(rows, self._framing, rows.shape[3])

    def _derive(self, images: np.ndarray, seed: int) -> np.ndarray:
        return derive.make_derive(self.card.derive, seed)(images, np.arange(len(images)))

    def check_rows(self, conditions: Mapping[str, np.ndarray], count: int) -> None:
        """Raise UsageError unless there are `count` rows of exactly the conditions, as the network takes them."""
        checked = self._check(conditions)
        if len(checked) != count or any(
            checked.conditions[name].shape[1:] != rows.shape[1:] for name, rows in conditions.items()
        ):
            raise UsageError(f"the conditions have {len(checked):,} rows for {count:,} images; expected one for each")

    def _check(self, rows: Mapping[str, Any]) -> Given:
        """Check rows that are the conditions themselves."""
        for name in self.shapes:
            if name not in rows:
                needs = self.describe_needs()[name]
                raise UsageError(f"the condition {name} is missing: {self.folder} takes {needs}")
        if unknown := [name for name in rows if name not in self.shapes]:
            raise UsageError(
                f"{self.folder} takes no condition {format_value(unknown[0])}; expected {', '.join(self.shapes)}"
            )
        checked = {name: self._check_rows(name, rows[name], shape) for name, shape in self.shapes.items()}
        counts = {name: len(array) for name, array in checked.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise UsageError(f"the conditions have different numbers of rows: {listed}; expected one for each image")
        return Given(checked)

    def _check_rows(self, name: str, rows: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Rows of one condition, or images, with the networks' border; raises UsageError for others."""
        dtype = {0: "int64", 1: "float32", 3: "uint8"}[len(shape)]
        array = rows if isinstance(rows, np.ndarray) else np.asarray(rows) if not shape else None
        sizes = {(*self._unpadded(shape), *shape[2:]), shape} if len(shape) == 3 else {shape}
        if array is not None:
            if not shape and array.dtype.kind in "iu":
                array = array.astype(np.int64)
            if array.shape in sizes:  # one row
                array = array[None]
            elif len(shape) == 3 and shape[2] == 1 and (*array.shape[1:], 1) in sizes:
                array = array[..., None]
            if str(array.dtype) == dtype and array.shape[1:] in sizes and len(array):
                if dtype == "float32" and not np.isfinite(array).all():
                    raise UsageError(f"{name} holds numbers that are not finite")
                is_inner = len(shape) == 3 and array.shape[1:] != shape
                return self._frame(array) if is_inner else array
        found = type(rows).__name__ if array is None else f"{array.dtype} {list(array.shape)}"
        expected = ["N", *map(str, (*self._unpadded(shape), shape[2]) if len(shape) == 3 else shape)]
        raise UsageError(f"{name} is {found}; expected {dtype} [{','.join(expected)}]")
