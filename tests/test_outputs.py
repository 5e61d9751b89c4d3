"""Files that commands leave: whole or not at all, and in no place that is something else."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import scaffold
from ganzoo_core.data import picture_files
from ganzoo_core.storage import atomic, outputs
from ganzoo_core.storage.outputs import write_output

DRAWN = np.zeros((2, 8, 8, 1), np.uint8)


def test_a_file_replaces_the_former_one_and_its_folders_are_made(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_output(tmp_path / "a" / "b" / "page.html", content, named_by_user=True)
        assert (tmp_path / "a" / "b" / "page.html").read_bytes() == content
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", [".", "..", "/", "folder", "pipe", "to-folder", "loop", "in\0side", "file/page"])
def test_what_is_no_place_for_a_file_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_bytes(b"a file")
    os.mkfifo("pipe")
    Path("to-folder").symlink_to("folder")
    Path("loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(gz.UsageError, match=r"expected the name of a file|cannot be written: |is no file's name"):
        write_output(Path(name), b"page", named_by_user=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("to-folder").is_symlink()


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="this system has no such device")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(gz.UsageError, match="/dev/null is a device; expected the name of a file"):
        write_output(Path("/dev/null"), b"page", named_by_user=True)
    assert Path("/dev/null").is_char_device()


def test_a_link_that_the_user_named_is_followed_and_another_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to("secret")
    write_output(link, b"page", named_by_user=False)
    assert (link.is_symlink(), link.read_bytes(), (tmp_path / "secret").read_bytes()) == (False, b"page", b"secret")
    link.unlink()
    link.symlink_to("secret")
    write_output(link, b"page", named_by_user=True)
    assert (link.is_symlink(), (tmp_path / "secret").read_bytes()) == (True, b"page")


@pytest.mark.parametrize("name", [".", "empty", "to-empty", "new/below"])
def test_pictures_go_to_an_empty_folder_however_it_is_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    if name != ".":
        Path("empty").mkdir(mode=0o750)
        Path("to-empty").symlink_to("empty")
    picture_files.save_images(DRAWN, Path(name))
    assert sorted(path.name for path in Path(name).iterdir()) == ["0.png", "1.png"]
    if "empty" in name:
        assert Path("to-empty").is_symlink()
        assert Path("empty").stat().st_mode & 0o777 == 0o750
    with pytest.raises(gz.UsageError, match="is there already and not empty; choose another --out"):
        picture_files.save_images(DRAWN, Path(name))


def full(*_: Any, **__: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_pictures_that_find_no_room_leave_an_empty_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(gz.UsageError, match="cannot be written: No space left on device; choose another --out"):
        picture_files.save_images(DRAWN, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
def test_a_new_plugin_is_there_whole_or_not_at_all(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = scaffold.PluginPlan(
        name="ganzoo-mine", kind="loss", framework="", licence="mit", author="A", pick="mine", model="dcgan-torch"
    )
    place = tmp_path / "mine"
    if there:
        (place / ".git").mkdir(parents=True)
    write, count = Path.write_text, 0

    def fills_up(self: Path, *args: Any, **keywords: Any) -> int:
        nonlocal count
        count += 1
        return full() if count > 3 else write(self, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fills_up)
        with pytest.raises(gz.GanzooError, match=r"mine cannot be written: No space left on device"):
            scaffold.write_plugin(plan, place)
    assert [path.name for path in tmp_path.rglob("*")] == (["mine", ".git"] if there else [])
    written = scaffold.write_plugin(plan, place)
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert found == set(written)


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outputs.write_file is atomic.write_file
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left") as caught:
            atomic.write_file(tmp_path / "config.yaml", b"content")
    assert caught.value.filename == str(tmp_path / "config.yaml")
