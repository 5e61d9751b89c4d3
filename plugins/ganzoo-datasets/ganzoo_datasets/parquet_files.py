"""Read parquet files of pictures, and unpack each into a tar shard in the cache folder.

pyarrow reads them, a few rows at a time. The pictures of a parquet file can only be reached by unpacking a row group of
hundreds, so training, which wants them in any order, reads the shards.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ganzoo_core as gz
from ganzoo_datasets.cache import find_base, hold_lock, make_temporary, remove_leftovers, stamp_files
from ganzoo_datasets.folder_layout import list_names
from ganzoo_datasets.shard_files import Shard

FORMAT = 1  # part of every key: increment it when what is unpacked changes
NO_CLASS = -1  # in the Hub's sets, of rows without a class
_ROWS = 32  # that are read at a time
_ENDINGS = {b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif"}


@dataclass(frozen=True)
class Table:
    """A parquet file.

    Attributes:
        path: of the file.
        relative: the path relative to what the user named.
        image, label: the columns; `label` is "" without classes.
        class_names: of the numbers in `label`; None if the file does not say.
        rows, size: how many, and the bytes of the pictures.
    """

    path: Path
    relative: str
    image: str
    label: str
    class_names: tuple[str, ...] | None
    rows: int
    size: int

    @property
    def title(self) -> str:
        """`relative` for a message."""
        return gz.quote_name(self.relative)


def find_tables(path: Path, image: str, label: str) -> list[Table]:
    """The parquet file at a path, or those of a folder at any depth, sorted by name.

    Args:
        path: of the file or folder.
        image: the column of the pictures; "" to find it.
        label: the column of the classes; "" to find it, `-` for none.

    Raises:
        DataError: if there are none, or one is not such a file or lacks the column; if their class names differ.
        UsageError: if pyarrow is missing.
    """
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    found = [file for file in found if file.is_file() and not file.name.startswith(".")]
    if not found:
        raise gz.DataError(f"{gz.quote_name(str(path))} holds no parquet files; expected files that end in .parquet")
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in found]
    tables = [_open_table(file, name, image, label) for file, name in zip(found, names, strict=True)]
    other = next((table for table in tables if table.class_names != tables[0].class_names), None)
    if other is not None:
        raise gz.DataError(
            f"{tables[0].title} and {other.title} have other class names; expected the same in all: give the files of "
            "one set"
        )
    return tables


def unpack_tables(tables: Sequence[Table]) -> tuple[list[Shard], str]:
    """The shard of each file, unpacked with a progress bar where it is not there yet, and a note that says where.

    Raises:
        DataError: if a file is damaged, or there is no room.
    """
    entries = _find_entries(tables)
    folder = entries[0].parent
    shards = [Shard(entry, table.relative) for entry, table in zip(entries, tables, strict=True)]
    missing = [number for number, entry in enumerate(entries) if not entry.is_file()]
    if missing:
        with hold_lock(folder / hashlib.sha256("".join(map(str, entries)).encode()).hexdigest()[:40]):
            missing = [number for number in missing if not entries[number].is_file()]
            remove_leftovers(folder)
            _make_folder(folder, sum(tables[number].size for number in missing))
            with gz.show_progress("unpacking parquet", sum(tables[number].rows for number in missing)) as advance:
                for number in missing:
                    _unpack(tables[number], entries[number], advance)
    size = sum(entry.stat().st_size for entry in entries) / 1e9
    return shards, f"unpacked into {gz.quote_name(str(folder))} ({size:.3g} GB), which may be deleted"


def measure_packed(tables: Sequence[Table]) -> int:
    """How many bytes `unpack_tables` would write."""
    entries = _find_entries(tables)
    return sum(table.size for table, entry in zip(tables, entries, strict=True) if not entry.is_file())


def _find_entries(tables: Sequence[Table]) -> list[Path]:
    """The shard of each file."""
    entries = []
    for table in tables:
        key = [FORMAT, *stamp_files([table.path])[0], table.image, table.label]
        entries.append(find_base() / "shards" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:40]}.tar")
    return entries


def _make_folder(folder: Path, size: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise gz.DataError(f"{folder} cannot be made: {error.strerror}; GANZOO_CACHE names another folder") from None
    if size > free:
        raise gz.DataError(
            f"the pictures take {size / 1e9:.3g} GB, and {folder} has {free / 1e9:.3g} GB of room; GANZOO_CACHE names "
            "another folder"
        )


def _open_table(path: Path, relative: str, image: str, label: str) -> Table:
    title = gz.quote_name(relative)
    with _open(path, title) as file:
        schema, metadata = file.schema_arrow, file.metadata
        if twice := sorted(name for name, count in Counter(schema.names).items() if count > 1):
            raise gz.DataError(f"{title} has two columns of one name: {list_names(twice)}; expected each once")
        features = _read_features(schema.metadata)
        image, label = _choose_image(schema, image, title), _choose_label(schema, label, features, title)
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        names = features.get(label, {}).get("names")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise gz.DataError(f"{title}: the class names in its metadata are no list of texts")
        return Table(path, relative, image, label, tuple(names) if names else None, metadata.num_rows, size)


@contextmanager
def _open(path: Path, title: str) -> Iterator[Any]:
    """Open a file with pyarrow; what goes wrong with it is a DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise gz.UsageError(
            "parquet needs pyarrow, which is not installed: pip install 'ganzoo-datasets[parquet]'"
        ) from None
    try:
        # Buffered: else all of a row group's pictures are read at once.
        with pyarrow.parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            yield file
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise gz.DataError(f"{title} cannot be read as a parquet file: {reason}; fetch it again") from None


