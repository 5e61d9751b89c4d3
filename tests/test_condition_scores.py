"""Generators with conditions after training: what is scored, judged, reported, shipped and shown."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganzoo_core as gz
from ganzoo_core.cli import main
from ganzoo_core.data import derive, side_by_side
from ganzoo_core.discovery import catalog
from ganzoo_core.evaluation.discriminator import Judge
from ganzoo_core.generation import bundling, card
from ganzoo_core.generation.data_rows import choose_rows
from ganzoo_core.report import nearest_and_walk, run_groups, run_page, sample_sheets
from ganzoo_core.runs import layout, scores
from ganzoo_core.runs.folder import read_card
from ganzoo_core.storage import decoding
from ganzoo_core.storage.records import Card

from .conftest import Site

pytest.importorskip("torch")

SETTINGS = {
    "train.batch_size": 8, "train.sample_count": 4, "engine.threads": 1, "train.snapshot_every": "16",
    "train.ema_halflife": 50,
}  # fmt: skip


def make_run(folder: Path, model: str, **settings: Any) -> Path:
    asked = {**SETTINGS, **settings}
    data = "squares16" if "data.derive" in settings else "pairs16"
    gz.train(model, data=data, images=32, out=folder, quiet=True, device="cpu", settings=asked)
    return folder


@pytest.fixture(scope="module")
def watched(conditioned: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with classes and conditions of every kind, scored while it trained."""
    folder = tmp_path_factory.mktemp("runs") / "watched"
    return make_run(folder, "blender-torch", **{"train.evaluate_every": "16"})


