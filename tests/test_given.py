"""What a generator with conditions is drawn from: pictures, arrays, archives, the test part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main

from .conftest import Site

pytest.importorskip("torch")

SETTINGS = {"train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1, "train.snapshot_every": "16"}


@pytest.fixture(scope="module")
def train(conditioned: Site, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives a run of 32 images of a model and a way to derive its source, each trained once."""
    made: dict[tuple[str, str], Path] = {}

    def run(model: str, derive: str = "", **settings: Any) -> Path:
        key = (model, derive, *map(str, settings.items()))
        if key not in made:
            asked = {**SETTINGS, "data.derive": derive, **settings}
            folder = tmp_path_factory.mktemp("runs") / f"{model}-1"
            data = "squares16" if derive else "pairs16"
            gz.train(model, data=data, images=32, out=folder, quiet=True, device="cpu", settings=asked)
            made[key] = folder
        return made[key]

    return run


def refusal(function: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(gz.UsageError) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def squares(*numbers: int) -> np.ndarray:
    from conditioned import data  # type: ignore[import-not-found]

    return np.stack([data.draw_square(number) for number in numbers])


def write_pictures(folder: Path, images: np.ndarray, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{first + index}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.squeeze()).save(path)
    return paths


def grey(images: np.ndarray) -> np.ndarray:
    """As Pillow makes it."""
    return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]


def test_a_picture_is_derived_as_in_training_and_drawn_as_its_condition(train: Any, tmp_path: Path) -> None:
    generator = gz.load(train("painter-torch", "grey"))
    images = squares(100, 101)
    paths = write_pictures(tmp_path, images)
    expected = generator.generate(on=grey(images), seed=3)
    assert expected.shape == (2, 16, 16, 3)
    for on in (paths, tmp_path, [str(path) for path in paths], {"source": grey(images)}):
        assert np.array_equal(generator.generate(on=on, seed=3), expected)
    # A grey photograph is the condition, derived or not.
    greys = write_pictures(tmp_path / "greys", grey(images))
    assert np.array_equal(generator.generate(on=greys, seed=3), expected)
    assert np.array_equal(generator.generate(on=greys, as_is=True, seed=3), expected)


def test_dropout_is_drawn_from_the_seed_and_the_place_whatever_the_count(train: Any) -> None:
    generator = gz.load(train("painter-torch", "grey"))
    one = grey(squares(100))
    five = generator.generate(5, on=one, seed=3)
    assert len(np.unique(five, axis=0)) == 5
    assert np.array_equal(generator.generate(2, on=one, seed=3), five[:2])
    assert np.array_equal(gz.load(generator.folder).generate(5, on=one, seed=3), five)
    assert not np.array_equal(generator.generate(5, on=one, seed=4), five)
    # Each is drawn alone: with its own batch statistics, and without a trace in the network.
    other = grey(squares(100, 107, 108))
    assert np.array_equal(generator.generate(on=other, seed=3)[0], five[0])
    assert np.array_equal(generator.generate(5, on=one, seed=3), five)


def test_the_test_part_gives_conditions_targets_and_classes(train: Any) -> None:
    from conditioned import data

    whole, folder = data.make_set(), train("blender-torch")
    generator = gz.load(folder)
    rows = generator.read_given("test")
    assert (len(rows), rows.targets.shape) == (8, (8, 16, 16, 3))  # a fifth of 40 is held out
    index = rows.conditions["index"]
    assert len(set(index.tolist())) == 8
    assert np.array_equal(rows.targets, whole.images[index])
    assert np.array_equal(rows.labels, whole.labels[index])
    for name, array in rows.conditions.items():
        assert np.array_equal(array, np.asarray(whole.conditions[name])[index])
    drawn = generator.generate(on="test", seed=1)
    assert np.array_equal(drawn, generator.generate(on=rows.conditions, labels=rows.labels, seed=1))
    assert np.array_equal(generator.generate(3, on="test", seed=1), drawn[:3])
    assert np.array_equal(gz.load(folder / "generator").generate(on="test", seed=1), drawn)
    assert gz.load(folder, checkpoint=16).generate(on="test").shape == drawn.shape
    assert "the test part has 8 images, and n is 9" in refusal(generator.generate, 9, on="test")


def test_conditions_of_every_kind_come_from_an_archive(train: Any, tmp_path: Path) -> None:
    generator = gz.load(train("blender-torch"))
    rows = generator.read_given("test", 4)
    np.savez(tmp_path / "rows.npz", **rows.conditions, labels=rows.labels, targets=rows.targets)
    expected = generator.generate(on=rows, seed=5)
    assert np.array_equal(generator.generate(on=tmp_path / "rows.npz", seed=5), expected)
    narrow = {**rows.conditions, "index": rows.conditions["index"].astype(np.int16)}
    assert np.array_equal(generator.generate(on=narrow, labels=rows.labels, seed=5), expected)


