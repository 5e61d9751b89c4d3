"""What a stranger may put into a run's folder, a manifest or a setting is refused in a sentence, or left alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo_core import cli, python_api, report, settings, sweeps
from ganzoo_core.data import classes
from ganzoo_core.discovery import catalog, manifest
from ganzoo_core.errors import UsageError
from ganzoo_core.evaluation import discriminator
from ganzoo_core.mix import flags
from ganzoo_core.report import pictures, run_record
from ganzoo_core.runs import layout, scores, stats
from ganzoo_core.runs.folder import RunFolder
from ganzoo_core.storage import atomic  # fmt: skip
from ganzoo_core.sweeps import Sweep
from ganzoo_core.terminal.progress import Reporter
from ganzoo_core.training.trackers import Trackers

LINKS = pytest.mark.skipif(os.name == "nt", reason="links and pipes take rights there")
LINK, PIPE = (pytest.param(what, marks=LINKS) for what in ("link", "pipe"))
PLANTED = pytest.mark.parametrize("what", [LINK, PIPE, "folder"])
DEEP = b"[" * 5000 + b"]" * 5000
LONG = b"9" * 400
SPOILT = {  # values that no file of a run holds
    "infinite": b"Infinity", "not a number": b"NaN", "too large": b"1e999", "many digits": LONG, "deep": DEEP,
    "a NUL": rb'"\u0000"', "a lone surrogate": rb'"\ud800"', "another digit": '"²"'.encode(), "true": b"true",
    "a list": b"[1]", "a table": b'{"a": 1}',
}  # fmt: skip
SCORE = b'{"images": %s, "scores": {"fid": %s}, "protocol": {"samples": %s}}\n'


def refuse(read: Callable[[], object]) -> str:
    """The one sentence with which something is refused."""
    with pytest.raises(UsageError) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    text.encode()  # no lone surrogate, which no terminal takes
    assert len(text) < 2000
    return text


def plant(path: Path, what: str) -> None:
    """A link to a file elsewhere, a pipe, or a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if what == "link":
        target = path.with_name(f"{path.name}.elsewhere")
        target.write_bytes(b"kept\n")
        path.symlink_to(target)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("place", [0, 1])
def test_a_score_that_nothing_could_write_is_refused_by_its_line(tmp_path, kind, place):
    good = SCORE % (b"10", b"1.5", b"9")
    values = [b"10", b"1.5", b"9"]
    values[place] = SPOILT[kind]
    (tmp_path / layout.SCORES).write_bytes(good + SCORE % tuple(values))
    assert "scores.jsonl: line 2 is no score" in refuse(lambda: scores.read(tmp_path))


@pytest.mark.parametrize("images", [b"-3", b"1000000000000001", b"1.5"])
def test_a_score_of_images_that_nobody_saw_is_refused(tmp_path, images):
    (tmp_path / layout.SCORES).write_bytes(SCORE % (images, b"1", b"9"))
    assert "line 1 is no score" in refuse(lambda: scores.read(tmp_path))


@pytest.mark.parametrize("more", [b'"classes": {"a": 3}', b'"better": {"fid": "x"}', b'"real": []', b'"x": "\\u0000"'])
def test_the_rest_of_a_score_is_typed_too(tmp_path, more):
    (tmp_path / layout.SCORES).write_bytes(SCORE.replace(b"}\n", b", " + more + b"}\n") % (b"1", b"1", b"9"))
    assert "line 1 is no score" in refuse(lambda: scores.read(tmp_path))


def test_lines_without_an_end_and_without_number_are_refused(tmp_path, monkeypatch):
    path = tmp_path / layout.SCORES
    path.write_bytes(b" " * 2_000_000 + b"\n")
    assert "is longer than" in refuse(lambda: scores.read(tmp_path))
    assert "is longer than" in refuse(lambda: scores.remove_later_scores(tmp_path, 3))
    monkeypatch.setattr(scores, "MAX_LINES", 2)
    path.write_bytes(SCORE % (b"1", b"1", b"1") * 3)
    assert "more than 2 lines" in refuse(lambda: scores.read(tmp_path))


@PLANTED
@pytest.mark.parametrize("name", [layout.SCORES, f".{layout.SCORES}.lock"])
def test_scores_are_neither_read_nor_written_through_a_link(tmp_path, what, name):
    plant(tmp_path / name, what)
    one = scores.Score(1, {"fid": 1.0}, {})
    assert name in refuse(lambda: scores.append(tmp_path, one))
    if name == layout.SCORES:
        assert name in refuse(lambda: scores.read(tmp_path))
        assert name in refuse(lambda: scores.remove_later_scores(tmp_path, 0))
    if what == "link":
        assert (tmp_path / f"{name}.elsewhere").read_bytes() == b"kept\n"


STATS = b'{"images": %s, "step": 1, "generator/adversarial": %s}\n'


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("place", [0, 1])
def test_statistics_that_nothing_could_write_stop_a_resume_in_a_sentence(tmp_path, kind, place):
    values = [b"10", b"1.5"]
    values[place] = SPOILT[kind]
    (tmp_path / layout.STATS).write_bytes(STATS % (b"5", b"null") + STATS % tuple(values))
    folder = RunFolder(tmp_path)
    for read in (folder.read_stats, lambda: folder.truncate_stats(2), lambda: python_api.Run(tmp_path).stats):
        assert "stats.jsonl: line 2" in refuse(read)
    folder.truncate_stats(1)  # what comes after the checkpoint goes, whatever it is
    assert [line["images"] for line in folder.read_stats()] == [5]


@pytest.mark.parametrize("content", [b"x" * 2_000_000 + b"\n", b"x" * 2_000_000, b'{"images": -1}\n', b'{"step": 1}\n'])
def test_a_line_of_statistics_that_is_none_is_refused(tmp_path, content):
    (tmp_path / layout.STATS).write_bytes(content)
    refuse(lambda: RunFolder(tmp_path).truncate_stats(1))


def test_a_torn_last_line_of_statistics_is_passed_over(tmp_path):
    (tmp_path / layout.STATS).write_bytes(STATS % (b"5", b"1") + b'{"images": 3')
    assert RunFolder(tmp_path).read_stats() == [{"images": 5, "step": 1, "generator/adversarial": 1}]


