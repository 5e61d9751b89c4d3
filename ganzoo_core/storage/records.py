"""Typed records of a run's JSON files, with bounds on numbers, lengths, sizes and names.

`decoding` reads them; the values of a decoded record need no further checks.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.image_source import MAX_CLASS_NAME, MAX_CONDITION_CHANNELS

FORMAT: Literal[1] = 1
_NAME, _VERSION = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?\Z", r"^[!-~]{0,100}\Z"
_KEY, _FILE = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z", r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z"
_SHA256, RUN_ID_PATTERN = r"^[0-9a-f]{64}\Z", r"^[0-9a-f]{0,32}\Z"
PRESET_PATTERN, DIGEST_PATTERN = r"^([a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?)?\Z", r"^[0-9a-z:-]{0,100}\Z"
_TERM = r"^(generator|discriminator)/[^\x00-\x1f\x7f]{1,200}\Z"
_IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,99}\Z"
_FRAMEWORK = rf"^({'|'.join(FRAMEWORKS)})\Z"
PICTURE_PATTERN = r"^data:image/png;base64,[A-Za-z0-9+/]*={0,2}\Z"
# Descriptions of the patterns for messages.
PATTERN_WORDS = {
    _NAME: "a name of letters, digits, dots, hyphens and underscores", _VERSION: "a version such as 1.0",
    _TERM: "a term's name, such as generator/adversarial",
    _KEY: "a setting's name", _IDENTIFIER: "an identifier",
    _FILE: "a file's plain name", _SHA256: "64 hexadecimal digits",
    RUN_ID_PATTERN: "hexadecimal digits", PRESET_PATTERN: "a preset's name", DIGEST_PATTERN: "a digest",
    _FRAMEWORK: " or ".join(FRAMEWORKS), PICTURE_PATTERN: "a PNG picture as a data URI",
}  # fmt: skip
Name = Annotated[str, Meta(pattern=_NAME)]
"""The name of a part or a distribution."""
Version = Annotated[str, Meta(pattern=_VERSION)]
SettingKey = Annotated[str, Meta(pattern=_KEY, max_length=200)]
"""The key of a setting, with or without its namespace."""
Label = Annotated[str, Meta(max_length=MAX_CLASS_NAME)]
"""Untrusted text from data, such as a class name; code that displays it must escape it."""
FileName = Annotated[str, Meta(pattern=_FILE)]
MAX_IMAGES = 10**15
ImageCount = Annotated[int, Meta(ge=0, le=MAX_IMAGES)]
"""A number of images seen; also of steps and of lines."""
MAX_SIDE = 65_536
SideLength = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
"""Pixels."""
MAX_CONDITIONS = 32
ConditionName = Annotated[str, Meta(pattern=_IDENTIFIER)]
ConditionShape = Annotated[list[Annotated[int, Meta(ge=1, le=1_000_000)]], Meta(max_length=3)]
"""The shape of one row: nothing for a whole number, `[F]` for a vector, `[H,W,C]` for a picture."""
FiniteNumber = Annotated[float, Meta(ge=-1e300, le=1e300)]
OptionValue = bool | int | float | str | list[bool | int | float | str]


class Origin(Struct, frozen=True):
    """The part that something was made with, and its distribution."""

    name: Name
    distribution: Name
    version: Version


class ModifierOrigin(Origin, frozen=True):
    """A modifier with its options."""

    options: dict[SettingKey, OptionValue]


class SpecRecord(Struct, frozen=True):
    """See `api.Spec`."""

    height: SideLength
    width: SideLength
    channels: Literal[1, 3]
    classes: Annotated[int, Meta(ge=0, le=1_000_000)]
    latent_dim: Annotated[int, Meta(ge=0, le=1_000_000)]
    framework: Annotated[str, Meta(pattern=_FRAMEWORK)]
    conditions: Annotated[dict[ConditionName, ConditionShape], Meta(max_length=MAX_CONDITIONS)] = {}


class Card(Struct, frozen=True):
    """`generator.json`: everything needed to generate from a saved generator, except its weights.

    Attributes:
        format: the version of this file format.
        part: the model; None for a network that was passed from Python.
        modifiers: the modifiers around it, the first innermost.
        options: the options of the model's generator.
        spec: the sizes that it was built for.
        latent: the distribution of z.
        output: `tanh` or `linear`.
        crop: top, left, height and width of the picture inside the padded one; None without padding.
        class_names: one name for each class of a conditional generator.
        untrained_classes: indices of the classes without training images, in ascending order.
        epoch_images, step_images: images in an epoch and in a step of the run.
        images: real images seen when the generator was saved.
        values: the schedule values that it is called with.
        kernels: the type in which tensors of two or more axes are stored.
        license: the licence of the training images, and so of the generated ones: `A; B` for several, "" for none.
        drawn_alone: whether each image is drawn by itself, in training mode; see `manifest.Part`.
        derive: the setting `data.derive`, by which the condition `source` was made from the training images; "" if it
            was not.
        background: the grey value with which pictures were padded to the networks' size; None without.
    """

    format: Literal[1]
    part: Origin | None
    modifiers: Annotated[list[ModifierOrigin], Meta(max_length=32)]
    options: dict[SettingKey, OptionValue]
    spec: SpecRecord
    latent: Literal["normal", "uniform", "sphere", "none"]
    output: Literal["tanh", "linear"]
    crop: tuple[ImageCount, ImageCount, SideLength, SideLength] | None
    class_names: list[Label]
    epoch_images: Annotated[int, Meta(ge=1, le=10**15)]
    step_images: Annotated[int, Meta(ge=1, le=10**15)]
    images: ImageCount
    values: dict[SettingKey, FiniteNumber]
    kernels: Literal["float16", "float32"] = "float32"
    license: Annotated[str, Meta(max_length=10_000)] = ""
    untrained_classes: list[Annotated[int, Meta(ge=0)]] = []
    drawn_alone: bool = False
    derive: Annotated[str, Meta(max_length=100)] = ""
    background: Annotated[int, Meta(ge=0, le=255)] | None = None

    def __post_init__(self) -> None:
        spec, untrained = self.spec, self.untrained_classes
        if (self.latent == "none") != (spec.latent_dim == 0):
            raise ValueError(f"latent is {self.latent}, and spec.latent_dim is {spec.latent_dim}")
        for shape in spec.conditions.values():
            is_picture = len(shape) == 3 and max(shape[:2]) <= MAX_SIDE and shape[2] <= MAX_CONDITION_CHANNELS
            if len(shape) > 1 and not is_picture:
                raise ValueError(f"spec.conditions holds a shape {shape}; expected [], [F] or [H, W, C]")
        if len(self.class_names) != spec.classes:
            raise ValueError(f"it has {len(self.class_names)} class_names, and spec.classes is {spec.classes}")
        if untrained != sorted(set(untrained)) or len(untrained) >= max(spec.classes, 1):
            raise ValueError(f"untrained_classes are not distinct, ascending and fewer than its {spec.classes} classes")
        if untrained and untrained[-1] >= spec.classes:
            raise ValueError(f"untrained_classes names {untrained[-1]}, and spec.classes is {spec.classes}")
        if self.crop is not None:
            top, left, height, width = self.crop
            if top + height > spec.height or left + width > spec.width:
                raise ValueError(f"crop {list(self.crop)} reaches beyond {spec.height}×{spec.width} pixels")


class FileFacts(Struct, frozen=True):
    """Size and SHA-256 of one file."""

    bytes: Annotated[int, Meta(ge=0, le=10**13)]
    sha256: Annotated[str, Meta(pattern=_SHA256)]


class FolderManifest(Struct, frozen=True):
    """`manifest.json` of a checkpoint or a saved generator: its files, and the run that wrote them."""

    format: Literal[1]
    files: Annotated[dict[FileName, FileFacts], Meta(min_length=1, max_length=64)]
    run: Annotated[str, Meta(pattern=RUN_ID_PATTERN)] = ""


class SweepPlan(Struct, frozen=True):
    """`sweep.json`: the arguments of `ganzoo run` that all runs share, and the values of each key that varies."""

    format: Literal[1]
    words: Annotated[list[Label], Meta(max_length=1000)]
    over: Annotated[dict[Label, list[Label]], Meta(max_length=100)]


class MeasuredLength(Struct, frozen=True):
    """The length in images of a sweep's runs that was requested in minutes, and the run that measured it."""

    images: Annotated[int, Meta(ge=1, le=MAX_IMAGES)]
    run: Label


