"""Classes and numbers of images by a file: StyleGAN's `dataset.json`, or Hugging Face's `metadata.csv` and `.jsonl`."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ganzoo_core as gz
from ganzoo_datasets.attribute_columns import check_columns, read_numbers

MAX_BYTES = 200_000_000  # of one such file
NAME_COLUMN, LABEL_COLUMN = "file_name", "label"
_MAX_NAMED = 5  # how many files or columns a message names
_FRACTION = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
_NUMBER = re.compile(rf"[+-]?[0-9]+|(?i:nan|[+-]?inf)|{_FRACTION.pattern}")
_Row = tuple[gz.ImageFile, int, dict[str, Any]]  # the file, the line, and its values by column


@dataclass
class FileLabels:
    """What the label files of a folder say.

    Attributes:
        by_file: the class of each image that is named, by its relative path; "" for none.
        class_names: in order.
        notes: for the user.
        is_read: whether a file says anything of classes; if not, the folders do.
        attributes: the numbers of each image that is named, by its relative path; see `attribute_columns`.
    """

    by_file: dict[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    is_read: bool = False
    attributes: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def add(self, file: gz.ImageFile, name: str, label: str, where: str) -> None:
        """Add the label of the image that `file` calls `name`."""
        relative = resolve_name(file, name)
        if self.by_file.setdefault(relative, label) != label:
            raise gz.DataError(
                f"{where} gives {gz.quote_name(relative)} the class {label[:80]!r}, and before it is "
                f"{self.by_file[relative][:80]!r}"
            )


def resolve_name(file: gz.ImageFile, name: str) -> str:
    """The relative path of the image that a label file calls `name`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file.relative), name.replace("\\", "/")))


def read_label_files(scan: gz.ImageScan, *, column: str = "", attributes: Sequence[str] = ()) -> FileLabels:
    """Read all label files of a folder or archive.

    Args:
        scan: of the folder.
        column: `data.label`: the column of `metadata.*` that holds the classes; "" to find it.
        attributes: `data.attributes`: the columns of `metadata.*` that are a condition. Where it names any, the classes
            are in `column` or in a column `label`, else in no column.

    Raises:
        DataError: if a file is damaged, files contradict each other, or it is not clear which column holds the classes,
            or the column named holds fractions.
        UsageError: if there is no such column.
    """
    labels = FileLabels()
    rows: list[_Row] = []
    columns: list[list[str]] = []
    for file in scan.label_files:
        if file.relative.endswith("dataset.json"):
            _add_dataset_json(labels, file)
            continue
        found = _read_csv(file) if file.relative.endswith(".csv") else _read_json_lines(file)
        header = list(dict.fromkeys(key for _, _, values in found for key in values))
        if NAME_COLUMN in header:
            rows += found
            columns.append(header)
        elif not found:
            labels.notes.append(f"{file.title} names no image and is passed over")
        else:
            labels.notes.append(f"{file.title} has no column {NAME_COLUMN} and is passed over; it has {_list(header)}")
    if rows and labels.is_read:
        raise gz.DataError(
            f"both {rows[0][0].title} and dataset.json say the classes of the images; expected one of them: remove "
            "or rename the other"
        )
    if not rows:
        if column or attributes:
            setting = f"data.label={column} names a column" if column else "data.attributes names columns"
            why = f"; {labels.notes[0]}" if labels.notes else ""
            raise gz.UsageError(f"{setting} of metadata.csv or .jsonl, and there is no such file{why}")
        return labels
    common = [name for name in columns[0] if name != NAME_COLUMN and all(name in header for header in columns)]
    if not attributes or column or LABEL_COLUMN in set(common) - set(attributes):
        _add_rows(labels, rows, _choose_column(labels, rows, common, column))
    if attributes:
        _add_attributes(labels, rows, check_columns(rows[0][0], attributes, common))
    return labels


def _add_attributes(labels: FileLabels, rows: Sequence[_Row], names: Sequence[str]) -> None:
    for file, line, values in rows:
        where = f"{file.title} line {line}"
        relative, numbers = resolve_name(file, _get_name(values, where)), read_numbers(values, names, where)
        if labels.attributes.setdefault(relative, numbers) != numbers:
            raise gz.DataError(f"{where} gives {gz.quote_name(relative)} other numbers than a line before it")
    listed = ", ".join(map(gz.quote_name, names))
    labels.notes.append(f"the condition attributes: {listed}, of {rows[0][0].title}")


def _add_dataset_json(labels: FileLabels, file: gz.ImageFile) -> None:
    try:
        content = json.loads(_read_text(file))
    except (ValueError, RecursionError) as error:
        raise gz.DataError(f"{file.title} is damaged: {error}") from None
    if not isinstance(content, dict) or "labels" not in content:
        labels.notes.append(f"{file.title} has no `labels`, as StyleGAN's has, and is passed over")
        return
    if labels.is_read:
        raise gz.DataError(f"{file.title} is the second dataset.json; expected one, beside all images")
    labels.is_read = True
    pairs, names = content["labels"], content.get("class_names")
    if pairs is None:
        labels.notes.append(f"the images have no classes, as {file.title} says")
        return
    if names is not None and not (_is_list_of(names, str) and len(set(names)) == len(names) and all(names)):
        raise gz.DataError(f"{file.title}: its class_names are not a list of different names")
    if not isinstance(pairs, list):
        raise gz.DataError(f'{file.title}: its labels are not a list; expected [["a.png", 0], …] or null')
    numbers = set()
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int):
            shown = json.dumps(pair)[:80]
            raise gz.DataError(f'{file.title}: a label is {shown}; expected a path and a number, as ["a.png", 0]')
        path, number = pair
        if not 0 <= number < (len(names) if names else 2**31):
            least = f"0 to {len(names) - 1}, the class_names" if names else "0 or more"
            raise gz.DataError(f"{file.title}: the class of {gz.quote_name(path)} is {number}; expected {least}")
        numbers.add(number)
        labels.add(file, path, names[number] if names else str(number), file.relative)
    labels.class_names = tuple(names[number] if names else str(number) for number in sorted(numbers))
    labels.notes.append(f"the classes are those of {file.title}")