@PLANTED
def test_statistics_are_neither_read_nor_written_through_a_link(tmp_path, what):
    plant(tmp_path / layout.STATS, what)
    folder = RunFolder(tmp_path)
    for act in (folder.read_stats, lambda: folder.truncate_stats(0), lambda: folder.add_stats({"images": 1})):
        assert layout.STATS in refuse(act)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_readers_of_lines_raise_anything_else(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "lines"
    folder.mkdir(exist_ok=True)
    for name in (layout.STATS, layout.SCORES):
        (folder / name).write_bytes(content + b"\n")
    for read in (lambda: stats.read_stats(folder / layout.STATS), lambda: scores.read(folder)):
        with contextlib.suppress(UsageError):
            read()


# Settings and config.yaml.

NUMBERS = ["1e999", "9" * 400, "²", "١٢", "nan", "inf", "\0", "\ud800", "9223372036854775809", ""]


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("kind", ["int", "float", "numbers", "integers", "length", "lengths"])
def test_a_number_that_is_none_is_refused_by_its_key(kind, text):
    if kind in ("float", "numbers") and text.startswith("9223"):
        assert settings.read_value("model.x", kind, text)  # which a float holds
        return
    if text == "" and kind in ("numbers", "integers", "lengths"):
        assert settings.read_value("model.x", kind, text) == []
        return
    assert refuse(lambda: settings.read_value("model.x", kind, text)).startswith("model.x is ")


@pytest.mark.parametrize("text", ["1e400epochs", "-5", "9" * 30 + "epochs", "²epochs", "١epochs", "1" * 5000])
def test_a_length_that_is_none_is_refused_by_its_key(text):
    assert refuse(lambda: settings.read_value("train.length", "length", text)).startswith("train.length is ")
    assert refuse(lambda: settings.read_value("train.sample_at", "lengths", text)).startswith("train.sample_at is ")


HUGE = [10**5000, -(10**5000), 2**63 + 1, [10**5000], "x" * 100_001, "a\0b", "\udcff"]
VALUED = [("model.x", "int"), ("train.lr_g", "float"), ("train.sample_at", "lengths"), ("use.data", "text"),
          ("use.with", "words"), ("model.n", "integers")]  # fmt: skip


@pytest.mark.parametrize("value", HUGE, ids=range(len(HUGE)))
@pytest.mark.parametrize(("key", "kind"), VALUED)
def test_what_python_hands_over_is_bounded_as_well(key, kind, value):
    assert refuse(lambda: settings.read_value(key, kind, value)).startswith(f"{key} is ")


def test_a_list_has_an_end():
    for kind in ("numbers", "integers", "words", "lengths"):
        assert "at most 1,000" in refuse(lambda kind=kind: settings.read_value("model.x", kind, "1," * 2000))


KINDS = ["int", "float", "numbers", "integers", "length", "duration", "lengths", "text", "words", "bool"]


@given(st.text() | st.integers() | st.floats() | st.lists(st.text()), st.sampled_from(KINDS))
def test_a_setting_is_read_or_refused(value, kind):
    with contextlib.suppress(UsageError):
        settings.read_value("model.x", kind, value)


@pytest.mark.parametrize("unit", ["images", "epochs", "steps"])
@pytest.mark.parametrize("count", [float("inf"), float("nan"), 10**400, -1, True])
def test_how_long_is_a_number(unit, count):
    assert f"--{unit}" in refuse(lambda: flags.collect_flags(**{unit: count}))


@pytest.mark.parametrize("word", ["²", "9" * 5000, "-1", "١"])
def test_a_class_is_a_name_or_digits(word):
    assert "no class" in refuse(lambda: classes.Classes(["cat", "dog"]).find(word))


@pytest.mark.parametrize(
    "text",
    [
        '"a\\0b": 1',
        '"a\\eb": 1',
        '"\\u202e": 1',
        f"{'k' * 300}: 1",
        f"a: {'v' * 20_000}",
        f"a: {'[' * 100 + ']' * 100}",
        'a: "x\\0"',
    ],
)
def test_keys_and_values_of_a_config_are_bounded(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text + "\n")
    found = refuse(lambda: settings.read_config(path))
    assert str(path) in found
    assert found.isprintable()


def test_a_config_has_a_bounded_number_of_keys(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("".join(f"a{number}: 1\n" for number in range(5000)))
    assert "at most" in refuse(lambda: settings.read_config(path))


@PLANTED
def test_a_run_s_config_is_a_regular_file(tmp_path, what):
    path = tmp_path / layout.CONFIG
    plant(path, what)
    assert layout.CONFIG in refuse(lambda: settings.read_config(path))
    assert layout.CONFIG in refuse(lambda: settings.read_facts(path))


@LINKS
def test_a_config_that_a_user_names_may_lie_behind_a_link_but_is_no_pipe(tmp_path):
    (tmp_path / "real.yaml").write_text("train.lr: 1\n")
    (tmp_path / "named.yaml").symlink_to(tmp_path / "real.yaml")
    assert settings.read_config(tmp_path / "named.yaml", named_by_user=True) == {"train.lr": "1"}
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "pipe.yaml" in refuse(lambda: settings.read_config(tmp_path / "pipe.yaml", named_by_user=True))


FACTS = {
    "id": "0" * 16, "ganzoo": "0.1", "parts": {"generator": "a/b 1"}, "preset": "small", "notes": ["x"],
    "data": {"images": 5, "size": [8, 8, 1], "sha256": "ab"}, "framing": "pad", "background": 3,
    "spec": {"height": 8, "width": 8, "channels": 1, "classes": 0},
    "engine": {"framework": "torch", "device": "cpu"}, "keeps_memory": False, "warnings": [], "modifiers": [],
}  # fmt: skip


def write_facts(folder: Path, facts: object) -> Path:
    path = folder / layout.CONFIG
    path.write_text(f"use.data: dots\nrun: {json.dumps(facts)}\n")
    return path


def test_the_facts_of_a_run_are_typed(tmp_path):
    facts = settings.read_facts(write_facts(tmp_path, FACTS))
    assert facts.data is not None
    assert facts.spec is not None
    assert (facts.data.images, facts.data.size, facts.background) == (5, (8, 8, 1), 3)
    assert (facts.spec.classes, facts.preset, facts.parts) == (0, "small", {"generator": "a/b 1"})
    assert settings.read_facts(write_facts(tmp_path, {**FACTS, "background": None})).background is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("data", {"images": -3, "size": [8, 8, 1]}), ("data", {"images": 5, "size": [8, 8, 2]}),
     ("data", {"images": 5, "size": [10**9, 8, 1]}), ("data", {"images": 5, "size": [65536, 65536, 1]}),
     ("data", {"images": 5, "size": [8, 8]}), ("data", []), ("data", {"images": "²", "size": [8, 8, 1]}),
     ("data", {"images": 5, "size": [8, 8, 1], "sha256": "\x1b[2J"}), ("spec", {"height": 8}), ("spec", 3),
     ("spec", {"height": 8, "width": 8, "channels": 1, "classes": 10**9}), ("parts", ["a"]),
     ("parts", {"generator": {"a": 1}}), ("preset", ["x"]), ("preset", "../x"), ("framing", "x"), ("background", 256),
     ("background", -1), ("background", "1e999"), ("id", "../x"), ("notes", {"a": 1}), ("engine", "x"),
     ("parts", {"generator": "x" * 5000})],
)  # fmt: skip
def test_facts_that_nothing_could_write_are_refused_by_name_and_the_report_says_so(tmp_path, key, value):
    path = write_facts(tmp_path, {**FACTS, key: value})
    found = refuse(lambda: settings.read_facts(path))
    assert str(path) in found
    assert f"run.{key}" in found
    assert key in run_record.read(tmp_path).notes[0]
    assert "Make it again" in report.render(tmp_path)


