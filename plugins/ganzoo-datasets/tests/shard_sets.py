"""Small sets of JPEGs, as tar shards and as a folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def make_jpegs(count: int, *, height: int = 32, width: int = 40, seed: int = 0) -> list[bytes]:
    """JPEGs of coloured blocks, each unlike the others."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        blocks = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made


def write_tar(path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A tar of these members, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_shards(folder: Path, jpegs: Sequence[bytes], *, shards: int = 3, classes: int = 3) -> Path:
    """Shards `000000.tar` and so on of `000000.jpg` with `000000.cls`."""
    each = -(-len(jpegs) // shards)
    for number in range(shards):
        members = {}
        for index in range(number * each, min((number + 1) * each, len(jpegs))):
            members[f"{index:06d}.jpg"] = jpegs[index]
            if classes:
                members[f"{index:06d}.cls"] = str(index % classes).encode()
        write_tar(folder / f"{number:06d}.tar", members)
    return folder


def write_folder(folder: Path, jpegs: Sequence[bytes], *, classes: int = 3) -> Path:
    """The same pictures in files, in the same order, with `metadata.csv`."""
    folder.mkdir(parents=True)
    lines = ["file_name,label"]
    for index, jpeg in enumerate(jpegs):
        (folder / f"{index:06d}.jpg").write_bytes(jpeg)
        lines.append(f"{index:06d}.jpg,{index % classes}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder
