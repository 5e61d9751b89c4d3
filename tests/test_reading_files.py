"""Regular files and the JSON in them: bounds at their edges, and the sentence for what lies beyond."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from ganzoo_core.errors import UsageError
from ganzoo_core.report.records import Distances, DrawnImage, Neighbour, PictureUri
from ganzoo_core.storage import decoding, files, records, run_records


def refusal(function, *arguments, **more) -> str:
    with pytest.raises(UsageError) as caught:
        function(*arguments, **more)
    return str(caught.value)


# --- Files.


def test_a_file_has_at_most_the_bytes_of_its_limit(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 10)
    assert files.read_bytes(path, 10) == b"x" * 10
    assert refusal(files.read_bytes, path, 9) == f"{path} is larger than 9 bytes, so it is not one of ganzoo's"
    missing = tmp_path / "nothing"
    assert refusal(files.read_bytes, missing, 9) == f"{missing} cannot be read: No such file or directory"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_read_where_a_user_named_it_alone(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "p")
    for name in ("f", "d", "p"):
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
    link = tmp_path / "to-f"
    words = "expected a file, since nothing in a run's folder is followed elsewhere"
    assert files.read_bytes(link, 9, named_by_user=True) == b"x"
    assert refusal(files.read_bytes, link, 9) == f"{link} is a link; {words}"
    for name, what in (("d", "a folder"), ("p", "a named pipe"), ("to-d", "a link")):
        assert refusal(files.read_bytes, tmp_path / name, 9) == f"{tmp_path / name} is {what}; {words}"
    for name in ("p", "to-p", "d", "to-d"):
        assert (
            refusal(files.read_bytes, tmp_path / name, 9, named_by_user=True) == f"{tmp_path / name} is no regular file"
        )
    files.check_file(tmp_path / "nothing")
    files.check_folder(tmp_path / "nothing")
    files.check_folder(tmp_path / "d")
    words = "expected a folder, since nothing in a run's folder is followed elsewhere"
    assert refusal(files.check_folder, tmp_path / "to-d") == f"{tmp_path / 'to-d'} is a link; {words}"
    assert refusal(files.check_folder, tmp_path / "f") == f"{tmp_path / 'f'} is a file; {words}"
    assert [files.is_file(tmp_path / name) for name in ("f", "d", "to-f")] == [True, False, False]
    assert [files.is_folder(tmp_path / name) for name in ("d", "f", "to-d")] == [True, False, False]
    assert files.describe(tmp_path / "a\0b") == files.describe(tmp_path / "nothing") == ""
    assert files.describe(Path(os.devnull)) == "a device"


def test_a_name_that_holds_a_nul_is_no_file_s(tmp_path):
    assert (
        refusal(files.read_bytes, tmp_path / "a\0b", 9) == f"{str(tmp_path / 'a') + chr(0) + 'b'!r} is no file's name"
    )


def test_numbered_folders_are_found_by_plain_numbers(tmp_path):
    for name in ("10", "9", "0", "012", "²", "٣", "-1", "1e3", "9" * 18, "9" * 19, "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    (tmp_path / "8").symlink_to(tmp_path / "9")
    assert list(files.list_numbered(tmp_path)) == [0, 9, 10, 10**18 - 1]
    assert files.list_numbered(tmp_path)[9] == tmp_path / "9"
    assert list(files.list_folder(tmp_path / "8")) == list(files.list_folder(tmp_path / "nothing")) == []
    assert [path.name for path in files.list_folder(tmp_path)][:3] == ["-1", "0", "012"]


def test_an_error_of_the_system_is_told_with_its_file():
    assert files.explain_os_error(OSError(28, "No space left on device", "a/b")) == "a/b: No space left on device"
    assert files.explain_os_error(OSError(28, "No space left on device")) == "No space left on device"
    assert files.explain_os_error(OSError("odd")) == "odd"
    assert files.explain_os_error(OSError()) == "OSError"


# --- JSON.


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_json_is_bounded_at_its_edges():
    for good in (nested(31), b"9223372036854775808", b"-9223372036854775808", json.dumps("x" * 100_000).encode()):
        assert decoding.parse(good, "it") == json.loads(good)
    assert refusal(decoding.parse, nested(32), "it") == f"it: {('[0]' * 31)[:60]}… is nested too deeply"
    assert refusal(decoding.parse, nested(100_000), "it") == "it is nested too deeply"
    big = refusal(decoding.parse, b'{"a": [1, 9223372036854775809]}', "it")
    assert big == "it: a[1] is 9223372036854775809; expected a number below 2^63"
    assert "a.b is -92" in refusal(decoding.parse, b'{"a": {"b": -9223372036854775809}}', "it")
    words = "expected at most 100,000 characters of text"
    assert refusal(decoding.parse, json.dumps({"a": "x" * 100_001}).encode(), "it") == (
        f"it: a has 100,001 characters; {words}"
    )
    assert refusal(decoding.parse, b'{"a": "\\u0000"}', "it") == f"it: a holds a NUL; {words}"
    assert refusal(decoding.parse, b'{"\\u0000": 1}', "it") == f"it: a name in it holds a NUL; {words}"
    assert refusal(decoding.parse, b'{"b": {"\\u0000": 1}}', "it") == f"it: a name in b holds a NUL; {words}"
    assert refusal(decoding.parse, b"1e999", "it") == "it holds a number that is out of range"
    assert refusal(decoding.parse, b'"\xff"', "it") == "it is not text in UTF-8"
    assert refusal(decoding.parse, b"{", "it").startswith("it is not JSON: ")
    assert refusal(decoding.parse, b"{1}", "it").startswith("it is not JSON: object keys must be strings")


class Inner(Struct, frozen=True):
    height: Annotated[int, Meta(ge=1, le=9)] = 1
    name: records.Name = "x"


class Outer(Struct, frozen=True):
    format: int
    inner: Inner = Inner()
    items: list[Inner] = []
    table: dict[str, int] = {}
    word: str | None = None


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "it is damaged: expected a table"),
        ({}, "it has no format"),
        ({"format": "x"}, "it has the format 'x'; this ganzoo reads 1: upgrade ganzoo"),
        ({"format": 1, "inner": {"height": 10}}, "it: inner.height is 10; expected a whole number <= 9"),
        ({"format": 1, "inner": {"height": "9"}}, "it: inner.height is '9'; expected a whole number"),
        ({"format": 1, "inner": 3}, "it: inner is 3; expected a table"),
        ({"format": 1, "word": 3}, "it: word is 3; expected text or null"),
        ({"format": 1, "items": {}}, "it: items is {}; expected a list"),
        ({"format": 1, "items": [{}, {"height": 0}]}, "it: items[1].height is 0; expected a whole number >= 1"),
        ({"format": 1, "table": {"a": "b"}}, "it: an entry of table is not as it must be; expected a whole number"),
        (
            {"format": 1, "inner": {"name": "a b"}},
            "it: inner.name is 'a b'; expected a name of letters, digits, dots, hyphens and underscores",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_by_its_field(value, sentence):
    assert refusal(decoding.convert, value, Outer, "it").startswith(sentence)


def test_lines_are_bounded_and_a_torn_one_is_passed_over(tmp_path, monkeypatch):
    path = tmp_path / "stats.jsonl"
    assert list(decoding.read_lines(path)) == []
    path.write_bytes(b"one\ntwo\nthr")
    assert list(decoding.read_lines(path)) == [b"one\n", b"two\n"]
    assert list(decoding.read_lines(path, 3)) == [b"one\n", b"two\n"]
    said = refusal(lambda: list(decoding.read_lines(path, 2)))
    assert said == f"{path} has more than 2 lines, so it is not one of ganzoo's"
    monkeypatch.setattr(decoding, "MAX_JSON", 4)
    assert list(decoding.read_lines(path)) == [b"one\n", b"two\n"]
    path.write_bytes(b"one\nfour\n")
    assert refusal(lambda: list(decoding.read_lines(path))) == f"{path}: line 2 is longer than 4 bytes"


def test_numbers_that_json_has_not_become_null_and_come_back():
    value = [1.5, math.nan, [math.inf, (-math.inf, 2)], "x", None]
    assert decoding.nan_to_null(value) == [1.5, None, [None, [None, 2]], "x", None]
    back = decoding.null_to_nan([1, None, [None, 2]])
    assert back[0] == 1
    assert math.isnan(back[1])
    assert math.isnan(back[2][0])
    assert back[2][1] == 2


# --- The bounds of records: the last value that is taken, and the first that is not.


EDGES = [
    (records.Name, "a" * 100, "a" * 101), (records.Name, "a.b-c_D", ".a"), (records.Name, "a", "a-"),
    (records.Name, "a", ""), (records.Name, "a", "a\n"), (records.Version, "!" * 100, "!" * 101),
    (records.Version, "", "1.0\n"), (records.Version, "1.0", "1 0"), (records.SettingKey, "a." * 99 + "ab",
    "a." * 100 + "a"),
    (records.SettingKey, "a-b.c_d", "a..b"), (records.SettingKey, "a", "a\n"), (records.Label, "x" * 1000, "x" * 1001),
    (records.FileName, "a" * 100, "a" * 101), (records.FileName, "_a.b", ".a"), (records.FileName, "a", "a/b"),
    (records.FileName, "a", "a\n"), (records.ImageCount, 10**15, 10**15 + 1), (records.ImageCount, 0, -1),
    (records.SideLength, 65_536, 65_537), (records.SideLength, 1, 0), (records.FiniteNumber, 1e300, 1.1e300),
    (records.FiniteNumber, -1e300, -1.1e300), (run_records.ShortText, "x" * 1000, "x" * 1001),
    (run_records.LongText, "x" * 10_000, "x" * 10_001), (records.StatsLine, {"a": 2**53}, {"a": 2**53 + 1}),
    (records.StatsLine, {"a": None, "b": -(2**53)}, {"b": -(2**53) - 1}),
    (Distances, [0.0, 1e6], [1.1e6]), (Distances, [0.0] * 100_000, [0.0] * 100_001),
    (Distances, [0.0], [-0.1]), (PictureUri, "data:image/png;base64,aA+/==", "data:image/png;base64,a==="),
    (PictureUri, "data:image/png;base64,", "data:image/png;base64,aa\n"),
    (PictureUri, "data:image/png;base64,", "data:image/png;base64,<"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "last", "beyond"), EDGES, ids=[f"{n}" for n in range(len(EDGES))])
def test_a_record_s_values_are_bounded_at_their_edges(kind, last, beyond):
    decoding.convert(last, kind, "it")
    refusal(decoding.convert, beyond, kind, "it")


def edges_of(record, whole, edges):
    return [(record, whole, key, last, beyond) for key, last, beyond in edges]


POSITION = {
    "format": 1, "images": 5, "step": 2, "end": 9, "facts": {}, "values": {}, "rollbacks": 0, "pending": [],
    "read_at": 2, "report_terms": [], "epoch_terms": [], "sampled_at": -1, "stats_lines": 0, "seconds": 0.0,
}  # fmt: skip
DATA, SPEC = {"images": 1, "size": [4, 4, 1]}, {"height": 4, "width": 4, "channels": 1, "classes": 0}
NEIGHBOUR = {"uri": "data:image/png;base64,", "distance": 0.0, "index": 0}
SHOWN = {"uri": "data:image/png;base64,", "ratio": 0.0, "neighbours": []}
FIELDS = [
    *edges_of(records.Position, POSITION, [
        ("format", 1, 2), ("rollbacks", 1000, 1001), ("rollbacks", 0, -1), ("read_at", 2, 3), ("read_at", 0, -1),
        ("sampled_at", 10**15, 10**15 + 1), ("sampled_at", -1, -2), ("seconds", 1e12, 1.1e12), ("seconds", 0, -0.1),
    ]),
    *edges_of(run_records.DataFacts, DATA, [
        ("size", [10_000, 10_000, 3], [10_000, 10_001, 3]), ("size", [1, 1, 1], [1, 1, 2]),
        ("size", [65_536, 1, 1], [65_537, 1, 1]), ("sha256", "a" * 100, "a" * 101), ("sha256", "0-z:", "A"),
        ("sha256", None, "a\n"),
    ]),
    *edges_of(run_records.NetworkFacts, SPEC, [
        ("classes", 1_000_000, 1_000_001), ("classes", 0, -1), ("channels", 3, 2), ("height", 65_536, 65_537),
    ]),
    *edges_of(run_records.RunFacts, {}, [
        ("id", "f" * 32, "f" * 33), ("id", "", "g"), ("background", 255, 256), ("background", 0, -1),
        ("framing", "pad", "crop"), ("preset", "a" * 100, "a" * 101), ("preset", "", "-"),
        ("notes", ["x"] * 1000, ["x"] * 1001), ("warnings", ["x"] * 1000, ["x"] * 1001),
        ("modifiers", ["x"] * 100, ["x"] * 101), ("parts", {f"{n}": "x" for n in range(100)},
                                                   {f"{n}": "x" for n in range(101)}),
    ]),
    *edges_of(Neighbour, NEIGHBOUR, [("distance", 1e6, 1.1e6), ("distance", 0, -1), ("index", 0, -1)]),
    *edges_of(DrawnImage, SHOWN, [
        ("ratio", 1e6, 1.1e6), ("ratio", 0, -1), ("neighbours", [NEIGHBOUR] * 100, [NEIGHBOUR] * 101),
    ]),
    *edges_of(records.TensorFacts, {"dtype": "F32", "shape": []}, [
        ("shape", [1] * 32, [1] * 33), ("shape", [10**13, 0], [10**13 + 1]), ("shape", [0], [-1]),
        ("dtype", "BOOL", "F8"),
    ]),
    *edges_of(records.SweepPlan, {"format": 1, "words": [], "over": {}}, [
        ("words", ["x"] * 1000, ["x"] * 1001), ("format", 1, 2),
        ("over", {f"{n}": [] for n in range(100)}, {f"{n}": [] for n in range(101)}),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "whole", "key", "last", "beyond"),
    FIELDS,
    ids=[f"{n}-{r.__name__}.{k}" for n, (r, _, k, *_) in enumerate(FIELDS)],
)
def test_a_record_s_fields_are_bounded_at_their_edges(record, whole, key, last, beyond):
    decoding.convert({**whole, key: last}, record, "it")
    assert key in refusal(decoding.convert, {**whole, key: beyond}, record, "it")