def test_a_walk_keeps_its_conditions_and_is_refused_without_z(train: Any) -> None:
    generator = gz.load(train("blender-torch"))
    rows = generator.read_given("test", 3)
    frames = generator.walk(on=rows, frames=4, keys=2, seed=2)
    assert frames.shape == (4, 3, 16, 16, 3)
    assert np.array_equal(frames[0], generator.generate(on=rows, seed=2))
    assert np.array_equal(frames[2], generator.generate(on=rows, seed=3))
    every = generator.generate_all(3, seed=2, on=rows)
    assert np.array_equal(every[:3], generator.generate(on=rows, labels=0, seed=2))
    assert np.array_equal(every[3:], generator.generate(on=rows, labels=1, seed=2))
    said = refusal(gz.load(train("painter-torch", "grey")).walk, on="test")
    assert said.endswith("generator draws from its conditions alone: it has no z to walk through")


def test_a_small_picture_is_only_enlarged(train: Any, tmp_path: Path) -> None:
    generator = gz.load(train("painter-torch", "downscale:4"))
    large = squares(100, 101)
    small = np.rint(large.reshape(2, 4, 4, 4, 4, 3).mean(axis=(2, 4))).astype(np.uint8)
    write_pictures(tmp_path / "large", large)
    write_pictures(tmp_path / "small", small)
    first, second = (generator.read_given(tmp_path / name).conditions["source"] for name in ("large", "small"))
    assert np.array_equal(first, second)
    for image, row in zip(small, second, strict=True):
        enlarged = Image.fromarray(image).resize((16, 16), Image.Resampling.BICUBIC)
        assert np.array_equal(row, np.asarray(enlarged))


def test_what_is_transparent_is_filled_in(train: Any, tmp_path: Path) -> None:
    generator = gz.load(train("painter-torch", "mask:0.25"))
    (image,) = squares(100)
    alpha = np.full((16, 16, 1), 255, np.uint8)
    alpha[4:9, 2:7] = 0
    Image.fromarray(np.concatenate([image, alpha], axis=2)).save(tmp_path / "hole.png")
    (row,) = generator.read_given(tmp_path / "hole.png", as_is=True).conditions["source"]
    expected = np.concatenate([image, 255 - alpha], axis=2)
    expected[4:9, 2:7, :3] = 128
    assert np.array_equal(row, expected)
    path = write_pictures(tmp_path, image[None])[0]
    assert "has no transparent part to fill in" in refusal(generator.generate, on=path, as_is=True)
    # Without --as-is a rectangle is hidden, as the seed and the picture's place have it.
    rows = [generator.read_given(path, seed=seed).conditions["source"] for seed in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert 0.2 < (rows[0][0, :, :, 3] == 255).mean() < 0.3


def test_a_picture_gets_the_border_that_the_networks_see(train: Any, tmp_path: Path) -> None:
    run = train("copier-torch", **{"data.size": 20})
    generator = gz.load(run)
    assert (generator.spec.height, tuple(generator.card.crop)) == (20, (2, 2, 16, 16))
    assert generator.describe_needs() == {"source": "a picture 16×16×3"}
    images = squares(100, 101)
    rows = generator.read_given(write_pictures(tmp_path, images)).conditions["source"]
    assert np.array_equal(rows, np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))))
    drawn = generator.generate(on=images)
    assert drawn.shape == (2, 16, 16, 3)
    assert np.array_equal(generator.generate(on=rows), drawn)
    derived = gz.load(train("copier-torch", "grey", **{"data.size": 20}))
    row = derived.read_given(write_pictures(tmp_path, images)).conditions["source"]
    assert np.array_equal(row, np.pad(grey(images), ((0, 0), (2, 2), (2, 2), (0, 0))))