@pytest.fixture(scope="module")
def blender(conditioned: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without scores."""
    return make_run(tmp_path_factory.mktemp("runs") / "blender", "blender-torch")


@pytest.fixture(scope="module")
def painter(conditioned: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "painter", "painter-torch", **{"data.derive": "mask:0.25"})


@pytest.mark.slow
def test_scores_are_of_images_from_the_test_parts_conditions(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from conditioned import data  # type: ignore[import-not-found]

    during = scores.read(watched)
    assert [score.images for score in during] == [16, 32]
    assert main(["evaluate", str(watched), "--checkpoint", "all", "--json"]) == 0
    told = capsys.readouterr()
    assert "8 images instead of 1,000 are drawn for scores: one from each of the test part" in " ".join(
        told.err.split()
    )
    after = json.loads(told.out)["scores"]
    test = gz.hold_out(data.make_set(), "test")
    for score, again in zip(during, after, strict=True):
        assert score.protocol["samples"] == again["protocol"]["samples"] == 8
        assert score.scores == again["scores"]
        generator = gz.load(watched, checkpoint=score.images) if score.images == 16 else gz.load(watched)
        drawn = generator.generate(
            on={name: np.asarray(rows) for name, rows in test.conditions.items()}, labels=test.labels
        )
        assert score.scores["fid"] == pytest.approx(abs(float(test.images.mean() - drawn.mean())), abs=1e-3)
        assert score.scores["asked"] == test.labels.mean()


@pytest.mark.slow
def test_images_from_elsewhere_are_compared_with_their_targets_where_they_have_some(
    painter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*words: str) -> tuple[dict[str, float], str]:
        assert main(["evaluate", str(painter), "--metrics", "gap,closeness", "--no-real", "--json", *words]) == 0
        told = capsys.readouterr()
        return json.loads(told.out)["scores"][0]["scores"], " ".join(told.err.split())

    drawn = tmp_path / "drawn.npz"
    assert main(["generate", str(painter), "--on", "test", "-n", "8", "--out", str(drawn)]) == 0
    capsys.readouterr()
    with np.load(drawn) as arrays:
        distance = float(np.abs(arrays["images"].astype(float) - arrays["targets"]).mean())
        images = arrays["images"]
    found, _ = evaluate("--images", str(drawn))
    assert found["distance"] == pytest.approx(distance)
    assert "distance" in evaluate()[0]

    assert main(["evaluate", str(painter), "--images", str(drawn), "-n", "4"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "-n says how many images are drawn, and --images are scored as they are, all of them; leave -n out" in said
    np.savez(tmp_path / "alone.npz", images=images)
    words = ["evaluate", str(painter), "--no-real", "--json", "--images", str(tmp_path / "alone.npz")]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "distance" not in json.loads(told.out)["scores"][0]["scores"]
    assert (
        "closeness compares each image with its target, and these images come without any: it is left out; a .npz file "
        "with images and targets has them, as ganzoo generate RUN --on test --out FILE.npz writes it"
    ) in " ".join(told.err.split())
    np.savez(tmp_path / "odd.npz", images=images, targets=images[:2])
    with pytest.raises(gz.DataError, match=r"odd.npz: targets are uint8 \[2, 16, 16, 3\]; expected .* as the images"):
        gz.evaluate(painter, images=tmp_path / "odd.npz")


@pytest.mark.slow
def test_a_carried_generator_is_scored_on_a_named_set(
    painter: Path, conditioned: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Carried in half precision, it draws nearly what it drew."""
    from conditioned import data

    place = conditioned.path / "conditioned" / "generators" / "filler"
    assert bundling.write_bundle(painter / layout.GENERATOR, place) < 100_000
    assert bundling.is_equivalent(painter / layout.GENERATOR, place)
    manifest = conditioned.path / "conditioned" / "ganzoo.toml"
    before = manifest.read_text(encoding="utf-8")
    manifest.write_text(before.replace("drawn_alone = true", 'drawn_alone = true\ngenerators = ["filler"]'), "utf-8")
    catalog.clear_cache()
    assert main(["evaluate", "painter-torch", "--data", "squares16", "-n", "5", "--json", "--quiet"]) == 0
    (carried,) = json.loads(capsys.readouterr().out)["scores"]
    assert (carried["protocol"]["samples"], carried["protocol"]["ema"]) == (5, None)
    test = gz.hold_out(data.make_set(), "test")
    chosen = choose_rows(len(test.images), 5, in_order=True)
    rows = derive.make_derive("mask:0.25", 0)(np.asarray(test.images)[chosen], chosen)
    drawn = gz.load("painter-torch").generate(on=rows)
    gap = abs(float(test.images.mean() - drawn.mean()))
    assert carried["scores"]["fid"] == pytest.approx(gap, abs=1e-3)
    trained = gz.load(painter).generate(on=rows)
    assert np.abs(trained.astype(int) - drawn).mean() < 0.5
    assert not (place / layout.SCORES).exists()
    with pytest.raises(gz.UsageError, match=r"say --on PICTURE, in Python generate\(on=…\)"):
        gz.load("painter-torch").generate()
    with pytest.raises(gz.UsageError, match="belongs to no run, so it has no test part"):
        gz.load("painter-torch").generate(on="test")
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=picture)
    assert gz.load("painter-torch").generate(on=tmp_path / "images.npz").shape == (1, 16, 16, 3)


def test_a_discriminator_with_conditions_judges_no_pictures(blender: Path) -> None:
    with pytest.raises(gz.UsageError) as caught:
        Judge(blender)
    assert str(caught.value) == (
        f"the discriminator of {blender} scores a picture together with the condition source and the condition vector "
        "and the condition index, so pictures alone cannot be judged; "
        f"ganzoo evaluate {blender} scores what its generator draws"
    )


def test_a_report_draws_from_the_test_part(blender: Path, painter: Path) -> None:
    for run in (blender, painter):
        nearest_and_walk.measure(run, device="cpu")
    first, second = (
        json.loads((run / layout.REPORT_FOLDER / layout.MEASURED).read_text()) for run in (blender, painter)
    )
    assert (len(first["walk"]["frames"]), len(first["nearest"]["drawn"]), first["notes"]) == (33, 8, {})
    assert first["nearest"]["about"].endswith("Drawn from the conditions of 8 images of the test part.")
    assert first["walk"]["about"].endswith("Each keeps its conditions, those of an image of the test part.")
    assert len(second["nearest"]["drawn"]) == 8
    assert second["notes"] == {"walk": "it draws from its conditions alone, without a z to walk through."}


