"""`ganzoo judge`: D's scores of pictures, against the network's own forward pass, and a sentence for each mistake."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import engines
from ganzoo_core.cli import main
from ganzoo_core.evaluation import discriminator
from ganzoo_core.settings import read_engine_settings

torch = pytest.importorskip("torch")
SMALL = "--set width=4 --set size=16 --set threads=1 --batch-size 32 --steps 3 --quiet --out"
RUNS = {
    "normed": "dcgan-torch",  # batch norm in D, and a loss whose sigmoid is a probability
    "critic": "dcgan-torch --loss wgan-gp",  # neither
    "told": "cgan-torch --set norm=none",  # conditional, without batch norm
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short runs, and pictures."""
    place = tmp_path_factory.mktemp("judge")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, words in RUNS.items():
            assert main(["run", *words.split(), *SMALL.split(), name]) == 0
    random = np.random.default_rng(0)
    for name, shape in {"small": (8, 8), "exact": (16, 16), "wide": (30, 50, 3), "other": (9, 9)}.items():
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(place / f"{name}.png")
    (place / "words.png").write_text("no picture")
    (place / "several").mkdir()
    for number in range(70):
        shutil.copy(place / ("exact.png" if number % 2 else "small.png"), place / "several" / f"{number:02}.png")
    (place / "several" / "notes.txt").write_text("is passed over")
    (place / "empty").mkdir()
    return place


@pytest.fixture
def judge(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(place)
    monkeypatch.delenv("GANZOO_DATA", raising=False)

    def judge(words: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["judge", *words.split()]) == code
        told = capsys.readouterr()
        return told.out, told.err

    return judge


def as_seen(path: Path) -> np.ndarray:
    """By hand what the networks see of a picture, float [1,1,16,16]: the digits have 8 pixels, which become 16."""
    picture = Image.open(path)
    if picture.size != (16, 16):
        width, height = picture.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        if picture.size != (8, 8):
            box = (left, top, left + side, top + side)
            picture = picture.crop(box).convert("L").resize((8, 8), Image.Resampling.BICUBIC)
        picture = picture.resize((16, 16), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, float)
    if pixels.ndim == 3:
        pixels = np.rint(pixels @ [0.299, 0.587, 0.114])
    return torch.from_numpy(pixels / 127.5 - 1).float()[None, None]


def network_of(run: Path, model: str, **settings: object) -> object:
    """The run's D, built by itself and given the checkpoint's tensors by torch's own means."""
    _, D = gz.build(model, data="digits", settings={"model.width": 4, "data.size": 16, **settings})
    (state,) = (run / "checkpoints").glob("*/state.safetensors")
    tensors = safetensors.numpy.load_file(state)
    D.load_state_dict({name[2:]: torch.tensor(array) for name, array in tensors.items() if name.startswith("D/")})
    return D.eval()


def test_scores_are_what_the_network_says(judge, place: Path) -> None:
    out, err = judge("critic small.png exact.png wide.png")
    D = network_of(place / "critic", "dcgan-torch", **{"discriminator.norm": "layer"})
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:2] for row in rows] == [["small.png", "8×8"], ["exact.png", "16×16"], ["wide.png", "50×30"]]
    for name, _, score in rows:
        with torch.no_grad():
            assert float(score) == pytest.approx(float(D(as_seen(place / name))), rel=2e-3, abs=1e-5)
    assert "wgan-gp defines no probability" in err


def test_json_holds_the_same(judge, place: Path) -> None:
    told = json.loads(judge("critic exact.png --json")[0])
    D = network_of(place / "critic", "dcgan-torch", **{"discriminator.norm": "layer"})
    with torch.no_grad():
        expected = float(D(as_seen(place / "exact.png")))
    (picture,) = told.pop("pictures")
    assert told == {"schema": 1, "run": "critic", "images": 96 * 5, "loss": "wgan-gp", "class": None, "notes": []}
    assert picture.pop("score") == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert picture == {"path": "exact.png", "size": [16, 16], "probability": None, "real": None}