def test_what_does_not_fit_is_refused_in_a_sentence(train: Any, tmp_path: Path) -> None:
    painter, blender = gz.load(train("painter-torch", "grey")), gz.load(train("blender-torch"))
    place = train("painter-torch", "grey") / "generator"
    assert refusal(painter.generate) == (
        f"{place} draws from conditions (source: a picture 16×16×1, the grey of an image); say --on PICTURE or --on "
        "test, in Python generate(on=…)"
    )
    wide = write_pictures(tmp_path / "wide", np.zeros((1, 12, 24, 3), np.uint8))
    said = refusal(painter.generate, on=wide)
    assert said == (
        f"photo-0.png is 24×12 pixels, and {place} draws from pictures of 16×16; say --fit crop, pad or stretch to "
        "have it brought to that size"
    )
    for fit in ("crop", "pad", "stretch"):
        assert painter.generate(on=wide, fit=fit).shape == (1, 16, 16, 3)
    assert "fit is 'squeeze'; expected crop, pad, stretch" in refusal(painter.generate, on=wide, fit="squeeze")

    good = grey(squares(100, 101))
    for bad, words in {
        "float": (good.astype(np.float32), "source is float32 [2, 16, 16, 1]; expected uint8 [N,16,16,1]"),
        "colour": (squares(100), "source is uint8 [1, 16, 16, 3]; expected uint8 [N,16,16,1]"),
        "none": (good[:0], "source is uint8 [0, 16, 16, 1]; expected uint8 [N,16,16,1]"),
        "list": ({"source": [1]}, "source is list; expected uint8 [N,16,16,1]"),
        "name": ({"sauce": good}, f"the condition source is missing: {place} takes a picture 16×16×1, the grey of an "
                 "image"),
        "more": ({"source": good, "sauce": good}, f"{place} takes no condition 'sauce'; expected source"),
        "number": (7, "on is 7; expected rows by the condition's name, an array, paths of pictures, a .npz file or "
                   "'test'"),
    }.values():  # fmt: skip
        assert refusal(painter.generate, on=bad) == words
    assert "2 pictures draw one image each, and n is 3" in refusal(painter.generate, 3, on=good)
    assert "ask for fewer" in refusal(painter.generate, 10**12, on=good[:1])
    assert "n is 0; expected a whole number of images" in refusal(painter.generate, 0, on="test")

    rows = blender.read_given("test", 3).conditions
    assert "takes 3 conditions; give a mapping with source, vector, index" in refusal(blender.generate, on=good)
    assert "does not draw from a picture alone" in refusal(blender.generate, on=wide)
    said = refusal(blender.generate, on={**rows, "index": rows["index"][:2]})
    assert said == (
        "the conditions have different numbers of rows: source 3, vector 3, index 2; expected one for each image"
    )
    assert "vector holds numbers that are not finite" in refusal(
        blender.generate, on={**rows, "vector": rows["vector"] * np.float32(np.inf)}
    )
    assert "is no conditional generator" in refusal(painter.generate, on=good, labels=0)
    copier = gz.load(train("copier-torch"))
    assert "draws without noise, so one picture gives one image" in refusal(copier.generate, 2, on=squares(100))