class SweepLengths(Struct, frozen=True):
    """`lengths.json` of a sweep: for each group of equally fast runs, their common length."""

    format: Literal[1]
    lengths: Annotated[dict[Label, MeasuredLength], Meta(max_length=1000)]


StatsLine = dict[Label, Annotated[int, Meta(ge=-(2**53), le=2**53)] | float | None]
"""A line of `stats.jsonl`: `images` seen and all other reported numbers; null for one that was not finite."""
NamedNumbers = dict[Label, float | None]


class ScoreLine(Struct, frozen=True):
    """A line of `scores.jsonl`; see `scores.Score`. Other fields are allowed."""

    images: ImageCount | None
    scores: NamedNumbers
    protocol: dict[Label, Any]
    real: NamedNumbers = {}
    classes: dict[Label, NamedNumbers] = {}
    better: dict[Label, Literal["lower", "higher"]] = {}
    doubts: dict[Label, Label] = {}


class TensorFacts(Struct, frozen=True):
    """One tensor in the header of a safetensors file."""

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"]
    shape: Annotated[list[Annotated[int, Meta(ge=0, le=10**13)]], Meta(max_length=32)]


Term = Annotated[str, Meta(pattern=_TERM)]
"""The name of a loss term: `discriminator/adversarial`."""
PositiveCount = Annotated[int, Meta(ge=1, le=10**15)]
PendingSums = FiniteNumber | list[FiniteNumber | list[FiniteNumber | None] | None] | None
TermSums = list[tuple[Term, FiniteNumber | None, PositiveCount]]