def test_the_probability_is_the_sigmoid_where_the_loss_says_so(judge) -> None:
    told = json.loads(judge("normed several --json")[0])
    assert len(told["pictures"]) == 70
    assert told["notes"] == ["passed over: 1 file that is no image (1 .txt)"]
    for picture in told["pictures"]:
        assert picture["probability"] == pytest.approx(1 / (1 + np.exp(-picture["score"])))
        assert picture["real"] == (picture["score"] > 0)
    # The same picture has one score, whatever else is judged beside it.
    scores = {place: {p["score"] for p in told["pictures"][place::2]} for place in (0, 1)}
    assert {len(found) for found in scores.values()} <= {1, 2}
    assert np.ptp(list(scores[0])) < 1e-5
    alone = json.loads(judge("normed several/01.png --json")[0])["pictures"][0]
    assert alone["score"] == pytest.approx(next(iter(scores[1])), abs=1e-5)
    out, _ = judge("normed small.png")
    assert out.split("\t")[3].endswith("%")
    assert out.split("\t")[4].strip() in ("real", "generated")


def test_pictures_are_read_by_settings_of_the_data(judge, place: Path) -> None:
    told = json.loads(judge("normed exact.png words.png --json --set data.skip_bad=true")[0])
    assert [picture["path"] for picture in told["pictures"]] == ["exact.png"]
    assert told["notes"] == ["skipped 1 of 2 files that cannot be read: words.png (not an image of a known format)"]
    whole = (place / "exact.png").read_bytes()
    for folder, body in (("one", whole), ("two", whole[:-60])):  # of one name; the header of both is sound
        (place / folder).mkdir()
        (place / folder / "a.png").write_bytes(body)
    told = json.loads(judge("normed one two --json --set data.skip_bad=true")[0])
    assert [picture["path"] for picture in told["pictures"]] == ["one/a.png"]
    assert told["notes"][0].startswith("skipped 1 of 2 files that cannot be read: two/a.png (damaged")
    _, err = judge("normed exact.png --set data.size=3", code=2)
    assert "--set data.size: of the data, only how pictures are read can be set here: data.range, " in err


def test_pictures_in_an_archive_are_named_one_by_one(judge, place: Path) -> None:
    with zipfile.ZipFile(place / "some.zip", "w") as archive:
        for name in ("exact.png", "small.png", "words.png"):
            archive.write(place / name, f"in/{name}")
        archive.writestr("in/empty.png", b"")
    told = json.loads(judge("critic some.zip exact.png --json --set data.skip_bad=true")[0])
    assert [picture["path"] for picture in told["pictures"]] == [
        "some.zip/in/exact.png",
        "some.zip/in/small.png",
        "exact.png",
    ]
    assert told["pictures"][0]["score"] == pytest.approx(told["pictures"][2]["score"], rel=1e-6)
    assert told["notes"][0].startswith(
        "skipped 2 of 5 files that cannot be read: some.zip/in/empty.png (empty), some.zip/"
    )