@pytest.mark.parametrize("facts", [[], "x", None, 3])
def test_facts_that_are_no_table_are_none(tmp_path, facts):
    path = write_facts(tmp_path, facts)
    if facts is None:
        assert settings.read_facts(path).data is None
    else:
        assert "run" in refuse(lambda: settings.read_facts(path))


@pytest.mark.parametrize("folder", ["", "trackers"])
@LINKS
def test_a_tracker_s_folder_is_no_link(tmp_path, folder):
    (part,) = (part for part in catalog.scan().list_kind("trackers") if part.name == "tensorboard")
    said: list[str] = []

    class Told(Reporter):
        def warn(self, text: str) -> None:
            said.append(text)

    run, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    place = run / "trackers" / ("" if folder else part.name)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    watched = Trackers([part], options={part.name: {}}, folder=run, settings={}, facts={}, reporter=Told())
    watched.start(0)
    assert watched.active == []
    assert "is a link" in said[0]
    assert list(outside.iterdir()) == []


@LINKS
@pytest.mark.parametrize("name", ["samples-0.png", "walk-0.gif"])
def test_what_is_drawn_goes_through_no_link_that_was_put_there(tmp_path, capsys, name):
    plant(tmp_path / name, "link")
    words = ["generate", str(tmp_path), *(["--walk"] if name.startswith("walk") else [])]
    assert cli.main(words) == 2
    assert f"{name} is a link" in capsys.readouterr().err
    assert (tmp_path / f"{name}.elsewhere").read_bytes() == b"kept\n"


