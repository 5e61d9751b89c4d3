"""TensorBoard's own reader finds in the event files what the run's folder holds."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_trackers import tensorboard as tracker

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture
def run(folder: Callable[[str], Any]) -> Any:
    return folder("tensorboard")


def read(run: Any) -> Any:
    """Everything TensorBoard finds, and nothing left out for the sake of its memory."""
    everything = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    return event_accumulator.EventAccumulator(str(run.run.own), size_guidance=everything).Reload()


def told(run: Any) -> dict[str, dict[int, np.float32]]:
    """Tag -> images seen -> number."""
    events = read(run)
    return {
        tag: {event.step: np.float32(event.value) for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]
    }


def expected(lines: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, np.float32]]:
    groups = {"step": "run/", "epoch": "run/", "seconds": "run/", "images_per_second": "run/", "lr_g": "schedule/"}
    found: dict[str, dict[int, np.float32]] = {}
    for line in lines:
        for name, value in line.items():
            if name != "images":
                found.setdefault(groups.get(name, "") + name, {})[line["images"]] = np.float32(value)
    return found


def test_every_number_of_every_report(run: Any) -> None:
    tracker.on_run_start(run.run)
    for images in (64, 128, 192):
        tracker.on_report(run.run, run.line(images))
    assert told(run) == expected(run.lines())  # each is on the disk at once
    tracker.on_run_end(run.run, "done")
    assert told(run) == expected(run.lines())


def test_a_number_that_is_none_is_left_out(run: Any) -> None:
    tracker.on_run_start(run.run)
    tracker.on_report(run.run, {"images": 64, "generator/adversarial": float("nan"), "generator/other": None})
    assert told(run) == {}


@pytest.mark.parametrize("colour", [False, True])
def test_the_grids_byte_for_byte(run: Any, colour: bool) -> None:
    tracker.on_run_start(run.run)
    paths = {images: run.picture(images, colour=colour) for images in (64, 128)}
    for images, path in paths.items():
        tracker.on_samples(run.run, images, path)
    found = read(run).Images("samples")
    assert {image.step: image.encoded_image_string for image in found} == {
        images: path.read_bytes() for images, path in paths.items()
    }
    assert {(image.width, image.height) for image in found} == {(6, 4)}


def test_settings_and_facts_as_tables(run: Any) -> None:
    tracker.on_run_start(run.run)
    events = read(run)
    settings, facts = (
        events.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode() for name in ("settings", "facts")
    )
    assert "| train.lr | 0.0002 |" in settings
    assert "| train.betas | [0.5, 0.999] |" in settings
    assert "train.lr_g" not in settings  # it is not set
    assert '| notes | ["a &#124; b"] |' in facts


@pytest.mark.parametrize(("status", "ended"), [("done", 1), ("diverged", 2), ("failed", 2), ("interrupted", None)])
def test_runs_can_be_compared_by_their_settings(run: Any, status: str, ended: int | None) -> None:
    plugin_data = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    tracker.on_run_start(run.run)
    for images in (64, 128):
        tracker.on_report(run.run, run.line(images))
    tracker.on_run_end(run.run, status)
    contents = read(run).PluginTagToContent("hparams")

    def content(tag: str) -> Any:
        return plugin_data.HParamsPluginData.FromString(contents[f"_hparams_/{tag}"])

    given = content("session_start_info").session_start_info.hparams
    assert {name: value.WhichOneof("kind") for name, value in given.items()} == {
        "train.lr": "number_value",
        "use.model": "string_value",
    }
    assert given["train.lr"].number_value == 2e-4
    experiment = content("experiment").experiment
    assert [setting.name for setting in experiment.hparam_infos] == ["use.model", "train.lr"]
    assert [metric.name.tag for metric in experiment.metric_infos] == [
        "discriminator/adversarial",
        "generator/adversarial",
    ]
    if ended is None:
        assert "_hparams_/session_end_info" not in contents
    else:  # 1 and 2 are SUCCESS and FAILURE in TensorBoard's api.proto
        assert content("session_end_info").session_end_info.status == ended


def test_a_run_that_goes_on_shows_what_its_folder_holds(run: Any) -> None:
    tracker.on_run_start(run.run)
    tracker.on_samples(run.run, 64, run.picture(64))
    tracker.on_report(run.run, run.line(128))
    tracker.on_samples(run.run, 192, run.picture(192))
    lost = {"images": 256, "generator/adversarial": 7.0}  # at an interruption, after the checkpoint at 256 was written
    tracker.on_report(run.run, lost)
    tracker.on_samples(run.run, 320, run.picture(320))  # after it
    tracker.on_run_end(run.run, "interrupted")

    again = run.again(images=256)
    tracker.on_run_start(again.run)
    assert told(again) == expected(again.lines())
    tracker.on_report(again.run, again.line(384))
    tracker.on_run_end(again.run, "done")
    assert told(again) == expected(again.lines())
    assert [image.step for image in read(again).Images("samples")] == [64, 192]


def test_a_report_at_the_checkpoint_itself_stays(run: Any) -> None:
    tracker.on_run_start(run.run)
    tracker.on_report(run.run, run.line(128))
    again = run.again(images=128)
    tracker.on_run_start(again.run)
    assert told(again) == expected(again.lines())
    assert 128 in told(again)["generator/adversarial"]


def test_who_comes_later_is_told_of_the_past(run: Any) -> None:
    for images in (64, 128):
        run.line(images)
        run.picture(images)
    again = run.again(images=128)
    tracker.on_run_start(again.run)
    tracker.on_report(again.run, again.line(192))
    assert told(again) == expected(again.lines())
    assert [image.step for image in read(again).Images("samples")] == [64, 128]
    assert "hparams" in read(again).SummaryMetadata("_hparams_/experiment").plugin_data.plugin_name


def test_a_run_that_diverged_and_went_back(run: Any) -> None:
    tracker.on_run_start(run.run)
    for images in (64, 128, 192):
        tracker.on_report(run.run, run.line(images))
    again = run.again(images=64)
    for images in (128, 192):  # the same process goes on
        tracker.on_report(run.run, again.line(images, lr_g=1e-4))
    assert told(run) == expected(again.lines())


def test_a_full_disk_is_an_error_that_heals(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker.on_run_start(run.run)
    tracker.on_report(run.run, run.line(64))
    with monkeypatch.context() as patched:

        def refuse(number: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            tracker.on_report(run.run, run.line(128))
    tracker.on_report(run.run, run.line(192))
    assert told(run) == expected(run.lines())


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    program = """
import sys
import ganzoo_trackers.tensorboard, ganzoo_trackers.weights_and_biases
assert not {"wandb", "tensorboardX", "tensorboard"} & set(sys.modules)
import ganzoo_trackers.event_file
assert not {"torch", "tensorflow"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_past_that_nobody_wrote_is_refused_in_a_sentence(run: Any) -> None:
    run.line(64)
    (run.run.folder / "stats.jsonl").write_text('{"images": 1e999}\n')
    with pytest.raises(gz.UsageError, match=r"stats.jsonl: line 1"):
        tracker.on_run_start(run.again_as_it_is(images=64).run)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes take rights there")
def test_nothing_is_read_or_written_through_a_link(run: Any, tmp_path: Path) -> None:
    run.line(64)
    run.picture(64)
    outside = tmp_path / "outside.png"
    run.picture(128).rename(outside)
    samples = run.run.folder / "samples"
    for name in ("128.png", "².png"):
        (samples / name).symlink_to(outside)
    os.mkfifo(samples / "192.png")
    (samples / "193.png").write_bytes(b"\x89PNG")
    run.run.own.mkdir(parents=True)
    planted = run.run.own / "events.out.tfevents.00000"
    planted.symlink_to(tmp_path / "outside")
    tracker.on_run_start(run.again_as_it_is(images=500).run)
    assert not (tmp_path / "outside").exists()
    planted.unlink()
    assert [event.step for event in read(run).Images("samples")] == [64]