def test_a_picture_that_is_stored_turned_has_the_same_score(judge, place: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    upright = Image.open(place / "exact.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(place / "turned.png", exif=exif)
    told = json.loads(judge("critic exact.png turned.png --json")[0])
    assert told["pictures"][0]["score"] == pytest.approx(told["pictures"][1]["score"], rel=1e-6)


def test_a_class_is_needed_where_d_is_told_one(judge, place: Path) -> None:
    D = network_of(place / "told", "cgan-torch", **{"model.norm": "none"})
    found = set()
    for label in ("3", "7"):
        told = json.loads(judge(f"told exact.png --class {label} --json")[0])
        with torch.no_grad():
            expected = D(as_seen(place / "exact.png"), torch.tensor([int(label)]))
        expected = float(expected["scores"] if isinstance(expected, dict) else expected)
        assert told["class"] == int(label)
        assert told["pictures"][0]["score"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        found.add(told["pictures"][0]["score"])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("told exact.png", "say --class, one of 0, 1, 2"),
        ("told exact.png --class 17", "there is no class 17"),
        ("normed exact.png --class 3", "is told no class; leave --class out"),
        ("normed nowhere.png", "nowhere.png is not there"),
        ("normed words.png", "1 of 1 files cannot be read as images: words.png (not an image"),
        ("normed exact.png words.png", "1 of 2 files cannot be read as images: words.png (not an image"),
        ("normed empty", "empty holds no pictures"),
        ("nowhere exact.png", "nowhere holds no config.yaml"),
        ("normed/generator exact.png", "is no run's folder"),
    ],
)
def test_a_mistake_is_one_sentence(judge, words: str, expected: str) -> None:
    out, err = judge(words, code=2)
    assert out == ""
    assert err.startswith("ganzoo judge: ")
    assert expected in err


def copied(place: Path, run: str, to: Path) -> Path:
    shutil.copytree(place / run, to)
    return to


def test_a_run_without_a_whole_checkpoint_is_refused(judge, place: Path, tmp_path: Path) -> None:
    run = copied(place, "critic", tmp_path / "run")
    (state,) = (run / "checkpoints").glob("*/state.safetensors")
    state.write_bytes(state.read_bytes()[:-1])
    _, err = judge(f"{run} exact.png", code=2)
    assert f"has no checkpoint, and nothing else holds its discriminator; `ganzoo resume {run}`" in err


def test_another_discriminator_than_the_saved_one_is_named(judge, place: Path, tmp_path: Path) -> None:
    run = copied(place, "critic", tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("model.width: 4", "model.width: 8"))
    _, err = judge(f"{run} exact.png", code=2)
    assert "of D/layers.0.weight it has float32 [4, 1, 4, 4], and the discriminator that config.yaml asks for" in err


def test_without_its_data_batch_norm_is_not_trusted(judge, place: Path, tmp_path: Path) -> None:
    run = copied(place, "normed", tmp_path / "run")
    config = run / "config.yaml"
    text = config.read_text()
    start = text.index('"sha256": "') + len('"sha256": "')
    config.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    out, err = judge(f"{run} exact.png")
    assert (
        "what it learned from cannot be had (digits has changed since: the data's fingerprint was 000000000000 and is "
        in " ".join(err.split())
    )
    D = network_of(place / "normed", "dcgan-torch")
    with torch.no_grad():
        assert float(out.split("\t")[2]) == pytest.approx(float(D(as_seen(place / "exact.png"))), rel=2e-3, abs=1e-5)
    trusted, err = judge("normed exact.png")
    assert err == ""
    assert trusted.split("\t")[2] != out.split("\t")[2]


def test_networks_given_in_python_cannot_be_built_again(judge, tmp_path: Path) -> None:
    G = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 4, 4)))
    D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    settings = {"model.latent_dim": 3, "engine.threads": 1}
    run = gz.train(
        generator=G, discriminator=D, loss="non-saturating", schedule="constant", steps=1, batch_size=4, quiet=True,
        data=np.zeros((8, 4, 4, 1), np.uint8), settings=settings, out=tmp_path / "run",
    )  # fmt: skip
    _, err = judge(f"{run.folder} exact.png", code=2)
    assert "with a generator that was given in Python" in err


def test_batch_norms_means_are_those_of_real_batches() -> None:
    """The mean over batches of each batch's mean and unbiased variance; then scores are an affine map."""
    engine = engines.create_engine("torch", read_engine_settings({"engine.threads": 1}))
    D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5), torch.nn.Linear(6, 1))
    momentum = D[1].momentum
    random = np.random.default_rng(1)
    real, seen = (random.integers(0, 256, (count, 2, 3, 1), dtype=np.uint8) for count in (12, 5))
    engine.recalibrate_batch_norm(D, real, None, {}, batch_size=4)
    flat = real.reshape(12, 6).astype(float) / 127.5 - 1  # one channel: [N,H,W,1] and [N,1,H,W] are one order
    batches = flat.reshape(3, 4, 6)
    mean, variance = batches.mean(axis=1).mean(axis=0), batches.var(axis=1, ddof=1).mean(axis=0)
    weight, bias = (parameter.detach().numpy().astype(float) for parameter in D[3].parameters())
    normed = ((seen.reshape(5, 6) / 127.5 - 1) - mean) / np.sqrt(variance + D[1].eps)
    assert engine.score_images(D, seen, None, {}).reshape(-1) == pytest.approx(normed @ weight[0] + bias[0], abs=1e-5)
    assert D[1].momentum == momentum


def test_the_sigmoid_has_no_overflow() -> None:
    assert discriminator._sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert discriminator._sigmoid(np.array([2.0])) == pytest.approx(1 / (1 + np.exp(-2.0)))


@pytest.mark.slow
def test_after_training_real_digits_score_higher_than_noise(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    small = ["--set", "width=16", "--set", "size=16", "--set", "threads=1", "--images", "16000"]
    assert main(["run", "dcgan-torch", *small, "--quiet", "--out", "trained"]) == 0
    from sklearn.datasets import load_digits

    digits = np.rint(load_digits().images[::28] * 255 / 16).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, digits.shape, dtype=np.uint8)
    for name, pictures in (("real", digits), ("noise", noise)):
        Path(name).mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(f"{name}/{number}.png")
    judge = discriminator.Judge(Path("trained"))
    real, fake = ([verdict.score for verdict in judge([Path(name)])] for name in ("real", "noise"))
    assert np.mean(np.array(real)[:, None] > np.array(fake)[None]) > 0.95