def test_a_run_whose_config_is_forged_is_left_as_it_is(tmp_path):
    run = RunFolder(tmp_path)
    path = write_facts(tmp_path, FACTS)
    atomic.write_folder(tmp_path / "checkpoints" / "12", {"state.safetensors": b"x"}, run_id=run.id)
    write_facts(tmp_path, {**FACTS, "framing": "x"})
    before = sorted(tmp_path.rglob("*"))
    assert f"{path}: run.framing" in refuse(lambda: python_api.resume(tmp_path))
    assert f"{path}: run.framing" in refuse(lambda: discriminator.Judge(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


# Reports.


@PLANTED
@pytest.mark.parametrize("name", ["config.yaml", "stats.jsonl", "scores.jsonl", "report/measured.json", "samples/4.png",
                                  "samples/real.png", "samples/latest.png"])  # fmt: skip
def test_a_report_reads_regular_files_alone(tmp_path, name, what):
    write_facts(tmp_path, FACTS)
    (tmp_path / "secret").write_text('{"images": 7777, "scores": {"fid": 7777}}\n')
    path = tmp_path / name
    plant(path, what)
    if what == "link":
        path.unlink()
        path.symlink_to(tmp_path / "secret")
    text = report.render(tmp_path)
    assert "7777" not in text.replace("7,777", "7777")


@LINKS
@pytest.mark.parametrize("name", ["samples", "report"])
def test_a_folder_that_is_a_link_is_not_looked_into(tmp_path, name):
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    write_facts(run, FACTS)
    (other / "measured.json").write_text('{"notes": {"walk": "a secret"}}')
    (run / name).symlink_to(other)
    assert "a secret" not in report.render(run)
    assert pictures.find_grids(run / "samples") == []


def test_a_grid_is_named_by_ascii_digits(tmp_path):
    from ganzoo_core.data import picture_files, pixels

    drawn = picture_files.encode_png(pixels.to_pillow(picture_files.np.zeros((8, 8, 1), picture_files.np.uint8)))
    for name in ("12", "²", "١", "012", "9" * 40):
        (tmp_path / f"{name}.png").write_bytes(drawn)
    assert [picture.images for picture in pictures.find_grids(tmp_path)] == [12]
    found = pictures.read_picture_facts(tmp_path / "².png")
    assert found is not None
    assert found.images == 0


@pytest.mark.parametrize("content", [b'{"walk": ' + DEEP + b"}", b'{"images": 1e999}', b'{"images": -1}', b"[]",
                                     b'{"walk": {"frames": [3]}}', b'{"nearest": {"drawn": [NaN]}}'])  # fmt: skip
def test_what_was_measured_is_typed(tmp_path, content):
    write_facts(tmp_path, FACTS)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "measured.json").write_bytes(content)
    run = run_record.read(tmp_path)
    assert run.measured == {}
    assert "measured.json" in run.notes[0]


# Sweeps.


@LINKS
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_a_sweep_s_log_is_not_written_through_a_link(tmp_path, what):
    (job,) = sweeps.make_jobs({"seed": ["1"]})
    sweep = Sweep(tmp_path, ("none-such",), (job,))
    plant(tmp_path / f"{job.name}.log", what)
    (outcome,) = sweeps.run_jobs(sweep, at_once=1)
    assert outcome.status == "failed"
    assert ".log" in outcome.reason
    if what == "link":
        assert (tmp_path / f"{job.name}.log.elsewhere").read_bytes() == b"kept\n"


# Manifests.


def read_manifest(folder: Path, text: str | bytes) -> tuple[list, list]:
    """The parts and the problems."""
    path = folder / "pkg" / "ganzoo.toml"
    path.parent.mkdir(exist_ok=True)
    (path.parent / "hooks.py").touch()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return manifest.read(path, distribution="pkg", version="1", package="pkg")[:2]


LOSS = 'api = 1\n[losses.good]\ntitle = "A loss"\nhooks = "pkg.hooks"\n'
MODEL = '[models.m]\nhooks = "pkg.hooks"\nframework = "torch"\n'
TITLE = 'title = "M"\n'


@pytest.mark.parametrize(
    "more",
    [f"[models.m.defaults]\nmodel.x = 0x{'f' * 5000}", f"[models.m.defaults]\nmodel.x = {'9' * 30}",
     "[models.m.defaults]\nmodel.x = inf", "[models.m.defaults]\nmodel.x = [1.5, nan]",
     f"image_sizes = [0x{'f' * 5000}]", "image_sizes = [65537]", f"image_sizes = {list(range(1, 5000))}",
     f"takes = {[f'a{n}' for n in range(5000)]}".replace("'", '"'),
     f'title = "{"x" * 5000}"', f'paper = "{"x" * 5000}"',
     f"has.x = {{ setting = \"train.lr\", above = 0x{'f' * 5000} }}", f'aliases = ["{"x" * 300}"]',
     f'[models.m.defaults]\nmodel.x = "{"x" * 200000}"'[:150000] + '"',
     "[models.m.defaults]\n" + "".join(f"model.x{n} = 1\n" for n in range(3000)),
     f'[models.m.help]\ntrain.lr = "{"x" * 5000}"', f'[models.m.presets]\n{"x" * 300} = {{}}',
     '[models.m.defaults]\nmodel.x = "a\\u0000b"'],
)  # fmt: skip
def test_a_manifest_s_numbers_texts_and_lists_are_bounded(tmp_path, more):
    parts, problems = read_manifest(tmp_path, LOSS + MODEL + ("" if more.startswith("title") else TITLE) + more)
    assert [part.name for part in parts] == ["good"]
    (problem,) = problems
    assert problem.name == "m"
    assert problem.reason.isprintable()
    assert len(problem.reason) < 1000


@pytest.mark.parametrize("hooks", ["pkg." + "x" * 5000, "pkg..hooks", "pkg/../../x", "pkg.²"])
def test_hooks_lie_in_the_package(tmp_path, hooks):
    text = f'api = 1\n[losses.m]\ntitle = "M"\nhooks = "{hooks}"\n'
    parts, problems = read_manifest(tmp_path, text)
    assert (parts, len(problems)) == ([], 1)


@pytest.mark.parametrize("api", [f"0x{'f' * 5000}", "inf", "true", '"1"'])
def test_an_api_is_a_small_number(tmp_path, api):
    _, problems = read_manifest(tmp_path, f"api = {api}\n")
    assert problems[0].reason.isprintable()


def test_a_manifest_has_a_bounded_number_of_parts(tmp_path):
    text = "api = 1\n" + "".join(f'[losses.a{n}]\ntitle="x"\nhooks="pkg"\n' for n in range(1000))
    parts, problems = read_manifest(tmp_path, text)
    assert len(parts) <= 500
    assert any("at most" in problem.reason for problem in problems)


@LINKS
def test_a_manifest_is_no_pipe(tmp_path):
    path = tmp_path / "ganzoo.toml"
    os.mkfifo(path)
    _, problems, _ = manifest.read(path, distribution="a", version="1", package="a")
    assert "cannot be read" in problems[0].reason


def test_names_from_metadata_are_printable_and_short(here):
    metadata = b"Name: a\x1b[2Jb\xe2\x80\xae" + b"c" * 500 + b"\nVersion: 1\x9b\x07" + b"9" * 500 + b"\n"
    here.add("a-plugin", here.loss("x", "a_plugin"), metadata=metadata)
    (part,) = (part for part in catalog.scan().parts if part.name == "x")
    assert (part.distribution + part.version).isprintable()
    assert len(part.distribution) <= 100
    assert len(part.version) <= 100