def test_a_report_says_how_to_draw(blender: Path) -> None:
    html = run_page.render(blender)
    assert f"ganzoo generate {blender} --on test --out grid.png" in html
    assert "source: 16×16×3" in html


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a picture [H,W,C] stands somewhere in a sheet, enlarged by a whole factor."""
    height, width, _ = picture.shape
    for factor in range(1, 12):
        large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        if large.shape[0] > sheet.shape[0] or large.shape[1] > sheet.shape[1]:
            break
        corners = (sheet[: 1 - factor * height or None, : 1 - factor * width or None] == picture[0, 0]).all(axis=2)
        for top, left in zip(*np.nonzero(corners), strict=True):
            if np.array_equal(sheet[top : top + factor * height, left : left + factor * width], large):
                return True
    return False


def test_compared_runs_show_what_they_draw_from(blender: Path, painter: Path) -> None:
    said: list[str] = []
    compared = run_groups.compare_runs([blender, painter], force=True)
    sheets = sample_sheets.draw_sheets(compared, seed=0, device="cpu", say=said.append)
    assert [sheet.reason for sheet in sheets] == ["", ""]
    assert not [text for text in said if "scores" in text]
    rows = gz.load(painter).read_given("test", 8)
    encoded = sheets[[group.runs[0].folder for group in compared.groups].index(painter)].uri
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))).convert("RGB"))
    drawn = gz.load(painter).generate(on=rows)
    for index in range(8):
        assert holds(sheet, rows.targets[index])
        assert holds(sheet, side_by_side.make_shown(rows.conditions["source"][index : index + 1], 3)[0])
    assert any(holds(sheet, image) for image in drawn)


def test_a_notebook_says_what_is_needed(blender: Path) -> None:
    html = gz.load(blender)._repr_html_()
    assert "source: a picture 16×16×3; vector: 4 numbers; index: a whole number" in html
    assert "generate(on=…)" in html


def test_the_card_says_how_it_is_drawn_and_is_held_against_the_manifest(blender: Path, painter: Path) -> None:
    written = read_card(painter / layout.GENERATOR)
    assert (written.drawn_alone, written.derive, written.latent, written.spec.latent_dim) == (
        True,
        "mask:0.25",
        "none",
        0,
    )
    assert written.spec.conditions == {"source": [16, 16, 4]}
    other = read_card(blender / layout.GENERATOR)
    assert (other.drawn_alone, other.derive, other.spec.latent_dim) == (False, "", 6)
    assert other.spec.conditions == {"source": [16, 16, 3], "vector": [4], "index": []}

    def refuse(**changes: Any) -> str:
        plain = json.loads((painter / layout.GENERATOR / layout.CARD).read_text())
        spec = {**plain["spec"], **changes.pop("spec", {})}
        with pytest.raises(gz.UsageError) as caught:
            card.mix_from_card(decoding.convert({**plain, **changes, "spec": spec}, Card, "the card"), painter)
        return str(caught.value)

    label = "painter-torch (conditioned 1.0)"
    assert f"spec.conditions holds none, and {label} takes source" in refuse(spec={"conditions": {}}, derive="")
    assert f"drawn_alone is false, and {label} draws each image by itself" in refuse(drawn_alone=False)
    assert f"latent is normal, and {label} draws without z" in refuse(latent="normal", spec={"latent_dim": 4})
    assert "latent is none, and spec.latent_dim is 4" in refuse(spec={"latent_dim": 4})
    assert "derive is grey, which makes a condition source of [16, 16, 1]; spec.conditions holds [16, 16, 4]" in refuse(
        derive="grey"
    )
    assert "data.derive is 'blur'; expected grey, edges" in refuse(derive="blur")
    assert "spec.conditions holds a shape [16, 16]" in refuse(spec={"conditions": {"source": [16, 16]}})
