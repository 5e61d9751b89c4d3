"""Folders and files of tensors: what is written, what counts as whole, and in which words a stranger's is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from ganzoo_core.errors import UsageError
from ganzoo_core.runs import layout
from ganzoo_core.storage import atomic, files, tensors

HALVES = np.arange(6, dtype=np.float32).reshape(2, 3) / 2
EXPECTED = {"w": ("float32", (2, 3)), "n": ("int64", ())}
TENSORS = {"w": HALVES, "n": np.array(7)}


def write(path: Path, header: object, body: bytes = b"") -> Path:
    """A safetensors file by its definition: 8 bytes of length, little-endian, then JSON, then the numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def refusal(function, *arguments) -> str:
    with pytest.raises(UsageError) as caught:
        function(*arguments)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "g.safetensors"
    place.write_bytes(tensors.pack_tensors(TENSORS))
    return place


def test_tensors_come_back_as_they_were(path):
    for found in (tensors.read_tensors(path, EXPECTED), tensors.read_all_tensors(path)):
        assert set(found) == {"w", "n"}
        np.testing.assert_array_equal(found["w"], HALVES)
        assert (found["w"].dtype, found["n"].dtype, found["n"].shape, int(found["n"])) == ("float32", "int64", (), 7)


def test_an_array_in_another_order_is_packed_by_its_values(tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(tensors.pack_tensors({"w": np.asfortranarray(HALVES), "t": HALVES.T}))
    found = tensors.read_all_tensors(path)
    np.testing.assert_array_equal(found["w"], HALVES)
    np.testing.assert_array_equal(found["t"], HALVES.T)


def test_a_tensor_that_the_network_has_not_is_refused(path):
    said = refusal(tensors.read_tensors, path, {"w": EXPECTED["w"]})
    assert said == f"{path} holds a tensor 'n', which the network has not"
    assert refusal(tensors.read_tensors, path, {"w": EXPECTED["w"]}, ["w"]) == said


def test_a_tensor_that_is_missing_is_refused_unless_it_may_be(path):
    more = {**EXPECTED, "bias": ("float32", (3,))}
    assert refusal(tensors.read_tensors, path, more) == f"{path} holds no tensor 'bias', which the network has"
    assert set(tensors.read_tensors(path, more, ["bias"])) == {"w", "n"}


@pytest.mark.parametrize(
    ("expected", "want"),
    [
        (("float32", (3, 2)), "float32 [3, 2]"),
        (("float16", (2, 3)), "float16 [2, 3]"),
        (("float32", (6,)), "float32 [6]"),
    ],
)
def test_a_tensor_of_another_shape_or_type_is_refused(path, expected, want):
    said = refusal(tensors.read_tensors, path, {**EXPECTED, "w": expected})
    assert said == f"{path}: w is float32 [2, 3]; the network has {want}"


def test_a_header_s_length_is_bounded_before_it_is_read(tmp_path):
    path = tmp_path / "g"
    words = f"{path} is not a safetensors file, or its header is over 1,000,000 bytes"
    for content in (b"", b"\0" * 8, struct.pack("<Q", 1) + b"{", struct.pack("<Q", 1_000_001) + b"{}"):
        path.write_bytes(content)
        assert refusal(tensors.read_all_tensors, path) == words
    assert tensors.read_all_tensors(write(path, b"{}")) == {}
    padded = b"{}" + b" " * 999_998
    assert tensors.read_all_tensors(write(path, padded)) == {}
    path.write_bytes(struct.pack("<Q", 2) + b"[]")
    assert refusal(tensors.read_all_tensors, path).startswith(f"{path} is not a safetensors file: its header ")


def test_what_a_header_states_is_held_against_the_file_s_size(tmp_path):
    """Of 4-byte and of 2-byte numbers: as many as fit are read further, and one more is damage."""
    for dtype, size in (("F32", 4), ("BF16", 2), ("F64", 8), ("U8", 1)):
        path = tmp_path / dtype
        tensor = {"dtype": dtype, "shape": [100], "data_offsets": [0, 100 * size]}
        write(path, {"w": tensor}, bytes(100 * size))
        content = path.read_bytes()
        fits = len(content) // size
        forged = json.dumps({"w": {**tensor, "shape": [10 * fits]}}).encode()
        path.write_bytes(struct.pack("<Q", len(forged)) + forged)
        assert refusal(tensors.read_all_tensors, path) == f"{path} states more than it holds; it is damaged"
    missing = tmp_path / "nothing"
    assert refusal(tensors.read_all_tensors, missing) == f"{missing} cannot be read: No such file or directory"


def test_offsets_that_lie_are_refused_in_words(tmp_path):
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}
    path = write(tmp_path / "g", {"w": tensor}, bytes(8))
    assert refusal(tensors.read_tensors, path, {"w": ("float32", (2,))}).startswith(f"{path} cannot be read: ")


