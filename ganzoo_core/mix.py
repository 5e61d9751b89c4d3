"""Cards and the user's words -> a Mix: the parts, their settings, and the check that they fit each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ganzoo_core import settings as _settings
from ganzoo_core.api import Options, Spec, UsageError
from ganzoo_core.catalog import Catalog
from ganzoo_core.data import Framing, frame
from ganzoo_core.manifest import Part
from ganzoo_core.settings import CORE, Setting, Settings, Value

SLOTS = {
    "generator": "models",
    "discriminator": "models",
    "loss": "losses",
    "schedule": "schedules",
    "data": "datasets",
}


@dataclass(frozen=True)
class Request:
    """What the user asked for, before anything is looked up.

    Attributes:
        picks: slot or `model` -> a name, or an object in Python (a network, a loss, an array).
        modifiers: names, the first innermost; None for the model's own.
        preset: a preset's name; `none` for none; None for the one that the data names.
        config: settings of a file, flat, as text; `config_name` says which file.
        assigned: `--set`, and `settings=` in Python.
        flags: settings by flags of their own, with the flag as the user knows it.
    """

    picks: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Sequence[str] | None = None
    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_name: str = "config"
    assigned: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """Settings that came from one place."""

    values: Mapping[str, Any]
    origin: str
    by_user: bool = False


@dataclass(frozen=True)
class Mix:
    """Parts that were found to fit, and their settings. `objects` are those given in Python instead of a name."""

    parts: Mapping[str, Part]
    modifiers: tuple[Part, ...]
    settings: Settings
    argument: str
    preset: str
    objects: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def framework(self) -> str:
        """`torch` or `tensorflow`."""
        return self.parts["generator"].frameworks[0]

    @property
    def conditional(self) -> bool:
        """Whether the networks are given labels."""
        return self.parts["generator"].conditional

    def options(self, slot: str) -> Options:
        """A part's own settings: `generator.*` laid over `model.*`, `loss.*`, `schedule.*`, `data.*`."""
        own = self.settings.options(slot)
        if slot in ("generator", "discriminator"):
            return {**self.settings.options("model"), **own}
        return own

    def modifier_options(self) -> dict[str, Options]:
        """`with.NAME.*` of every picked modifier, by its name."""
        return {part.name: self.settings.options(f"with.{part.name}") for part in self.modifiers}

    def has(self, feature: str) -> bool:
        """Whether the mix has a feature, by the cards' claims and the settings that decide them."""
        slot = "generator" if feature.endswith("_in_generator") else "discriminator"
        return any(
            _claims(part.has.get(feature, _ASSUMED.get(feature, False)), self, slot)
            for part in (self.parts[slot], self.parts["loss"])
        )


# What a model can do unless its card denies it.
_ASSUMED = {"second_order": True, "real_in_generator_step": True}


def _claims(claim: Any, mix: Mix, slot: str) -> bool:
    if isinstance(claim, bool):
        return claim
    value = mix.settings[_deciding_key(claim["setting"], mix, slot)]
    return value == claim["is"] if "is" in claim else value > claim["above"]


def _deciding_key(key: str, mix: Mix, slot: str) -> str:
    """`model.norm` is overridden by `discriminator.norm`."""
    overlay = key.replace("model.", f"{slot}.", 1)
    return overlay if key.startswith("model.") and overlay in mix.settings else key


