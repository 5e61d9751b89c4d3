"""`--data parquet:PATH`: image sets as the Hugging Face Hub stores them, unpacked once into shards in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ganzoo_core as gz
from ganzoo_datasets.parquet_files import Table, find_tables, measure_packed, unpack_tables
from ganzoo_datasets.paths import resolve_path
from ganzoo_datasets.shards import MAX_DESCRIBED_BYTES, describe_shards, split_shards


@gz.hookimpl
def dataset(name: str, argument: str, split: str, options: gz.Options) -> gz.ImageSource:
    """Images [size,size,C] of the column `data.image`; their classes are those of the column `data.label`.

    Each file becomes a shard, which is then read as `shards` reads them; so the parts are by the files' names, such as
    `train-00000-of-00004.parquet`.

    Raises:
        DataError: if a file cannot be read, or has no such columns.
        UsageError: if an option is invalid, or pyarrow is missing.
    """
    return split_shards(split=split, options=_without_columns(options), **_unpack(*_find(name, argument, options)))


@gz.hookimpl
def describe_dataset(name: str, argument: str, split: str, options: gz.Options) -> Mapping[str, Any]:
    """By the shards' index; the files are unpacked for it if that is quick. Raises as `dataset` does."""
    path, tables = _find(name, argument, options)
    if measure_packed(tables) > MAX_DESCRIBED_BYTES:
        return {}
    return describe_shards(split=split, options=_without_columns(options), **_unpack(path, tables))


def _find(name: str, argument: str, options: gz.Options) -> tuple[Path, list[Table]]:
    path = resolve_path(name, argument)
    return path, find_tables(path, options.get("image", ""), options.get("label", ""))


def _unpack(path: Path, tables: list[Table]) -> dict[str, Any]:
    shards, note = unpack_tables(tables)
    return {"shards": shards, "name": str(path), "class_names": tables[0].class_names or (), "notes": [note]}


def _without_columns(options: gz.Options) -> dict[str, Any]:
    """The options of shards: there a class is in KEY.cls."""
    return {key: value for key, value in options.items() if key not in ("image", "label")}