def _read_csv(file: gz.ImageFile) -> list[_Row]:
    reader = csv.reader(io.StringIO(_read_text(file), newline=""), strict=True)
    rows: list[_Row] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                _check_separator(file, cells)
                if len(set(header)) < len(header):
                    raise gz.DataError(f"{file.title} has two columns of one name; it has {_list(header)}")
            elif len(cells) != len(header):
                raise gz.DataError(
                    f"{file.title} line {reader.line_num}: {len(cells)} values; expected {len(header)}, as the "
                    "first line names"
                )
            else:
                rows.append((file, reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
    except csv.Error as error:
        raise gz.DataError(f"{file.title} line {reader.line_num} is damaged: {error}") from None
    return rows


def _check_separator(file: gz.ImageFile, cells: Sequence[str]) -> None:
    """Raise DataError if the first line is one cell that another separator would divide."""
    for separator in ";\t|":
        names = [name.strip() for name in cells[0].split(separator)]
        if len(cells) == 1 < len(names) and NAME_COLUMN in names:
            raise gz.DataError(f"{file.title} is separated by {separator!r}; expected commas")


def _read_json_lines(file: gz.ImageFile) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(_read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise gz.DataError(f"{file.title} line {number} is damaged: {error}") from None
        if not isinstance(values, dict):
            raise gz.DataError(f'{file.title} line {number} is no object; expected {{"file_name": "a.png", …}}')
        rows.append((file, number, values))
    return rows


def _choose_column(labels: FileLabels, rows: Sequence[_Row], common: Sequence[str], asked: str) -> str:
    """The column that holds the classes, of those that all files have; "" if there is none."""
    where = rows[0][0].title
    if asked or LABEL_COLUMN in common:
        if asked and asked not in common:
            raise gz.UsageError(f"data.label is {asked}, and {where} has no such column; it has {_list(common)}")
        fraction = _find_fraction(rows, asked or LABEL_COLUMN)
        if fraction:
            raise gz.DataError(
                f"{where}: the column {asked or LABEL_COLUMN} holds fractions, such as {fraction}, and no classes; "
                "expected names or whole numbers: choose another with --set data.label=COLUMN, or rename it"
            )
        return asked or LABEL_COLUMN
    few = []
    for name in common:
        values = [values.get(name) for _, _, values in rows]
        is_few = all(_is_name(value) for value in values) and len(set(values)) <= max(1, len(rows) // 2)
        if fraction := _find_fraction(rows, name):
            labels.notes.append(f"the column {name} of {where} holds fractions, such as {fraction}, and no classes")
        elif is_few:
            few.append(name)
    if len(few) > 1:
        raise gz.DataError(
            f"{where} has several columns that may hold the classes: {_list(few)}; choose one with "
            f"--set data.label={gz.quote_name(few[0])}"
        )
    if not few:
        labels.notes.append(
            f"{where} has no column of classes (it has {_list(common) or 'only file_name'}) and is passed over"
        )
    return few[0] if few else ""


def _find_fraction(rows: Sequence[_Row], column: str) -> str:
    """The first fraction in a column of numbers; "" in a column of whole numbers or of anything else."""
    texts = [str(values.get(column, "")) for _, _, values in rows]
    fraction = next(filter(_FRACTION.fullmatch, texts), "")
    return fraction if fraction and all(map(_NUMBER.fullmatch, texts)) else ""


def _add_rows(labels: FileLabels, rows: Sequence[_Row], column: str) -> None:
    if not column:
        return
    for file, line, values in rows:
        label, where = values.get(column), f"{file.title} line {line}"
        name = _get_name(values, where)
        if not _is_name(label):
            found = "no" if label in ("", None) else f"{json.dumps(label)[:80]} as its"
            raise gz.DataError(f"{where} has {found} {column}; expected a name or a whole number")
        labels.add(file, name, str(label), where)
    names = set(labels.by_file.values())
    is_numeric = all(name.isascii() and name.isdigit() and len(name) < 20 for name in names)
    labels.class_names = tuple(sorted(names, key=lambda name: (int(name) if is_numeric else 0, name)))
    labels.is_read = True
    labels.notes.append(f"the classes are those of {rows[0][0].title}, column {column}")


def _get_name(values: Mapping[str, Any], where: str) -> str:
    name = values.get(NAME_COLUMN)
    if not isinstance(name, str) or not name:
        raise gz.DataError(f"{where} has no {NAME_COLUMN}")
    return name


def _read_text(file: gz.ImageFile) -> str:
    try:
        with file.open() as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise gz.DataError(f"{file.title} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise gz.DataError(f"{file.title} has more than {MAX_BYTES:,} bytes; it is not read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise gz.DataError(
            f"{file.title} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None


def _is_name(value: Any) -> bool:
    return (isinstance(value, str) and bool(value)) or isinstance(value, int)


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(gz.quote_name, names[:_MAX_NAMED])) + (", …" if len(names) > _MAX_NAMED else "")