def resolve(catalog: Catalog, request: Request) -> Mix:
    """Find the parts, lay the settings over each other, and check that it all fits.

    Raises:
        UsageError: in a sentence that says what to pick or to set instead.
        PluginError: for a part whose plugin has a problem.
    """
    words = _Words(request)
    parts, objects = _models(catalog, words)
    generator, discriminator = parts["generator"], parts["discriminator"]

    data, argument = _dataset(catalog, words, objects)
    parts["data"] = data
    preset = _preset(request.preset, generator, data)
    own = {**generator.defaults, **generator.presets.get(preset, {})}
    chosen_by_user = []
    for slot in ("loss", "schedule"):
        parts[slot], is_own = _side_part(catalog, words, slot, own, objects)
        if not is_own:
            chosen_by_user.append(parts[slot])
    names = words.modifiers(own)
    modifiers = tuple(catalog.find("modifiers", name) for name in names)
    for name in {name for name in names if names.count(name) > 1}:
        raise UsageError(f"the modifier {name} is picked twice; once is enough")

    layers = [Layer({key: setting.default for key, setting in CORE.items()}, "core")]
    layers += [
        Layer(part.defaults, part.name) for part in (parts["data"], parts["loss"], parts["schedule"], *modifiers)
    ]
    layers += _model_layers(generator, discriminator, preset)
    layers += [Layer(part.defaults, part.name) for part in chosen_by_user]
    layers += words.layers()

    kinds = _kinds(layers, (*parts.values(), *modifiers))
    settings = _lay(layers, kinds, separate=generator != discriminator)
    settings = _record_picks(settings, parts, modifiers, argument, words)
    mix = Mix(parts, modifiers, settings, argument, preset, objects)
    _check_choices(mix)
    return _check(mix)


class _Words:
    """The picks as the user made them: flags over `--set use.*` over the config file."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.picked: dict[str, tuple[Any, str]] = {}
        for values, origin in ((request.config, request.config_name), (request.assigned, "--set")):
            for key, value in values.items():
                if key.startswith("use."):
                    if key not in CORE:
                        raise UsageError(_settings_hint(key))
                    self.picked[key[4:]] = (value, origin)
        for slot, value in request.picks.items():
            if value is not None:
                self.picked[slot] = (value, "MODEL" if slot == "model" else f"--{slot}")
        if request.modifiers is not None:
            self.picked["with"] = (list(request.modifiers), "--with")

    def pick(self, slot: str) -> Any:
        value = self.picked.get(slot, (None, ""))[0]
        return None if isinstance(value, str) and not value.strip() else value

    def modifiers(self, own: Mapping[str, Any]) -> list[str]:
        raw = self.picked["with"][0] if "with" in self.picked else own.get("use.with", [])
        return _settings.read("use.with", "words", raw)

    def layers(self) -> list[Layer]:
        request = self.request
        config = {key: value for key, value in request.config.items() if not key.startswith("use.")}
        assigned = {key: value for key, value in request.assigned.items() if not key.startswith("use.")}
        flags = [Layer({key: value}, flag, True) for key, (value, flag) in request.flags.items()]
        return [Layer(config, request.config_name, True), Layer(assigned, "--set", True), *flags]


def _settings_hint(key: str) -> str:
    nearest = difflib.get_close_matches(key, [name for name in CORE if name.startswith("use.")], n=2)
    return f"there is no setting {key!r}; " + (
        f"did you mean {' or '.join(nearest)}?" if nearest else "picks are use.*"
    )


def _models(catalog: Catalog, words: _Words) -> tuple[dict[str, Part], dict[str, Any]]:
    parts: dict[str, Part] = {}
    objects: dict[str, Any] = {}
    for slot in ("generator", "discriminator"):
        picked = words.pick(slot) if words.pick(slot) is not None else words.pick("model")
        if picked is None:
            other = words.pick("generator") or words.pick("discriminator")
            if other is not None:
                raise UsageError(f"no {slot} is picked; name a model, or --{slot} as well")
            raise UsageError(f"no model is named; {_offer(catalog)}")
        if isinstance(picked, str):
            parts[slot] = catalog.find("models", picked)
        else:
            parts[slot], objects[slot] = _object_card("models", slot, picked), picked
    first, second = parts["generator"], parts["discriminator"]
    if first.frameworks != second.frameworks:
        raise UsageError(
            f"the generator {first.name} is written in {first.frameworks[0]} and the discriminator {second.name} in "
            f"{second.frameworks[0]}; pick both from one framework"
        )
    if first.conditional != second.conditional:
        told, untold = (first, second) if first.conditional else (second, first)
        raise UsageError(f"{told.name} is conditional and {untold.name} is not; pick two of a kind")
    return parts, objects


def _offer(catalog: Catalog) -> str:
    names = [part.name for part in catalog.of_kind("models")]
    return f"installed are {', '.join(names)}" if names else "none is installed: pip install ganzoo[torch]"


def _dataset(catalog: Catalog, words: _Words, objects: dict[str, Any]) -> tuple[Part, str]:
    picked = words.pick("data")
    if picked is None:
        part = catalog.default("datasets")
        if part is None:
            raise UsageError("no dataset is named and none is installed as the default; pip install ganzoo-datasets")
        return part, ""
    if not isinstance(picked, str):
        objects["data"] = picked
        return _object_card("datasets", "data", picked), ""
    name, _, argument = picked.partition(":")
    part = catalog.find("datasets", name)
    if part.argument == "required" and not argument:
        raise UsageError(f"the dataset {part.name} needs an argument: --data {part.name}:…")
    if part.argument == "none" and argument:
        raise UsageError(f"the dataset {part.name} takes no argument; found {argument!r} behind the colon")
    return part, argument


def _preset(asked: str | None, model: Part, data: Part) -> str:
    if asked is None:
        return data.name if data.name in model.presets else ""
    if asked in ("", "none"):
        return ""
    if asked not in model.presets:
        known = ", ".join(sorted(model.presets)) or "none"
        raise UsageError(f"{model.name} has no preset {asked!r}; it has {known}")
    return asked


def _side_part(
    catalog: Catalog, words: _Words, slot: str, own: Mapping[str, Any], objects: dict[str, Any]
) -> tuple[Part, bool]:
    """The loss or the schedule, and whether it is the model's own choice."""
    kind, own_name = SLOTS[slot], own.get(f"use.{slot}")
    picked = words.pick(slot)
    if picked is not None and not isinstance(picked, str):
        objects[slot] = picked
        return _object_card(kind, slot, picked), False
    own_part = catalog.find(kind, own_name) if own_name and (picked is None or picked == own_name) else None
    if picked is None:
        part = own_part or catalog.default(kind)
        if part is None:
            raise UsageError(f"no {slot} is named and none is installed as the default; pip install ganzoo-{kind}")
        return part, True
    part = catalog.find(kind, picked)
    if own_name and part != own_part:
        names = [known for known in catalog.of_kind(kind) if own_name in (known.name, known.qualified, *known.aliases)]
        return part, part in names
    return part, own_part is not None


