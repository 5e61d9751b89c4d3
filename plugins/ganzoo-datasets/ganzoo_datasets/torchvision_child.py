"""The child process that reads a torchvision dataset: `python -m ganzoo_datasets.torchvision_child FOLDER`.

FOLDER contains `request.json`. The child writes the images there with `cache.save`, or `problem.txt` with an error
message of one sentence.
"""

from __future__ import annotations

import inspect
import json
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ganzoo_core as gz
from ganzoo_datasets import cache
from ganzoo_datasets.torchvision_sets import PROBLEM_FILE, REQUEST_FILE, check_set_name

OWN_DATASETS = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist", "CIFAR10": "cifar10"}
"""Datasets that ganzoo downloads itself, with a SHA-256; torchvision's downloader is never used for these."""
MAX_PIXELS = 64_000_000  # of one image
_SPLIT_NAMES = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val", "valid")}


def main(folder: Path) -> None:
    """Answer the request in the folder."""
    request = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    try:
        cache.save(folder, read(request))
    except gz.GanzooError as error:
        (folder / PROBLEM_FILE).write_text(str(error), encoding="utf-8")


def read(request: Mapping[str, Any]) -> gz.ImageSource:
    """The images of one part of a dataset.

    Parts come from the class's `train` or `split` argument; if it has neither, or if the request fixes them, a share
    is held out. Labels are kept if every target is an integer.

    Args:
        request: `set`, `arguments`, `root`, `split`, `size`, `channels`, `fit`, `holdout`, `download`.

    Raises:
        UsageError: if the class or an argument is unknown.
        DataError: if the dataset cannot be read or does not consist of images.
    """
    name, split = request["set"], request["split"]
    kind = _find_class(name)
    known = _list_parameters(kind)
    official = _has_parts(known, request["arguments"])
    parts = (["train", "test"] if split == "all" else [split]) if official else ["all"]
    opened = [_open_part(name, kind, known, part, request) for part in parts]
    count = sum(map(len, opened))
    if count == 0:
        raise gz.DataError(f"torchvision:{name} holds no images under {request['root']}")
    images, targets, sizes = _collect(name, opened, count, request["size"], request["channels"], request["fit"])
    labels, names, notes = _make_labels(targets, opened[0])
    source = gz.ImageSource(images=images, labels=labels, class_names=names, notes=notes, sizes=sizes)
    return source if official else gz.hold_out(source, split, request)


def _find_class(name: str) -> type:
    try:
        from torchvision import datasets
    except Exception as error:  # an incompatible torch can fail in many ways
        raise gz.DataError(f"torchvision cannot be imported: {error}; install it anew") from None
    check_set_name(name, datasets.__all__)
    kind = getattr(datasets, name, None)
    if not (isinstance(kind, type) and issubclass(kind, datasets.VisionDataset)):
        raise gz.UsageError(f"torchvision.datasets has no set {name!r}")
    return kind