def test_files_that_cannot_be_drawn_from_are_named_with_what_to_do(train: Any, tmp_path: Path) -> None:
    place = train("painter-torch", "grey") / "generator"
    painter = gz.load(place)
    refused = painter.read_given
    (tmp_path / "words.png").write_text("words", encoding="utf-8")
    with pytest.raises(gz.DataError) as caught:  # no setting of a data set helps here
        refused(tmp_path / "words.png")
    assert str(caught.value) == "no image can be read: words.png (not an image of a known format)"
    (tmp_path / "empty.png").touch()
    write_pictures(tmp_path, squares(1))
    with pytest.raises(gz.DataError, match=r"^2 pictures cannot be read: empty.png \(empty\), words.png .*; leave"):
        refused(tmp_path)
    with pytest.raises(gz.DataError, match="x is not there; name a picture"):
        refused("x" * 5000)
    with pytest.raises(gz.UsageError, match="on is ''; expected rows"):
        refused("")  # of a shell's variable that is not set; no folder
    Image.new("L", (9000, 9000)).save(tmp_path / "large.png")
    assert len(refused(tmp_path / "large.png", fit="crop")) == 1

    np.save(tmp_path / "one.npy", grey(squares(1)))
    single = (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(gz.DataError, match=r"one\.npz cannot be read as a numpy archive: it holds a single array;"):
        refused(single)
    np.savez(tmp_path / "other.npz", images=squares(1))
    assert len(refused(tmp_path / "other.npz")) == 1
    assert refusal(refused, tmp_path / "other.npz", as_is=True) == (
        f"{tmp_path / 'other.npz'} holds no array source, which {place} draws from (a picture 16×16×1, the grey of an "
        "image); it has images"
    )
    np.savez(tmp_path / "more.npz", sauce=grey(squares(1)), source=grey(squares(1)))
    assert refusal(refused, tmp_path / "more.npz") == (
        f"{tmp_path / 'more.npz'} holds an array sauce, which {place} does not draw from; it may hold source, images, "
        "labels, targets"
    )


def test_what_a_way_to_draw_does_not_use_is_refused(train: Any, tmp_path: Path) -> None:
    painter, pictures = gz.load(train("painter-torch", "grey")), write_pictures(tmp_path, squares(1))
    np.savez(tmp_path / "rows.npz", source=grey(squares(1)))
    for on in (pictures, tmp_path / "rows.npz", grey(squares(1)), {"source": grey(squares(1))}):
        assert refusal(painter.generate, on=on, data_root=tmp_path) == (
            "--data-root says where data sets lie, and only --on test reads one; leave it out"
        )
    assert refusal(painter.generate, on="test", fit="crop") == (
        "--fit is for pictures of another size, and the test part has the size that was trained on; leave it out"
    )
    assert refusal(painter.generate, on="test", as_is=True) == (
        "--as-is is for pictures and .npz files; the test part's conditions are made as they were in training; leave "
        "it out"
    )
    assert refusal(painter.generate, on=tmp_path / "rows.npz", fit="crop") == (
        "--fit is for picture files; the arrays of a .npz file must have the size that was trained on; leave it out"
    )


def test_the_command_shows_what_it_drew_from(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, images = train("painter-torch", "grey"), squares(100, 101)
    paths = list(map(str, write_pictures(tmp_path / "pictures", images)))
    expected = gz.load(run).generate(on=grey(images), seed=1)

    def generate(*words: str) -> tuple[int, str]:
        code = main(["generate", str(run), "--seed", "1", *words])
        told = capsys.readouterr()
        return code, told.out if code == 0 else told.err

    assert generate("--on", "pictures", "--out", "drawn", "--json") == (0, json.dumps({
        "schema": 1, "path": "drawn", "kind": "folder", "images": 2, "seed": 1, "on": ["pictures"],
    }) + "\n")  # fmt: skip
    drawn = [np.asarray(Image.open(tmp_path / "drawn" / Path(path).name)) for path in paths]
    assert np.array_equal(drawn, expected)

    assert generate("--on", *paths, "--out", "drawn.npz")[0] == 0
    with np.load("drawn.npz") as arrays:
        assert sorted(arrays) == ["images", "source"]
        assert np.array_equal(arrays["images"], expected)
        assert np.array_equal(arrays["source"], grey(images))
    assert generate("--on", "drawn.npz", "--as-is", "--out", "again.npz")[0] == 0
    with np.load("again.npz") as arrays:
        assert np.array_equal(arrays["images"], expected)

    assert generate("--on", paths[0], "--out", "sheet.png")[0] == 0
    sheet = np.asarray(Image.open("sheet.png"))
    factor = (sheet.shape[1]) // (2 * 16 + 2 + 10)
    body = sheet[-(16 + 4) * factor :][2 * factor :: factor, 5 * factor :: factor][:16]
    assert np.array_equal(body[:, :16], np.repeat(grey(images[:1])[0], 3, axis=2))
    assert np.array_equal(body[:, 18:34], expected[0])

    assert generate("--on", "test")[0] == 0
    assert (run / "samples-1.png").is_file()
    code, said = generate()
    assert code == 2
    assert "say --on PICTURE or --on test" in " ".join(said.split())
    code, said = generate("--fit", "crop")
    assert (code, "--as-is, --fit and --data-root are about --on" in " ".join(said.split())) == (2, True)
    code, said = generate("--on", "test", "--walk")
    assert (code, "it has no z to walk through" in " ".join(said.split())) == (2, True)
    assert main(["generate", str(train("blender-torch")), "--on", "test", "--walk", "--frames", "4", "--keys", "2",
                 "--out", "walk.gif"]) == 0  # fmt: skip
    assert capsys.readouterr().out.strip() == "walk.gif"
    with Image.open("walk.gif") as walk:
        assert walk.n_frames == 4  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_other_framework_draws_alike_in_a_process_of_its_own(train: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    painter, blender = gz.load(train("painter-tf", "grey")), gz.load(train("blender-tf"))
    one, photograph = grey(squares(100)), write_pictures(tmp_path, squares(100))
    five = painter.generate(5, on=one, seed=3)
    assert (five.shape, len(np.unique(five, axis=0))) == ((5, 16, 16, 3), 5)
    assert np.array_equal(painter.generate(2, on=photograph, seed=3), five[:2])
    assert np.array_equal(painter.generate(on=grey(squares(100, 107)), seed=3)[0], five[0])
    rows = blender.read_given("test")
    drawn = blender.generate(on=rows, seed=1)
    assert np.array_equal(blender.generate(on=rows.conditions, labels=rows.labels, seed=1), drawn)
    frames = blender.walk(on=rows, frames=2, keys=2, seed=1)
    assert np.array_equal(frames[0], drawn)