def _object_card(kind: str, slot: str, given: Any) -> Part:
    """A card for an object that was given in Python instead of a name; its attributes may say what a manifest says."""
    framework: tuple[str, ...] = ()
    for base in type(given).__mro__:
        root = base.__module__.split(".")[0]
        if slot in ("generator", "discriminator") and root in ("torch", "keras", "tensorflow"):
            framework = ("torch",) if root == "torch" else ("tensorflow",)
    if slot in ("generator", "discriminator") and not framework:
        raise UsageError(
            f"{slot} is a {type(given).__name__}; expected a model's name, a torch.nn.Module or a keras.Model"
        )
    return Part(
        kind=kind,
        name=type(given).__name__,
        title=f"an object of the type {type(given).__name__}",
        hooks="",
        distribution="(object)",
        version="",
        package="",
        frameworks=framework,
        conditional=bool(getattr(given, "conditional", False)),
        output=getattr(given, "output_range", "tanh"),
        latent=getattr(given, "latent", "normal"),
        needs=tuple(getattr(given, "needs", ("real_in_generator_step",) if slot == "loss" else ())),
        decision=getattr(given, "decision", None),
        clip_discriminator=getattr(given, "clip_discriminator", None),
        argument="optional",
    )


def _model_layers(generator: Part, discriminator: Part, preset: str) -> list[Layer]:
    """Everything of the generator's model; of another discriminator's, its own network's settings only."""
    layers = []
    for label, table in (("", generator.defaults), (f" preset {preset}", generator.presets.get(preset, {}))):
        keep = dict(table)
        if discriminator != generator:
            keep = {key: value for key, value in keep.items() if not key.startswith("discriminator.")}
        layers.append(Layer(keep, generator.name + label))
        if discriminator != generator:
            other = discriminator.presets.get(preset, {}) if label else discriminator.defaults
            moved = {
                key.replace("model.", "discriminator.", 1): value
                for key, value in other.items()
                if key.startswith(("model.", "discriminator.")) and key != "model.latent_dim"
            }
            layers.append(Layer(moved, discriminator.name + label))
    return [layer for layer in layers if layer.values]


def _kinds(layers: Iterable[Layer], parts: Iterable[Part]) -> dict[str, Setting]:
    """Every setting that this mix has: the core's and those that a part gives a default."""
    kinds = dict(CORE)
    texts = {key: text for part in parts for key, text in part.help.items()}
    for layer in layers:
        if layer.by_user:
            continue
        for key, value in layer.values.items():
            if key not in kinds:
                kinds[key] = Setting(value, _settings.kind_of(key, value), texts.get(key, ""))
    for key, setting in list(kinds.items()):
        if key.startswith("model.") and key != "model.latent_dim":
            for slot in ("generator", "discriminator"):
                kinds.setdefault(key.replace("model", slot, 1), setting)
    return kinds


def _lay(layers: Iterable[Layer], kinds: Mapping[str, Setting], *, separate: bool) -> Settings:
    """Later layers win. A model.* that the user sets reaches a discriminator of another model as well."""
    values: dict[str, Value] = {}
    for layer in layers:
        for written, raw in layer.values.items():
            key = _settings.expand(written, kinds) if layer.by_user else written
            value = Value(_settings.read(key, kinds[key].kind, raw), layer.origin, layer.by_user)
            twin = key.replace("model.", "discriminator.", 1)
            if key.startswith("model.") and separate and layer.by_user and twin in values:
                values[twin] = value
                if key not in values:
                    continue
            values[key] = value
    return Settings(values)


def _record_picks(
    settings: Settings, parts: Mapping[str, Part], modifiers: Sequence[Part], argument: str, words: _Words
) -> Settings:
    entries = dict(settings.entries)
    same = parts["generator"] == parts["discriminator"]
    for slot, part in parts.items():
        origin = words.picked.get(slot, words.picked.get("model", ("", "")) if slot in SLOTS else ("", ""))[1]
        if slot in ("loss", "schedule", "data") and slot not in words.picked:
            origin = entries[f"use.{slot}"].origin if entries[f"use.{slot}"].value else "the default"
        name = part.name if part.distribution != "(object)" else ""
        entries[f"use.{slot}"] = Value(name + (f":{argument}" if slot == "data" and argument else ""), origin, True)
    entries["use.model"] = Value(parts["generator"].name if same else "", entries["use.generator"].origin, True)
    origin = words.picked.get("with", ("", entries["use.with"].origin))[1]
    entries["use.with"] = Value([part.name for part in modifiers], origin, True)
    return Settings(entries)