def _read_features(metadata: dict[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """The features that `datasets` notes in a file, by column; {} if there are none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _choose_image(schema: Any, column: str, title: str) -> str:
    fitting = [field.name for field in schema if _holds_pictures(field.type)]
    chosen = column or ("image" if "image" in fitting or len(fitting) != 1 else fitting[0])
    if chosen in fitting:
        return chosen
    if chosen not in schema.names:
        others = f"pictures may be in {list_names(fitting)}: --set data.image=COLUMN" if fitting else "none of pictures"
        raise gz.DataError(
            f"{title} has no column {gz.quote_name(chosen)}; it has {list_names(schema.names) or 'none'}, {others}"
        )
    kind = str(schema.field(chosen).type)[:200]
    raise gz.DataError(
        f"{title}: the column {gz.quote_name(chosen)} is {kind}; expected pictures, as struct<bytes: binary, path: "
        "string> or binary"
    )


def _holds_pictures(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(
            kind.field(place).name == "bytes" and _is_binary(kind.field(place).type) for place in range(len(kind))
        )
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _choose_label(schema: Any, column: str, features: dict[str, dict[str, Any]], title: str) -> str:
    """The column of the classes; "" for none."""
    import pyarrow.types as types

    if column == "-":
        return ""
    named = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    chosen = column or ("label" if "label" in schema.names else named[0] if len(named) == 1 else "")
    if not chosen:
        return ""
    if chosen not in schema.names:
        raise gz.DataError(f"{title} has no column {gz.quote_name(chosen)}; it has {list_names(schema.names)}")
    kind = schema.field(chosen).type
    kind = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise gz.DataError(
            f"{title}: the column {gz.quote_name(chosen)} is {str(kind)[:200]}; expected classes, as whole numbers or "
            "texts: choose another with --set data.label=COLUMN, or none with --set data.label=-"
        )
    return chosen


def _unpack(table: Table, entry: Path, advance: Callable[[int], None]) -> None:
    """Write the pictures of a file into a tar: ROW.jpg, by their first bytes, with ROW.cls."""
    made = make_temporary(entry.parent) / entry.name
    try:
        with tarfile.open(made, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row, (content, label) in enumerate(_iterate_rows(table)):
                ending = next((end for start, end in _ENDINGS.items() if content.startswith(start)), "jpg")
                _add(tar, f"{row:08d}.{ending}", content)
                if label is not None and label != NO_CLASS:
                    _add(tar, f"{row:08d}.cls", str(label).encode())
                advance(1)
        with made.open("rb") as written:
            os.fsync(written.fileno())
        made.replace(entry)
    except OSError as error:
        raise gz.DataError(
            f"{entry} cannot be written: {error.strerror or error}; GANZOO_CACHE names another folder"
        ) from None
    finally:
        shutil.rmtree(made.parent, ignore_errors=True)


def _iterate_rows(table: Table) -> Iterator[tuple[bytes, int | str | None]]:
    """The bytes and the class of each row."""
    columns, row = [table.image, *([table.label] if table.label else [])], 0
    with _open(table.path, table.title) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
            rows = batch.to_pydict()
            labels = rows[table.label] if table.label else [None] * batch.num_rows
            for value, label in zip(rows[table.image], labels, strict=True):
                yield _take_bytes(value, f"{table.title}, row {row:,}"), label
                row += 1


def _take_bytes(value: Any, where: str) -> bytes:
    """The bytes of a picture; none where there is no picture, which the index then says."""
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
        if content is None and path:
            raise gz.DataError(
                f"{where} holds only the path {gz.quote_name(str(path), 200)}; expected the picture's bytes: save the "
                "set with `datasets`' push_to_hub or embed_external_files"
            )
        value = content
    return value or b""


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
