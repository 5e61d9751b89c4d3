"""A data set of a stranger, trained, drawn from, judged and reported: its names give no orders anywhere."""

from __future__ import annotations

import json
import re
import unicodedata

from PIL import Image

from ganzoo_core import cli

CLEAR, TITLE, RIGHT_TO_LEFT = "\x1b[2J", "\x1b]0;owned\x07", "\u202e"
CLASSES = (f"cat{CLEAR}", f"{RIGHT_TO_LEFT}god\u009b2J")
SETTINGS = ("data.size=16", "data.skip_bad=true", "train.batch_size=4", "engine.threads=1", "model.width=8")


def check(written):
    """Nothing but letters, ends of lines and tabs."""
    assert {hex(ord(x)) for x in written if x not in "\n\t" and unicodedata.category(x)[0] == "C"} == set()


def test_a_data_set_of_a_stranger(tmp_path, capsys):
    data = tmp_path / f"data{CLEAR}"
    for name in CLASSES:
        (data / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), 20 * number).save(data / name / f"{number}.png")
    (data / CLASSES[0] / f"bad{TITLE}.png").write_bytes(b"no picture")
    run = str(tmp_path / "run")
    words = ["run", "cgan-torch", "--data", f"folder:{data}", "--steps", "1", "--out", run]
    told = []
    for command, code in (
        ([*words, *(word for setting in SETTINGS for word in ("--set", setting))], 0),
        (["generate", run, "-n", "1", "--class", "all"], 0),
        (["generate", run, "-n", "1", "--class", f"cow{CLEAR}"], 2),
        (["judge", run, str(data / CLASSES[1] / "1.png"), "--class", CLASSES[1]], 0),
        (["report", run], 0),
    ):
        assert cli.main(command) == code
        written = capsys.readouterr()
        check(written.out + written.err)
        told.append(" ".join((written.out + written.err).split()))
    assert f"bad{TITLE}".replace("\x1b", r"\x1b").replace("\x07", r"\x07") in told[0]  # a note of the data, quoted
    assert r"'cat\x1b[2J'" in told[2]  # the classes that there are, quoted
    assert "god 2J" in told[3]  # the picture's path
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "data [2J" in page  # where the data lies, among the settings
    check(page)
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert held is not None
    check(json.dumps(json.loads(held[1]), ensure_ascii=False))