def _check_choices(mix: Mix) -> None:
    choices: dict[str, tuple[Any, ...]] = {key: tuple(s.choices) for key, s in CORE.items() if s.choices}
    for slot, part in mix.parts.items():
        for key, allowed in part.choices.items():
            choices[key] = allowed
            if slot in ("generator", "discriminator"):
                choices[key.replace("model.", f"{slot}.", 1)] = allowed
    for part in mix.modifiers:
        choices.update(part.choices)
    for key, allowed in choices.items():
        if key in mix.settings and mix.settings[key] not in allowed:
            found = mix.settings[key]
            nearest = difflib.get_close_matches(str(found), [str(item) for item in allowed], n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise UsageError(f"{key} is {found!r}; expected {' or '.join(map(str, allowed))}{hint}")
    if mix.settings["data.channels"] not in (0, 1, 3):
        raise UsageError(f"data.channels is {mix.settings['data.channels']}; expected 1, 3, or 0 for the data's own")
    if len(mix.settings["train.betas"]) != 2 or not all(0 <= beta < 1 for beta in mix.settings["train.betas"]):
        raise UsageError(
            f"train.betas is {mix.settings['train.betas']}; expected two numbers of at least 0 and below 1"
        )


def _check(mix: Mix) -> Mix:
    """Everything that cards and settings can tell, before anything is imported."""
    warnings: list[str] = []
    for part in (mix.parts["loss"], mix.parts["schedule"], mix.parts["data"], *mix.modifiers):
        if part.frameworks and mix.framework not in part.frameworks:
            raise UsageError(
                f"{part.name} is for {' and '.join(part.frameworks)}, but {mix.parts['generator'].name} is written in "
                f"{mix.framework}; pick another"
            )
    if mix.settings["train.updates"] == "simultaneous" and mix.settings["train.critic_steps"] > 1:
        raise UsageError(
            f"train.updates=simultaneous takes one step of D for one of G, but train.critic_steps is "
            f"{mix.settings['train.critic_steps']}; say --set updates=alternating or --set critic_steps=1"
        )
    for part in (mix.parts["loss"], *mix.modifiers):
        for need in part.needs:
            mix = _meet(mix, part, need, warnings)
        for feature in part.doubles:
            if mix.has(feature):
                warnings.append(
                    f"{part.name} adds what {mix.parts['loss'].name} already has ({feature}), so it counts twice; "
                    f"leave {part.name} out, or set the loss's own to 0"
                )
    return replace(mix, warnings=tuple(warnings))


def _meet(mix: Mix, part: Part, need: str, warnings: list[str]) -> Mix:
    """Check one need of a part; where a default of the model stands in its way, choose another value."""
    wanted = not need.startswith("no_")
    feature = need.removeprefix("no_")
    if mix.has(feature) is wanted:
        return mix
    slot = "generator" if feature.endswith("_in_generator") else "discriminator"
    model = mix.parts[slot]
    words = f"{part.name} needs a {slot} with{'' if wanted else 'out'} {_plain(feature)}"
    claim = model.has.get(feature)
    if not isinstance(claim, Mapping):
        raise UsageError(f"{words}, and {model.name} has {'none' if wanted else 'it'}; pick another loss or model")
    key = _deciding_key(claim["setting"], mix, slot)
    overlay = key.replace("model.", f"{slot}.", 1)
    for choice in model.choices.get(claim["setting"], ()):
        trial = replace(mix, settings=mix.settings.replaced(overlay, choice, f"the mix, since {words}"))
        if trial.has(feature) is wanted:
            if mix.settings.entries[key].by_user:
                raise UsageError(
                    f"{words}, but {key} is {mix.settings[key]} ({mix.settings.origin(key)}); "
                    f"say --set {overlay}={choice}"
                )
            warnings.append(f"{words}: {overlay}={choice} instead of {mix.settings[key]}")
            return trial
    raise UsageError(f"{words}, but {key} is {mix.settings[key]}; set another value")


def _plain(feature: str) -> str:
    return feature.removesuffix("_in_discriminator").removesuffix("_in_generator").replace("_", " ")


@dataclass(frozen=True)
class Fit:
    """What the networks are built for, and how the images get there."""

    spec: Spec
    framing: Framing


def fit(mix: Mix, *, height: int, width: int, channels: int, classes: int, background: int | None) -> Fit:
    """Check that the data fits the networks.

    Args:
        mix: the parts.
        height, width, channels: of the images as they are.
        classes: 0 for images without labels.
        background: see `ImageSource`.

    Raises:
        UsageError: naming the setting or the part to change.
    """
    if mix.conditional and not classes:
        raise UsageError(
            f"{mix.parts['generator'].name} is conditional, and {mix.parts['data'].name} has no labels; "
            "pick an unconditional model, or a folder with one folder a class"
        )
    sizes = [set(mix.parts[slot].image_sizes) for slot in ("generator", "discriminator")]
    both = sizes[0] & sizes[1] if all(sizes) else sizes[0] | sizes[1]
    if any(sizes) and not both:
        raise UsageError(
            f"{mix.parts['generator'].name} takes images of {sorted(sizes[0])} pixels and "
            f"{mix.parts['discriminator'].name} of {sorted(sizes[1])}; pick two that share a size"
        )
    framing = frame((height, width), size=mix.settings["data.size"], sizes=sorted(both), background=background)
    spec = Spec(
        height=framing.target[0],
        width=framing.target[1],
        channels=mix.settings["data.channels"] or channels,
        classes=classes if mix.conditional else 0,
        latent_dim=mix.settings["model.latent_dim"],
        framework=mix.framework,
    )
    return Fit(spec, framing)