class Position(Struct, frozen=True):
    """`position.json`: the state of a run at a checkpoint. A sum that is not finite is None.

    Attributes:
        images, step: images seen and steps done.
        end: images at which the run should end.
        facts: versions, engine, parts, settings and data fingerprint, compared on resume.
        values: the schedule's values.
        rollbacks: how often the run went back to an earlier checkpoint.
        pending: sums not yet read from the engine: the name or names, the sum or sums, and those of
            each rank where there are several, steps.
        read_at: the step at which the sums were last read from the engine.
        report_terms, epoch_terms: sums since the last report and epoch: name, sum, steps.
        sampled_at: images at the last sample grid; -1 for none.
        stats_lines: lines of statistics written.
        seconds: how long the run had taken.
    """

    format: Literal[1]
    images: ImageCount
    step: ImageCount
    end: ImageCount
    facts: dict[str, Any]
    values: dict[SettingKey, FiniteNumber]
    rollbacks: Annotated[int, Meta(ge=0, le=1000)]
    pending: list[tuple[Term | list[Term], PendingSums, PositiveCount]]
    read_at: ImageCount
    report_terms: TermSums
    epoch_terms: TermSums
    sampled_at: Annotated[int, Meta(ge=-1, le=10**15)]
    stats_lines: ImageCount
    seconds: Annotated[float, Meta(ge=0, le=1e12)]

    def __post_init__(self) -> None:
        if self.read_at > self.step:
            raise ValueError(f"read_at is {self.read_at}, and step is {self.step}")


# The share of steps in which every real image of the batch scored higher than every generated one.
SEPARATION_TERM = "discriminator/separated"
