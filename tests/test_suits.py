"""Presets that say of themselves when they suit, and the two settings that few pictures need."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import mix
from ganzoo_core.data import framing
from ganzoo_core.data.framing import Framing
from ganzoo_core.data.lazy import LazyImages, MirroredImages
from ganzoo_core.discovery import catalog
from ganzoo_core.mix import Request
from ganzoo_core.runs import health
from ganzoo_core.settings import read_facts, read_run_config
from ganzoo_core.training import setup

TINY = {"model.width": 4, "train.sample_count": 4, "engine.device": "cpu", "engine.threads": 1}


def source(count: int, size: int = 32, **more) -> gz.ImageSource:
    images = np.random.Generator(np.random.Philox(count)).integers(0, 256, (count, size, size, 1), dtype=np.uint8)
    return gz.ImageSource(images, **more)


def asked(**more) -> Request:
    return Request(picks={"model": "dcgan-torch", "data": source(32)}, **more)


@pytest.mark.parametrize(("count", "preset"), [(1, "few"), (1000, "few"), (1001, ""), (5000, "")])
def test_a_preset_is_picked_by_the_count(count, preset):
    installed = catalog.scan()
    bare = mix.resolve(installed, asked())
    assert bare.preset == ""
    found, note = mix.pick_preset(installed, bare, count)
    assert found.preset == preset
    there = "there is 1;" if count == 1 else f"there are {count:,};"
    assert (f"the preset few is taken: it is for up to 1,000 images, and {there}" in note) is bool(preset)
    values = bare.settings if not preset else mix.resolve(installed, asked(preset="few")).settings
    assert found.settings.entries == values.entries


def test_a_preset_that_was_named_stays():
    installed = catalog.scan()
    for preset in ("none", "small"):
        bare = mix.resolve(installed, asked(preset=preset))
        assert not bare.presets_by_max_images
        assert mix.pick_preset(installed, bare, 5) == (bare, "")


def test_the_preset_of_the_data_wins():
    assert not mix.resolve(
        catalog.scan(), Request(picks={"model": "dcgan-torch", "data": "digits"})
    ).presets_by_max_images


def test_a_preset_that_does_not_go_with_the_picks_is_left_out(monkeypatch):
    """A preset whose loss takes second derivatives, and a discriminator that says it has none."""
    installed = catalog.scan()
    few = installed.find("models", "dcgan-torch").presets["few"]
    monkeypatch.setitem(few, "use.loss", "relativistic")

    class OnlyOnce(torch.nn.Module):
        has = {"second_order": False}  # noqa: RUF012

    picks = {"generator": "dcgan-torch", "discriminator": OnlyOnce(), "data": source(32)}
    bare = mix.resolve(installed, Request(picks=picks))
    found, note = mix.pick_preset(installed, bare, 32)
    assert found is bare
    assert "the preset few, for up to 1,000 images, and there are 32, is left out: it does not go with what was" in note


def test_a_run_takes_it_keeps_it_and_resumes_with_it(tmp_path, capsys):
    settings = {**TINY, "train.batch_size": 8, "data.size": 32}
    run = gz.train("dcgan-torch", data=source(24), settings=settings, images=48, out=tmp_path / "run")
    assert "the preset few is taken: it is for up to 1,000 images, and there are 24" in capsys.readouterr().err
    facts = read_facts(run.folder / "config.yaml")
    assert facts.preset == "few"
    again = gz.resume(run.folder, images=64, picks={"data": source(24)}, quiet=True)
    assert again.stats[-1]["images"] == 64
    assert read_facts(run.folder / "config.yaml").preset == "few"
    plain = gz.train(
        "dcgan-torch", data=source(24), settings=settings, images=16, preset="none", out=tmp_path / "plain", quiet=True
    )
    assert read_facts(plain.folder / "config.yaml").preset == ""


def test_images_are_counted_before_any_is_held_out(tmp_path):
    np.savez(tmp_path / "set.npz", images=source(1100, 16).images)
    run = gz.train(
        "dcgan-torch", data=f"npz:{tmp_path}/set.npz", settings=TINY, images=64, out=tmp_path / "run", quiet=True
    )
    assert read_facts(run.folder / "config.yaml").preset == ""  # 880 of the 1,100 are trained on


def test_of_a_folder_with_a_test_part_of_its_own_the_training_part_counts(tmp_path):
    """Nothing is held out of it: 30 of 1,001 images are its own test part."""
    for part, count in (("train", 971), ("test", 30)):
        (tmp_path / "set" / part).mkdir(parents=True)
        for number, image in enumerate(source(count, 4).images):
            Image.fromarray(image[..., 0]).save(tmp_path / "set" / part / f"{number}.bmp")
    picks = {"model": "dcgan-torch", "data": f"folder:{tmp_path}/set"}
    found = setup.load(mix.resolve(catalog.scan(), Request(picks=picks)), tmp_path)
    assert (found.mix.preset, len(found.source.images), found.source.held_out) == ("few", 971, 30)


def test_a_dry_run_says_what_hangs_on_the_data(tmp_path, capsys):
    from ganzoo_core.cli import main

    (tmp_path / "train-images-idx3-ubyte").touch()
    words = ["run", "dcgan-torch", "--data", f"idx:{tmp_path}", "--dry-run"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "the preset few is taken if the data has at most 1,000 images" in told
    unchecked = f"whether idx:{tmp_path} can be read and fits is known once the data is read"
    assert f"note: {unchecked}\n" in told
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["presets_by_count"], found["warnings"], found["unread"]) == ({"few": 1000}, [unchecked], [])
    assert main([*words, "--preset", "none"]) == 0
    assert "the preset few" not in capsys.readouterr().out


def test_a_dry_run_marks_what_a_preset_sets_for_another_loss(capsys):
    """progan-tf sets the weights of wgan-gp's penalties, and of the schedule's stages."""
    from ganzoo_core.cli import main

    words = ["run", "progan-tf", "--loss", "hinge", "--schedule", "constant", "--dry-run"]
    assert main(words) == 0
    told = {cells[0]: cells[2] for line in capsys.readouterr().out.splitlines() if len(cells := line.split("\t")) == 3}
    assert told["loss.gp_weight"] == "progan-tf, but the loss hinge does not read it"
    assert main([*words, "--json"]) == 0
    unread = json.loads(capsys.readouterr().out)["unread"]
    assert unread == [key for key in sorted(told) if ", but " in told[key]]
    assert {"loss.drift", "loss.gp_weight", "schedule.stable_images"} <= set(unread)
    assert not [key for key in unread if key.startswith(("train.", "model.", "data."))]
    assert main(["run", "progan-tf", "--dry-run"]) == 0
    assert ", but " not in capsys.readouterr().out


@pytest.mark.parametrize("written", ["with.diffaugment.policy", "policy"])
def test_a_setting_of_what_only_a_picked_preset_brings_is_taken(tmp_path, capsys, written):
    """As with that preset by name. Where there are too many images for it, the setting is refused."""
    from ganzoo_core.cli import main

    installed = catalog.scan()
    assigned = {written: "color"}
    bare = mix.resolve(installed, asked(assigned=assigned))
    found, note = mix.pick_preset(installed, bare, 32)
    assert "the preset few is taken" in note
    assert found.settings["with.diffaugment.policy"] == ["color"]
    assert found.settings.entries == mix.resolve(installed, asked(assigned=assigned, preset="few")).settings.entries
    with pytest.raises(gz.UsageError) as refused:
        mix.pick_preset(installed, bare, 5000)
    assert f"there is no setting {written!r} in this mix: a preset that suits fewer" in str(refused.value)
    assert "(few for up to 1,000), and there are 5,000; say --preset few, or leave it out" in str(refused.value)
    np.savez(tmp_path / "set.npz", images=source(20, 32).images)
    words = ["run", "dcgan-torch", "--data", f"npz:{tmp_path}/set.npz", "--set", f"{written}=color", "--dry-run"]
    assert main(words) == 0
    assert f"note: {written} is there only if such a preset is taken\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"assigned": {"with.diffaugment.policie": "color"}}, "there is no setting 'with.diffaugment.policie'"),
        ({"assigned": {"with.diffaugment.policy": "color"}, "preset": "none"}, "there is no setting"),
        ({"assigned": {"with.diffaugment.policy": "color"}, "modifiers": ["spectral-norm"]}, "there is no setting"),
    ],
)
def test_a_setting_that_no_preset_brings_is_unknown(more, told):
    with pytest.raises(gz.UsageError, match=told):
        mix.resolve(catalog.scan(), asked(**more))


def test_modifiers_of_a_preset_that_are_left_out_are_told():
    """As those of the model itself are; with what keeps them."""
    found = mix.resolve(catalog.scan(), asked(preset="few", modifiers=["spectral-norm"]))
    told = "the preset few comes with diffaugment, which is left out; --with diffaugment,spectral-norm keeps it"
    assert found.warnings == (told,)
    kept = mix.resolve(catalog.scan(), asked(preset="few", modifiers=["diffaugment", "spectral-norm"]))
    assert kept.warnings == ()
    assert mix.resolve(catalog.scan(), asked(preset="few")).warnings == ()


ZOO = [part for part in catalog.scan().parts if part.kind == "models" and part.distribution.startswith("ganzoo-")]


@pytest.mark.parametrize("model", [part.name for part in ZOO])
def test_every_model_of_images_has_one_for_few_pictures(model):
    """Up to 1,000 take it: 64 pixels, an average of G, mirrored, nothing held out, a length in images.

    A model of pairs holds some out, to be drawn from, and is not augmented, which would move one picture of each alone.
    """
    labels = np.arange(32) % 4
    classes = tuple("abcd")
    request = Request(picks={"model": model, "data": source(32, 64, labels=labels, class_names=classes)})
    bare = mix.resolve(catalog.scan(), request)
    assert bare.presets_by_max_images == {"few": 1000}
    found, note = mix.pick_preset(catalog.scan(), bare, 1000)
    values = {key: found.settings[key] for key in ("data.size", "data.flip", "data.holdout")}
    of_noise = not found.conditions
    assert values == {"data.size": 64, "data.flip": True, "data.holdout": 0 if of_noise else 0.2}
    augmented = {"diffaugment"} if of_noise else set()
    assert set(found.settings["use.with"]) == {*bare.settings["use.with"], *augmented}
    assert found.settings["train.ema_halflife"] > 0
    assert str(found.settings["train.length"]).removesuffix("images").isdigit()
    assert "the preset few is taken" in note
    length = int(str(found.settings["train.length"]).removesuffix("images"))
    steps = length // found.settings["train.batch_size"] // found.settings["train.critic_steps"]
    assert health.explain_short_run(found, steps) == ""
    assert mix.pick_preset(catalog.scan(), bare, 1001)[0].preset == ""


@pytest.mark.parametrize("count", [2, 5, 10, 1797])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_a_share_is_held_out(count, share):
    whole = source(count, 16)
    train, test = (gz.hold_out(whole, split, {"holdout": share}) for split in ("train", "test"))
    assert train.whole == test.whole == count
    held = max(1, int(count * share))
    assert len(test.images) == held
    assert len(train.images) == count - held


def test_nothing_is_held_out_where_that_is_asked_for():
    whole = source(10, 16)
    for split in ("train", "test", "all"):
        found = gz.hold_out(whole, split, {"holdout": 0.0})
        np.testing.assert_array_equal(found.images, whole.images)
    assert (
        "nothing is held out: train and test are the same 10 images"
        in gz.hold_out(whole, "test", {"holdout": 0}).notes[-1]
    )


@pytest.mark.parametrize("share", [-1, 1, 1.5, float("nan"), float("inf"), True, "0.2", None])
def test_a_share_that_is_none_is_refused_from_python_too(share):
    with pytest.raises(gz.UsageError, match=r"holdout is .*; expected the share that is held out, from 0 to below 1"):
        gz.hold_out(source(10, 16), "train", {"holdout": share})


@pytest.mark.parametrize(
    ("count", "share", "split", "told"),
    [
        (8, 0.001, "train", "a fixed one is held out; this is train, 7 of 8 images"),
        (8, 0.001, "test", "a fixed one is held out; this is test, 1 of 8 images"),
        (8, 0.5, "test", "a fixed 50% is held out; this is test, 4 of 8 images"),
        (1, 0.5, "train", "nothing is held out of a single image; this is train, 1 of 1 image"),
    ],
)
def test_the_note_counts_what_is_held_out(count, share, split, told):
    assert gz.hold_out(source(count, 16), split, {"holdout": share}).notes == (f"no official test part: {told}",)


def test_without_the_setting_a_fifth_is_held_out():
    whole = source(100, 16)
    np.testing.assert_array_equal(
        gz.hold_out(whole, "train").images, gz.hold_out(whole, "train", {"holdout": 0.2}).images
    )


def test_a_share_without_effect_is_told_to_whoever_asked_for_it_and_not_when_the_run_goes_on(tmp_path, capsys):
    given, more = source(16), {"preset": "none", "out": tmp_path / "run"}
    settings = {**TINY, "train.batch_size": 8, "data.size": 32, "use.schedule": "constant"}
    gz.train("dcgan-torch", data=given, settings={**settings, "data.holdout": 0.5}, images=8, **more)
    assert "data.holdout changes nothing here" in " ".join(capsys.readouterr().err.split())
    gz.resume(tmp_path / "run", images=16, picks={"data": given})
    assert "changes nothing here" not in capsys.readouterr().err
    (tmp_path / "my.yaml").write_text("data.holdout: 0.5\n", encoding="utf-8")
    more = {"preset": "none", "images": 8, "data": given, "settings": settings}
    gz.train("dcgan-torch", config=tmp_path / "my.yaml", out=tmp_path / "file", **more)
    assert "data.holdout changes nothing here" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "my.yaml").write_text("data.holdout: 0.2\n", encoding="utf-8")  # as each run's own file says
    gz.train("dcgan-torch", config=tmp_path / "my.yaml", out=tmp_path / "same", **more)
    assert "changes nothing here" not in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("model", ["dcgan-torch", "cgan-projection-torch"])
def test_fewer_pictures_than_the_picked_preset_s_batch_are_a_smaller_batch(tmp_path, capsys, count, model):
    few = source(count, 16, labels=np.arange(count) % 2, class_names=("a", "b"))
    run = gz.train(
        model, data=few, settings={**TINY, "data.size": 32, "use.schedule": "constant"}, steps=2, out=tmp_path / "run"
    )
    told = " ".join(capsys.readouterr().err.split())
    there = "there is 1 image" if count == 1 else "there are 20 images"
    preset_batch = catalog.scan().find("models", model).presets["few"].get("train.batch_size", 32)
    assert f"a batch takes {count} instead of the preset's {preset_batch}, since {there}" in told
    assert (f"and there {'is' if count == 1 else 'are'} {count};") in told
    assert run.stats[-1]["step"] == 2
    config = (run.folder / "config.yaml").read_text()
    assert f"train.batch_size: {count}  # {model} preset few: {preset_batch}, of" in config
    again = gz.resume(run.folder, steps=3, picks={"data": few}, quiet=True)
    assert again.stats[-1]["images"] == 3 * count
    assert read_run_config(run.folder / "config.yaml")["train.batch_size"] == str(count)


def test_a_batch_that_was_asked_for_is_not_made_smaller(tmp_path):
    for more in ({"batch_size": 32}, {"preset": "none"}):
        with pytest.raises(
            gz.UsageError, match=r"there are 20 images and a batch takes \d+; say --batch-size 20 or less"
        ):
            gz.train("dcgan-torch", data=source(20), out=tmp_path / "run", **more)
    (tmp_path / "pictures").mkdir()
    for index in range(10):
        Image.new("RGB", (16, 16), (index, 0, 0)).save(tmp_path / "pictures" / f"{index}.png")
    told = (
        "there are 8 images (2 more are held out; --set data.holdout=0 trains on them) and a batch takes 64; "
        "say --batch-size 8 or less"
    )
    with pytest.raises(gz.UsageError, match=re.escape(told)):
        gz.train("dcgan-torch", data=f"folder:{tmp_path / 'pictures'}", preset="none", out=tmp_path / "run")
    for name in ("train", "test"):  # a test part that no setting gives back
        (tmp_path / "parts" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "parts" / name / "a.png")
    with pytest.raises(gz.UsageError, match=r"there is 1 image and a batch takes 64; say --batch-size 1 or less"):
        gz.train("dcgan-torch", data=f"folder:{tmp_path / 'parts'}", preset="none", out=tmp_path / "run")


def test_ranks_share_a_smaller_batch_evenly():
    found = mix.resolve(catalog.scan(), asked(preset="few"))
    smaller, note = mix.fit_batch_size(found, 21, held_out=0, world_size=4)
    assert (smaller.settings["train.batch_size"], "a batch takes 20 instead" in note) == (20, True)
    with pytest.raises(gz.UsageError, match=r"1 more is held out; --set data.holdout=0 trains on it\)"):
        mix.fit_batch_size(found, 3, held_out=1, world_size=4)
    with pytest.raises(gz.UsageError, match="there are 3 images and a batch takes 32"):
        mix.fit_batch_size(found, 3, held_out=0, world_size=4)
    assert mix.fit_batch_size(found, 32, held_out=5, world_size=1) == (found, "")
    found = mix.resolve(catalog.scan(), asked(preset="few", assigned={"train.accumulate": 4}))
    assert mix.fit_batch_size(found, 29, held_out=0, world_size=2)[0].settings["train.batch_size"] == 24


def test_mirrored_images_follow_the_others():
    whole = source(7, 16, labels=np.arange(7, dtype=np.int64) % 2, class_names=("a", "b"))
    twice = framing.add_mirrored(whole)
    images, labels = twice.images, twice.labels
    assert labels is not None
    np.testing.assert_array_equal(images[:7], whole.images)
    np.testing.assert_array_equal(images[7:], np.stack([np.fliplr(image) for image in whole.images]))
    np.testing.assert_array_equal(labels, np.tile(whole.labels, 2))
    order = np.array([0, 13, 7, 6, 13])
    for kept in (MirroredImages(whole.images), MirroredImages(LazyImages(whole.images, np.arange(7)))):
        assert kept.shape == images.shape
        np.testing.assert_array_equal(kept[order], images[order])
        np.testing.assert_array_equal(kept[13], images[13])
        np.testing.assert_array_equal(kept[5:9], images[5:9])
        np.testing.assert_array_equal(np.asarray(kept), images)


def test_a_run_sees_images_and_their_mirror_images(tmp_path, monkeypatch):
    seen = []
    from ganzoo_core.engines.torch.data import TrainingImages

    gather = TrainingImages.gather

    def spy(self, *places):
        batch = gather(self, *places)
        seen.append(batch.images.numpy().copy())
        return batch

    monkeypatch.setattr(TrainingImages, "gather", spy)
    whole = source(16)
    settings = {**TINY, "train.batch_size": 8, "data.flip": True, "data.size": 32}
    gz.train("dcgan-torch", data=whole, settings=settings, preset="none", images=32, out=tmp_path / "run", quiet=True)
    trained = {image.tobytes() for image in np.concatenate(seen)}
    scaled = (whole.images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5) - 1
    expected = {image.tobytes() for image in np.concatenate([scaled, scaled[..., ::-1]])}
    assert trained == expected  # 32 images in all: each one and its mirror image once


def test_framing_comes_before_mirroring():
    prepared = framing.prepare(source(4, 16), Framing((16, 16), (32, 32), "resize"), 1)
    images = framing.add_mirrored(prepared).images
    np.testing.assert_array_equal(images[4:], images[:4, :, ::-1])