def test_the_comment_of_a_header_is_no_tensor(tmp_path):
    tensor = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    path = write(tmp_path / "g", {"__metadata__": {"a": "b"}, "w": tensor}, b"\5")
    assert tensors.read_all_tensors(path)["w"].tolist() == [5]


@pytest.mark.parametrize(
    ("array", "is_finite"),
    [
        (np.array([1.0, -2.0]), True),
        (np.array([1.0, np.nan, 2.0]), False),
        (np.array([np.inf, 0.0]), False),
        (np.array([0.0, -np.inf]), False),
        (np.array([], np.float32), True),
        (np.array([1, 2]), True),
        (np.array([], np.int64), True),
        (np.array(np.nan, np.float16), False),
    ],
)
def test_numbers_that_are_not_finite_are_found(array, is_finite):
    assert tensors.is_finite(array) is is_finite


def test_a_folder_is_whole_by_its_sizes_and_valid_by_its_bytes(tmp_path):
    folder = tmp_path / "c"
    atomic.write_folder(folder, {"a": b"one", "b": b""}, run_id="0a")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["c"]
    manifest = json.loads((folder / "manifest.json").read_text())
    # echo -n one | sha256sum
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert manifest["files"]["a"] == {"bytes": 3, "sha256": digest}
    assert (manifest["format"], manifest["run"], sorted(manifest["files"])) == (1, "0a", ["a", "b"])
    assert (atomic.is_complete(folder), atomic.is_valid(folder)) == (True, True)
    (folder / "a").write_bytes(b"two")
    assert (atomic.is_complete(folder), atomic.is_valid(folder)) == (True, False)
    (folder / "a").write_bytes(b"on")
    assert (atomic.is_complete(folder), atomic.is_valid(folder)) == (False, False)
    (folder / "a").unlink()
    assert not atomic.is_complete(folder)
    (folder / "manifest.json").unlink()
    assert not atomic.is_complete(folder)
    nowhere = tmp_path / "nothing"
    assert refusal(atomic.read_manifest, nowhere) == f"{nowhere} is not there; expected a folder"
    assert refusal(atomic.read_manifest, folder / "b") == f"{folder / 'b'} is a file; expected a folder"


