"""Merge layers of settings: later layers win, and every value keeps its origin."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import UsageError
from ganzoo_core.settings import CORE_SETTINGS, Setting, Settings, SettingValue, expand_key, find_kind, read_value


@dataclass(frozen=True)
class SettingsLayer:
    """Settings with a common origin, such as a config file."""

    values: Mapping[str, Any]
    origin: str
    by_user: bool = False


def collect_model_settings(generator: Part, discriminator: Part, preset: str) -> list[SettingsLayer]:
    """All settings of the generator's model; if D is of another model, only the discriminator settings of that one."""
    layers = []
    for label, table in (("", generator.defaults), (f" preset {preset}", generator.presets.get(preset, {}))):
        keep = dict(table)
        if discriminator != generator:
            keep = {key: value for key, value in keep.items() if not key.startswith("discriminator.")}
        layers.append(SettingsLayer(keep, generator.name + label))
        if discriminator != generator:
            table_of_d = discriminator.presets.get(preset, {}) if label else discriminator.defaults
            moved = {
                key.replace("model.", "discriminator.", 1): value
                for key, value in table_of_d.items()
                if key.startswith(("model.", "discriminator.")) and key != "model.latent_dim"
            }
            layers.append(SettingsLayer(moved, discriminator.name + label))
    return [layer for layer in layers if layer.values]


def collect_setting_definitions(layers: Iterable[SettingsLayer], parts: Iterable[Part]) -> dict[str, Setting]:
    """All settings of this mix: the core's, and those with a default from a part."""
    kinds = dict(CORE_SETTINGS)
    texts = {key: text for part in parts for key, text in part.help.items()}
    for layer in layers:
        if layer.by_user:
            continue
        for key, value in layer.values.items():
            if key not in kinds:
                kinds[key] = Setting(value, find_kind(key, value), texts.get(key, ""))
    for key, setting in list(kinds.items()):
        if key.startswith("model.") and key != "model.latent_dim":
            for slot in ("generator", "discriminator"):
                kinds.setdefault(key.replace("model", slot, 1), setting)
    return kinds


def merge_layers(layers: Iterable[SettingsLayer], definitions: Mapping[str, Setting], *, separate: bool) -> Settings:
    """Merge layers; later ones win. A user's `model.*` also applies to a discriminator of another model.

    Raises:
        UsageError: for an unknown key or an unfit value, with the layer's origin.
    """
    values: dict[str, SettingValue] = {}
    for layer in layers:
        try:
            for key, raw in _expand_keys(layer, definitions, separate=separate, earlier=values):
                value, earlier = read_value(key, definitions[key].kind, raw), values.get(key)
                own = value if not layer.by_user else earlier and earlier.without_user
                values[key] = SettingValue(value, layer.origin, layer.by_user, own)
        except UsageError as error:
            raise UsageError(f"{layer.origin}: {error}") from None
    return Settings(values)


def _expand_keys(
    layer: SettingsLayer, definitions: Mapping[str, Setting], *, separate: bool, earlier: Container[str]
) -> Iterator[tuple[str, Any]]:
    """A layer's values under their full keys."""
    if not layer.by_user:
        yield from layer.values.items()
        return
    pairs = [(expand_key(written, definitions), raw) for written, raw in layer.values.items()]
    explicit_keys = {key for key, _ in pairs}
    for key, raw in pairs:
        yield key, raw
        twin = key.replace("model.", "discriminator.", 1)
        # An explicit `discriminator.*` in the same layer wins, whatever the order.
        if separate and key.startswith("model.") and twin in earlier and twin not in explicit_keys:
            yield twin, raw