def _list_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class, and of the base classes that it passes **kwargs to."""
    by_name: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if base is object:
            break
        parameters = inspect.signature(base).parameters
        for name, parameter in parameters.items():
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                # A class may set what its base requires.
                by_name.setdefault(name, parameter if base is kind else parameter.replace(default=None))
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return by_name


def _has_parts(known: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> bool:
    if "train" in known:
        return "train" not in arguments
    default = known["split"].default if "split" in known else None
    return default in (*_SPLIT_NAMES["train"], *_SPLIT_NAMES["test"]) and "split" not in arguments


def _open_part(
    name: str, kind: type, known: Mapping[str, inspect.Parameter], part: str, request: Mapping[str, Any]
) -> Any:
    """The dataset object of one part (`train`, `test`, or `all` if the dataset has no parts)."""
    arguments = dict(request["arguments"])
    if "download" in arguments:
        raise gz.UsageError("data.arguments must not hold 'download'; say --set data.download=true")
    if "root" in arguments:
        raise gz.UsageError("data.arguments must not hold 'root'; say --data-root FOLDER")
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise gz.UsageError(f"torchvision's {name} takes no {unknown[0]!r}; it takes {', '.join(known)}")
    if "root" in known:
        arguments.setdefault("root", request["root"])
    if part == "all":
        choices: list[dict[str, Any]] = [{}]
    elif "train" in known:
        choices = [{"train": part == "train"}]
    else:
        choices = [{"split": value} for value in _SPLIT_NAMES[part]]
    required = [key for key, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    missing = [key for key in required if key not in arguments and key not in choices[0]]
    if missing:
        raise gz.UsageError(
            f"torchvision's {name} needs {missing[0]!r}: "
            f"say --set data.arguments='{{\"{missing[0]}\": …}}'; its documentation lists the values"
        )
    for choice in choices:
        try:
            return _construct(name, kind, known, {**arguments, **choice}, request)
        except ValueError as error:
            if choice is choices[-1] or "split" not in choice:
                raise gz.UsageError(f"torchvision's {name} has no such part or argument: {error}") from None
    raise AssertionError("choices is never empty")


def _construct(
    name: str, kind: type, known: Mapping[str, inspect.Parameter], arguments: dict[str, Any], request: Mapping[str, Any]
) -> Any:
    """Open the dataset from disk; if it is missing and `download` is set, let torchvision download it."""
    quiet = {"download": False} if "download" in known else {}
    try:
        return kind(**{**quiet, **arguments})
    except ValueError:
        raise
    except ImportError as error:
        raise gz.DataError(f"torchvision's {name} needs another package: {error}") from None
    except Exception as error:  # mostly RuntimeError or OSError, but some classes raise others
        reason = " ".join(str(error).split())
    if name in OWN_DATASETS:
        own_name = OWN_DATASETS[name]
        raise gz.DataError(
            f"torchvision:{name}: {reason} (root {request['root']}); --data {own_name} downloads it, checked"
        )
    if not request["download"] or not quiet:
        advice = "let torchvision download it with --set data.download=true, or " if quiet else ""
        raise gz.DataError(f"torchvision:{name} cannot be read from {request['root']}: {reason}; {advice}put it there")
    urllib.request.install_opener(urllib.request.build_opener(_NoPlainHttp))
    try:
        Path(request["root"]).mkdir(parents=True, exist_ok=True)
        return kind(**{**arguments, "download": True})
    except Exception as error:
        reason = " ".join(str(error).split())
        raise gz.DataError(
            f"torchvision:{name} could not be downloaded: {reason}; put it into {request['root']}"
        ) from None


class _NoPlainHttp(urllib.request.HTTPHandler):
    """Refuse plain http, also in redirects: torchvision falls back to it if https fails."""

    def http_open(self, req: urllib.request.Request) -> Any:
        raise urllib.error.URLError(f"{req.full_url} is not https")


def _collect(
    name: str, opened: Sequence[Any], count: int, size: int, channels: int, fit: str
) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """All images [N,H,W,C], targets, and sizes [N,2] as (height, width).

    The first image sets the size; one colour image makes all images RGB.
    """
    images: np.ndarray | None = None
    sizes = np.zeros((count, 2), dtype=np.int64)
    targets: list[Any] = []
    with gz.show_progress(f"reading {name}", count) as advance:
        for index, (image, target) in enumerate(_iterate_items(name, opened)):
            if not size and images is not None and image.size[::-1] != images.shape[1:3]:
                raise gz.DataError(
                    f"torchvision:{name}: image {index} is {image.size[1]}×{image.size[0]} and the first "
                    f"{images.shape[1]}×{images.shape[2]}; choose one size: --set data.size=64"
                )
            height, width = (size, size) if size else image.size[::-1]
            try:
                pixels = gz.image_to_pixels(image, height=height, width=width, channels=channels, fit=fit)
            except gz.DataError as error:
                raise gz.DataError(f"torchvision:{name}: image {index} cannot be used: {error}") from None
            if images is None:
                images = np.empty((count, *pixels.shape), dtype=np.uint8)
            elif pixels.shape[2] > images.shape[3]:
                images = np.repeat(images, pixels.shape[2], axis=3)
            images[index] = pixels  # grey images are copied to all three channels by broadcasting
            sizes[index] = image.size[::-1]
            targets.append(target)
            advance(1)
    assert images is not None  # since count > 0
    return images, targets, sizes


def _iterate_items(name: str, opened: Sequence[Any]) -> Any:
    from PIL import Image

    for part in opened:
        for index in range(len(part)):
            try:
                item = part[index]
            except Exception as error:
                raise gz.DataError(f"torchvision:{name}: image {index} cannot be read: {error}") from None
            image, target = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
            if getattr(image, "ndim", 0) == 2 and str(image.dtype) == "torch.uint8":  # PhotoTour
                image = Image.fromarray(image.numpy())
            if not isinstance(image, Image.Image):
                raise gz.DataError(
                    f"torchvision:{name} gives {type(image).__name__}; only sets of single images fit here"
                )
            yield image, target


def _make_labels(targets: Sequence[Any], opened: Any) -> tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]:
    """Return labels, class names and notes."""
    try:
        labels = np.array([_to_int(target) for target in targets], dtype=np.int64)
    except (TypeError, ValueError):
        return None, (), (f"its targets are no classes ({type(targets[0]).__name__}), so the images have no labels",)
    if labels.min() < 0:
        return None, (), ("it has negative targets, so the images have no labels",)
    classes = getattr(opened, "classes", None) or getattr(opened, "categories", None) or ()
    names = tuple(", ".join(name) if isinstance(name, tuple | list) else str(name) for name in classes)
    if len(names) <= labels.max():
        names = tuple(map(str, range(int(labels.max()) + 1)))
    return labels, names, ()


def _to_int(target: Any) -> int:
    if isinstance(target, bool | str | tuple | list | dict):
        raise TypeError("not a class")
    number = int(target)
    if number != target:
        raise ValueError("not a class")
    return number


if __name__ == "__main__":
    from PIL import Image

    # This process only reads images, so the global limit of Pillow can be set.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    main(Path(sys.argv[1]))