def test_a_folder_takes_another_s_place_and_a_failure_leaves_the_former(tmp_path, monkeypatch):
    folder = tmp_path / "deep" / "c"
    atomic.write_folder(folder, {"a": b"one", "b": b"two"})
    atomic.write_folder(folder, {"a": b"three"})
    assert sorted(entry.name for entry in folder.iterdir()) == ["a", "manifest.json"]
    assert (folder / "a").read_bytes() == b"three"

    def refuse(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_sync_folder", refuse)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_folder(folder, {"a": b"four"})
    assert [entry.name for entry in folder.parent.iterdir()] == ["c"]
    assert (folder / "a").read_bytes() == b"three"
    assert atomic.is_valid(folder)


def test_a_file_is_replaced_whole_and_appended_to_at_a_place(tmp_path, monkeypatch):
    path = tmp_path / "f"
    atomic.write_file(path, b"a long first text")
    atomic.write_file(path, b"short")
    assert path.read_bytes() == b"short"
    atomic.append(path, b"!?", at=4)
    assert path.read_bytes() == b"shor!?"
    atomic.append(path, b"", at=2)
    assert path.read_bytes() == b"sh"

    def refuse(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_file(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"sh"


def test_removing_takes_a_file_or_a_tree_and_of_a_link_the_link_alone(tmp_path):
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("tree", "file", "link", "nothing"):
        atomic.remove(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "deep").is_dir()


def test_leftovers_go_and_what_was_about_to_be_replaced_comes_back(tmp_path):
    def folder(name, *, valid=True):
        atomic.write_folder(tmp_path / name, {"a": name.encode()})
        if not valid:
            (tmp_path / name / "a").write_bytes(b"torn")

    folder(".10.0123abcd.old")  # its successor never came: it comes back
    folder(".20.0123abcd.old", valid=False)
    folder(".30.0123abcd.old")
    folder("30")
    folder(".generator.0123abcd.new")
    (tmp_path / ".50.0123abcd.new" / "folder").mkdir(parents=True)  # no writer here makes folders in it
    (tmp_path / ".latest.png.0123abcd.new").write_text("half")
    (tmp_path / ".70.0123abcd.new").mkdir()
    (tmp_path / ".70.0123abcd.new" / "a").write_text("half; there is no manifest yet")
    (tmp_path / ".80.0123abcd.new").mkdir()
    (tmp_path / ".80.0123abcd.new" / "diary").write_text("no writer here makes such a file")
    kept = [
        ".50.0123abcd.new", ".60.0123ABCD.new", ".60.0123abc.new", ".60.0123abcd.newer", "60.0123abcd.new",
        ".photos.0123abcd.new",
    ]  # fmt: skip
    for name in kept[1:]:
        (tmp_path / name).mkdir()
    (tmp_path / ".thesis.0123abcd.old").write_text("of somebody")
    (tmp_path / ".stats.jsonl.0123abcd.old").write_text("no writer here leaves such a file")
    atomic.clear_leftovers(tmp_path, names=layout.WRITTEN, contents={"a"})
    assert {entry.name for entry in tmp_path.iterdir()} == {
        *kept, "10", "30", ".80.0123abcd.new", ".thesis.0123abcd.old", ".stats.jsonl.0123abcd.old",
    }  # fmt: skip
    assert (tmp_path / "10" / "a").read_bytes() == b".10.0123abcd.old"
    assert (tmp_path / "30" / "a").read_bytes() == b"30"
    assert files.is_folder(tmp_path / "10")


def test_a_folder_in_which_somebody_keeps_something_is_set_aside(tmp_path):
    atomic.write_folder(tmp_path / "generator", {"a": b"one"})
    (tmp_path / "generator" / "photos").mkdir()
    (tmp_path / "generator" / "diary.txt").write_text("mine")
    atomic.write_folder(tmp_path / "generator", {"a": b"two"})
    assert (tmp_path / "generator" / "a").read_bytes() == b"two"
    (aside,) = (entry for entry in tmp_path.iterdir() if entry.name.startswith("replaced-generator-"))
    assert (aside / "diary.txt").read_text() == "mine"
    assert (aside / "photos").is_dir()


def test_a_difference_says_whose_tensor_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(tensors.pack_tensors({"loss/pool": np.zeros((4, 2), np.float32)}))
    for expected, words in [
        ({"loss/pool": ("float32", (5, 2))}, "the loss's memory has float32 [5, 2]"),
        ({}, "which the loss's memory has not"),
        ({"loss/other": ("float32", ())}, "which the loss's memory has"),
    ]:
        with pytest.raises(UsageError) as caught:
            tensors.read_tensors(path, expected, owners={"loss/": "the loss's memory"})
        assert str(caught.value).endswith(words)
