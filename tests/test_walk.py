"""A walk through a latent space, and the files that show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence, features

from ganzoo_core.api import Spec
from ganzoo_core.cli import main
from ganzoo_core.data import picture_files, pixels
from ganzoo_core.data.classes import Classes
from ganzoo_core.errors import UsageError
from ganzoo_core.generation import latent_walk, load, saved
from ganzoo_core.randomness import latents, philox

SIZE, DIM = 6, 5


class Echo(saved.SavedGenerator):
    """A generator that draws its z: pixel (0, i) is the i-th number of z, pixel (1, 0) the class."""

    def __init__(self, latent: str = "normal", classes: int = 0, channels: int = 1) -> None:
        self.folder = Path("nowhere")
        self.spec = Spec(SIZE, SIZE, channels, classes, DIM, "torch")
        self.classes = Classes([f"class {number}" for number in range(classes)])
        self.latent = latent

    def draw(self, z: np.ndarray, labels: np.ndarray | None, *_: Any, **__: Any) -> np.ndarray:
        drawn = np.zeros((len(z), SIZE, SIZE, self.spec.channels), np.uint8)
        drawn[:, 0, :DIM] = np.clip(np.rint(z * 30 + 128), 0, 255)[..., None]
        drawn[:, 1, 0] = 0 if labels is None else labels[:, None]
        return drawn


def normal(*shape: int) -> np.ndarray:
    return latents(philox(3, "test"), int(np.prod(shape[:-1])), shape[-1], "normal").reshape(shape)


def test_a_turn_is_the_formula_of_shoemake() -> None:
    a, b = normal(2, 7)
    for part in (0.1, 0.5, 0.9):
        unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        angle = np.arccos(unit_a @ unit_b)
        expected = np.sin((1 - part) * angle) / np.sin(angle) * unit_a + np.sin(part * angle) / np.sin(angle) * unit_b
        expected *= (1 - part) * np.linalg.norm(a) + part * np.linalg.norm(b)
        found = latent_walk.interpolate(a[None], b[None], part, straight=False)[0]
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(seed=st.integers(0, 999), part=st.floats(0, 1), dim=st.integers(2, 200))
def test_a_turn_stays_on_the_sphere_and_a_line_in_the_cube(seed: int, part: float, dim: int) -> None:
    a, b = latents(philox(seed, "walk"), 2, dim, "sphere")
    turned = latent_walk.interpolate(a[None], b[None], part, straight=False)
    assert np.linalg.norm(turned) == pytest.approx(dim**0.5, rel=1e-4)
    a, b = latents(philox(seed, "walk"), 2, dim, "uniform")
    assert np.abs(latent_walk.interpolate(a[None], b[None], part, straight=True)).max() <= 1


def test_in_many_dimensions_a_line_would_leave_where_normal_z_lie() -> None:
    """The reason for turning: half way, a line is shorter by the square root of two, a turn is as long as its ends."""
    a, b = normal(2, 200, 500)
    root = 500**0.5
    lengths = {
        straight: np.linalg.norm(latent_walk.interpolate(a, b, 0.5, straight=straight), axis=1)
        for straight in (True, False)
    }
    assert lengths[True].max() < 0.8 * root
    assert lengths[False] == pytest.approx((np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1)) / 2, rel=1e-5)
    assert abs(lengths[False] / root - 1).max() < 0.12


@pytest.mark.parametrize("end", [1.0, -1.0, 2.0])
def test_where_no_turn_is_defined_a_line_is_taken(end: float) -> None:
    a = np.array([[3.0, 4.0]], np.float32)
    halfway = latent_walk.interpolate(a, end * a, 0.5, straight=False)
    assert np.isfinite(halfway).all()
    if end > 0:
        assert halfway == pytest.approx((1 + end) / 2 * a)


def test_a_walk_is_closed_and_even() -> None:
    keys = normal(4, 2, DIM)
    walk = latent_walk.make_closed_walk(keys, 20, straight=False)
    assert np.array_equal(walk[::5], keys)
    again = latent_walk.make_closed_walk(np.roll(keys, -1, axis=0), 20, straight=False)
    assert np.array_equal(np.roll(walk, -5, axis=0), again)  # the last frame leads to the first
    steps = np.linalg.norm(np.roll(walk, -1, axis=0) - walk, axis=2).reshape(4, 5, 2)  # way, step, walk
    assert (steps.max(axis=1) < 1.35 * steps.min(axis=1)).all()


@pytest.mark.parametrize("latent", ["normal", "sphere", "uniform"])
def test_the_keys_are_the_images_of_the_seeds(latent: str) -> None:
    generator = Echo(latent)
    drawn = generator.walk(3, frames=12, keys=4, seed=7)
    assert drawn.shape == (12, 3, SIZE, SIZE, 1)
    for key in range(4):
        assert np.array_equal(drawn[3 * key], generator.generate(3, seed=7 + key))
    z = [generator._make_noise(3, 7 + key) for key in (0, 1)]
    middle = latent_walk.interpolate(*z, 1 / 3, straight=latent == "uniform")
    assert np.array_equal(drawn[1], generator.draw(middle, None))


def test_a_walk_keeps_its_class() -> None:
    generator = Echo(classes=3)
    assert generator.walk(4, frames=5, keys=2)[:, :, 1, 0, 0].tolist() == [[0, 1, 2, 0]] * 5
    assert generator.walk(2, frames=5, keys=2, labels="class 2")[:, :, 1, 0, 0].tolist() == [[2, 2]] * 5
    every = generator.walk(2, frames=5, keys=2, labels="all")
    assert every[:, :, 1, 0, 0].tolist() == [[0, 0, 1, 1, 2, 2]] * 5
    # Of each class the same walks.
    assert np.array_equal(every[:, :2, 0], every[:, 4:, 0])
    with pytest.raises(UsageError, match="no conditional generator"):
        Echo().walk(2, labels="all")


def test_what_makes_no_walk_is_said() -> None:
    with pytest.raises(UsageError, match="through 1 key leads nowhere"):
        Echo().walk(keys=1)
    with pytest.raises(UsageError, match=r"\b5 frames cannot go through 8 keys"):
        Echo().walk(frames=5)
    with pytest.raises(UsageError, match=r"^n is 0; expected a whole number of walks"):
        Echo().walk(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_moves_through_every_frame_for_ever(tmp_path: Path, channels: int) -> None:
    drawn = Echo(channels=channels).walk(4, frames=10, keys=5)
    picture_files.save_walk(drawn, tmp_path / "new" / "walk.gif")
    with Image.open(tmp_path / "new" / "walk.gif") as gif:
        assert (gif.info["loop"], gif.info["duration"], gif.n_frames) == (0, picture_files.FRAME_MILLISECONDS, 10)
        for frame, shown in zip(drawn, ImageSequence.Iterator(gif), strict=True):
            expected = pixels.enlarge(pixels.grid(frame), least=320).convert("RGB")
            found = np.asarray(shown.convert("RGB"), int)
            # Grey is kept as it is; of these few colours all are, too.
            assert np.abs(found - np.asarray(expected, int)).max() <= (0 if channels == 1 else 8)


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
def test_a_webp_is_exact(tmp_path: Path) -> None:
    drawn = Echo(channels=3).walk(1, frames=4, keys=2)
    picture_files.save_walk(drawn, tmp_path / "walk.webp")
    with Image.open(tmp_path / "walk.webp") as webp:
        assert webp.n_frames == 4
        for frame, shown in zip(drawn, ImageSequence.Iterator(webp), strict=True):
            expected = pixels.enlarge(pixels.grid(frame), least=320)
            assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(expected))


def test_a_strip_has_a_walk_a_row(tmp_path: Path) -> None:
    drawn = Echo().walk(2, frames=5, keys=5)
    picture_files.save_walk(drawn, tmp_path / "walk.png")
    with Image.open(tmp_path / "walk.png") as strip:
        factor = strip.width // (5 * (SIZE + 2) - 2)
        found = np.asarray(strip)[::factor, ::factor]
    for walk in range(2):
        for frame in range(5):
            top, left = walk * (SIZE + 2), frame * (SIZE + 2)
            assert np.array_equal(found[top : top + SIZE, left : left + SIZE], drawn[frame, walk, ..., 0])


def test_rows_are_named_in_both(tmp_path: Path) -> None:
    drawn = Echo(classes=2).walk(3, frames=4, keys=2, labels="all")
    picture_files.save_walk(drawn, tmp_path / "walk.gif", rows=("one", "two"))
    with Image.open(tmp_path / "walk.gif") as gif:
        plain = pixels.enlarge(pixels.grid(drawn[0], 3), least=320)
        assert gif.width > plain.width  # room for the names
        assert gif.height == plain.height
        assert np.asarray(gif.convert("L"))[:, : gif.width - plain.width].max() > 200


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`ganzoo generate` of a generator that draws its z."""
    monkeypatch.chdir(tmp_path)
    generators = {"plain": Echo(), "classes": Echo(classes=3)}
    for name in generators:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(load, "find_saved", lambda path, **_: generators[str(path)])

    def run(words: str) -> tuple[int, str, str]:
        code = main(["generate", *words.split()])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_the_command_writes_what_the_ending_says(commands) -> None:
    assert commands("plain --walk --frames 6 --keys 2") == (0, "plain/walk-0.gif\n", "")
    with Image.open("plain/walk-0.gif") as gif:
        assert gif.n_frames == 6
    assert commands("plain --walk --seed 4 --out a/strip.png")[:2] == (0, "a/strip.png\n")
    with Image.open("a/strip.png") as strip:
        assert strip.width == pytest.approx(strip.height * 16 * (SIZE + 2) / SIZE, rel=0.05)  # one walk, 16 frames
    assert commands("classes --walk --class all --frames 4 --keys 2 --out all.gif")[0] == 0
    with Image.open("all.gif") as gif:
        assert gif.height > gif.width / 2  # three rows, one walk in each
    assert commands("classes --walk --class 2 -n 2 --frames 4 --keys 2 --out two.gif")[0] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plain", {"path": "plain/samples-0.png", "kind": "grid", "images": 16, "seed": 0}),
        ("plain -n 3 --seed 5 --out a.npz", {"path": "a.npz", "kind": "arrays", "images": 3, "seed": 5}),
        ("plain -n 1 --out a", {"path": "a", "kind": "folder", "images": 1, "seed": 0}),
        ("classes --class all -n 2", {"path": "classes/samples-0.png", "kind": "grid", "images": 6, "seed": 0}),
        (
            "plain --walk --frames 6 --keys 2 -n 3",
            {"path": "plain/walk-0.gif", "kind": "walk", "walks": 3, "frames": 6, "seed": 0},
        ),
        (
            "classes --walk --class all --frames 4 --keys 2 --seed 4 --out a.png",
            {"path": "a.png", "kind": "strip", "walks": 3, "frames": 4, "seed": 4},
        ),
    ],
)
def test_a_program_is_told_what_was_written(commands, words: str, expected: dict[str, object]) -> None:
    code, out, err = commands(f"{words} --json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert json.loads(out) == {"schema": 1, **expected}
    assert Path(str(expected["path"])).exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plain --frames 6", "--frames and --keys are about --walk"),
        ("plain --walk --out folder", "ends in nothing; write a walk to FILE.gif"),
        ("plain --walk --out walk.mp4", "ends in .mp4; write a walk to FILE.gif"),
        ("plain --out walk.gif", "ends in .gif; write to FILE.png"),
        ("plain --walk --frames 0", "is 0; expected a whole number of"),
        ("plain --walk --keys 1", "through 1 key leads nowhere"),
        ("plain --walk --class all", "no conditional generator"),
        ("plain --walk -n 0", "n is 0; expected a whole number"),
        ("plain --walk --seed -3", "the seed is -3"),
    ],
)
def test_what_cannot_be_is_said(commands, words: str, expected: str) -> None:
    code, out, err = commands(words)
    assert (code, out) == (2, "")
    assert err.startswith("ganzoo generate: ")
    assert expected in err


def test_a_saved_generator_of_a_run_walks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a real network: the keys are what `generate` draws, to the last grey value or the next."""
    monkeypatch.chdir(tmp_path)
    words = "run dcgan-torch --set width=4 --set size=16 --steps 2 --set threads=1 --out run --quiet"
    assert main(words.split()) == 0
    card = json.loads(Path("run/generator/generator.json").read_text())
    assert card["latent"] == "normal"
    generator = load.load("run")
    drawn = generator.walk(2, frames=6, keys=3, seed=1).astype(int)
    assert drawn.shape == (6, 2, 16, 16, 1)
    for key in range(3):
        assert np.abs(drawn[2 * key] - generator.generate(2, seed=1 + key).astype(int)).max() <= 1
    assert (drawn[1] != drawn[0]).any()
