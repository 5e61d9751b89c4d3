"""What a person at a terminal gets: Tab, `--version`, colours that can be refused, lines that fit a narrow one."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ganzoo_core as gz
from ganzoo_core.cli import version
from ganzoo_core.cli.parser import Parser
from ganzoo_core.data import changes, fingerprint
from ganzoo_core.discovery.manifest.cards import Suits
from ganzoo_core.messages import pluralise
from ganzoo_core.report.run_record import RunRecord
from ganzoo_core.terminal import tables
from ganzoo_core.terminal.progress import Progress, format_progress

HEAVY = {"torch", "tensorflow", "torchvision", "keras", "sklearn"}
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")
MODEL = """
[models.{0}]
title = "A model called {0}"
framework = "{1}"
hooks = "zoo.hooks"
[models.{0}.defaults]
use.loss = "plain"
model.norm = "batch"
[models.{0}.choices]
model.norm = ["batch", "layer"]
[models.{0}.presets.small]
model.norm = "layer"
"""
MANIFEST = """api = 1
[losses.plain]
title = "Nothing but the adversarial term, told at a length that no narrow window can show in one line"
hooks = "zoo.hooks"
aliases = ["simple"]
[losses.plain.defaults]
loss.weight = 1.0
[losses.torch-only]
title = "In PyTorch alone"
framework = "torch"
hooks = "zoo.hooks"
[modifiers.first]
title = "First"
hooks = "zoo.hooks"
[modifiers.second]
title = "[bold]no markup[/bold] :smile: [/]"
hooks = "zoo.hooks"
[trackers.watcher]
title = "Watches"
hooks = "zoo.hooks"
[datasets.files]
title = "Files"
argument = "required"
hooks = "zoo.hooks"
""" + "".join(MODEL.format(name, framework) for name, framework in (("in-torch", "torch"), ("in-tf", "tensorflow")))


@pytest.fixture(scope="module")
def zoo(make_site):
    site = make_site()
    site.add("zoo", MANIFEST)
    site.add("ruined", "api = 1\n[[[")
    site.add("fake-torch", entry_points="")  # --version must not care for what is no framework
    return site


@pytest.fixture
def on_terminal(zoo, start):
    """What `ganzoo WORDS`, or `python -c CODE`, writes to a terminal of so many columns, and its exit code."""
    return lambda columns, *words, **env: read_terminal(start, zoo, columns, *words, **env)


def read_terminal(start, site, columns, *words, **env):
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    quiet = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"PYTHONPATH": str(site.path), "GANZOO_PLUGINS": "zoo,ruined", "TERM": "xterm-256color", **env}
    command = words if words[0] == "-c" else ("-m", "ganzoo_core", *words)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"".join(n.to_bytes(2, sys.byteorder) for n in (50, columns, 0, 0)))
    process = start(*command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:  # until the process ends, or is killed because it took too long
        try:
            piece = os.read(ours, 65536)
        except OSError:  # what a terminal without a writer says
            break
        if not piece:
            break
        written += piece
    code = process.wait(60)
    os.close(ours)
    return written.decode().replace("\r\n", "\n"), code


def lines(written):
    return [line.rstrip() for line in ESCAPE.sub("", written).split("\n")]


def test_colours_are_there_and_can_be_refused(on_terminal):
    coloured, code = on_terminal(200, "list")
    assert code == 0
    assert COLOUR.search(coloured)
    plain, _ = on_terminal(200, "list", NO_COLOR="1")
    assert not COLOUR.search(plain)
    assert lines(plain) == lines(coloured)
    assert "[bold]no markup[/bold] :smile: [/]" in plain


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_list_breaks_no_word_and_leaves_nothing_out(on_terminal, zoo, columns):
    written, _ = on_terminal(columns, "list")
    told = lines(written)
    assert max(map(len, told)) <= columns
    words = " ".join(told).split()
    for row in zoo.rows(env={"GANZOO_PLUGINS": "zoo,ruined"}):
        for cell in ("name", "title", "distribution", "state"):
            assert set(row[cell].split()) <= {word.rstrip(":") if cell == "state" else word for word in words}


def test_a_narrow_refusal_breaks_between_words(on_terminal):
    written, code = on_terminal(40, "info", "losses/plian")
    assert code == 2
    assert len(lines(written)) > 2
    assert max(map(len, lines(written))) <= 40
    assert " ".join(" ".join(lines(written)).split()).endswith("no loss is called 'plian'; did you mean plain?")
    written, code = on_terminal(40, "rnu", "in-torch")
    assert code == 2
    assert max(map(len, lines(written))) <= 40


def test_narrow_information_and_help_fit(on_terminal):
    for words in (["info", "in-torch"], ["--help"], ["doctor", "ruined", "--quick"]):
        written, _ = on_terminal(40, *words)
        # A path or a version's long word may stand out; a sentence may not.
        assert not [line for line in lines(written) if len(line) > 40 and " " in line.strip()]


@pytest.mark.parametrize("columns", ["", "40", " 40", "+4_0", "0", "-3", "wide", "9" * 5000])
def test_help_is_as_wide_as_argparse_makes_it(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert Parser()._get_formatter()._width == argparse.ArgumentParser()._get_formatter()._width


REPORTS = """
import sys
from ganzoo_core.terminal.progress import Progress, Reporter
terms = {"discriminator/adversarial": 1.214, "discriminator/gradient_penalty": 0.031,
         "discriminator/accuracy_real": 0.98, "discriminator/accuracy_fake": 0.944, "generator/adversarial": 0.832}
told = Progress(images=3200, end=80000, step=50, steps=1250, epoch=2, epochs=56, images_per_second=850.4,
                seconds_left=90.3, terms=terms, values={"resolution": 8})
with Reporter() as reporter:
    reporter.report(told)
    reporter.live and reporter.live.refresh()
    reporter.warn("this is a note that is longer than forty columns of a terminal are wide")
"""
VALUES = ["epoch 3/56", "step 50/1250", "3,200 images", "850 img/s", "1 min 30 s left", "D gradient_penalty 0.031"]
VALUES += ["D 1.21", "D accuracy 0.98/0.94", "G 0.832", "resolution 8"]


@pytest.mark.parametrize("columns", [30, 40, 100, 240])
def test_the_live_line_shows_every_value_at_any_width(on_terminal, columns):
    written, code = on_terminal(columns, "-c", REPORTS)
    assert code == 0
    shown = [line for line in re.split(r"[\r\n]", ESCAPE.sub("", written)) if line.strip()]
    assert max(map(len, shown)) <= columns
    for value in VALUES:
        assert any(value in line for line in shown), value
    assert "…" not in written
    assert "forty columns" in " ".join(" ".join(shown).split())


def test_a_pipe_has_the_same_form_whatever_is_said_of_colours(zoo):
    usual = zoo.run("list", env={"GANZOO_PLUGINS": "zoo"})
    forced = zoo.run("list", env={"GANZOO_PLUGINS": "zoo", "FORCE_COLOR": "1", "COLUMNS": "40"})
    assert forced.stdout == usual.stdout
    assert "\t" in usual.stdout
    told = {name: zoo.python("-c", REPORTS, env={name: "1"}).stderr for name in ("FORCE_COLOR", "NO_COLOR")}
    assert COLOUR.search(told["FORCE_COLOR"])
    assert "\x1b" not in told["NO_COLOR"]
    assert ESCAPE.sub("", told["FORCE_COLOR"]) == told["NO_COLOR"]  # no line that lives in a pipe
    assert len(told["NO_COLOR"].splitlines()) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


WORD = st.text("abcdefgh-_./0123", min_size=1, max_size=14)
CELL = st.lists(WORD, min_size=1, max_size=12).map(" ".join)


@given(
    rows=st.integers(2, 6).flatmap(
        lambda columns: st.lists(st.lists(CELL, min_size=columns, max_size=columns), min_size=1, max_size=4)
    ),
    width=st.integers(30, 160),
)
def test_a_table_of_any_width_keeps_every_word_whole(rows, width):
    columns = [f"c{number}" for number in range(len(rows[0]))]
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TERM", "xterm-256color")
        tables.print_table(columns, rows)
    told = ESCAPE.sub("", terminal.getvalue())
    assert all(len(line) <= width or " " not in line.strip() for line in map(str.rstrip, told.splitlines()))
    words = told.split()
    for row in rows:
        for cell in row:
            for word in cell.split():
                # `-` alone stands for nothing, which a paragraph leaves out.
                assert cell == "-" or word in words


@pytest.mark.parametrize("width", [80, 12])
def test_a_row_may_be_grey(width, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    tables.print_table(("score", "value"), [("kid", "plain"), ("fid", "doubtful")], faint=[1])
    first, _, second = terminal.getvalue().partition("fid")
    assert first.endswith("\x1b[2m") or first.endswith("\x1b[1;2m")
    assert re.search(r"\x1b\[[\d;]*2m[^\x1b]*doubtful", second)
    assert not re.search(r"\x1b\[[\d;]*2m[^\x1b]*plain", first)


# Answers half-typed lines, each in a fork of a process that has imported the command line once.
SHELL = """
import json, os, sys
from ganzoo_core import cli
shell, place, *lines = sys.argv[1:]
os.environ |= {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": shell, "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_TYPE": "9",
               "_ARGCOMPLETE_STDOUT_FILENAME": place, "_ARGCOMPLETE_IFS": "\\n",
               "_ARGCOMPLETE_COMP_WORDBREAKS": " \\t\\n\\"'><=;|&(:"}
leave = os._exit
def exit(code):
    with open(place + ".modules", "w") as file:
        file.write(" ".join(sys.modules))
    leave(code)
os._exit = exit
answers = []
for line in lines:
    os.environ |= {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    child = os.fork()
    if not child:
        cli.main([])
        leave(9)
    assert os.waitpid(child, 0)[1] == 0, line
    with open(place) as file:
        answers.append([word for word in file.read().split("\\n") if word])
    os.unlink(place)
print(json.dumps(answers))
"""


def completed(site, *lines, shell="bash"):
    """For each half-typed line the words that a shell is told, with what it shows of each."""
    if not hasattr(os, "fork"):
        pytest.skip("there are no such shells here")
    place = site.path.parent / "completed"
    done = site.python("-c", SHELL, shell, place, *lines, env={"GANZOO_PLUGINS": "zoo,ruined"})
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


TABS = {
    "ganzoo ge": ["generate"],
    "ganzoo run ": ["in-tf", "in-torch"],
    "ganzoo run in-tf --loss ": ["plain"],
    "ganzoo run in-torch --loss ": ["plain", "torch-only"],
    "ganzoo run in-torch --loss si": ["simple"],
    "ganzoo run in-tf --generator ": ["in-tf"],
    "ganzoo run zoo/": ["zoo/in-tf", "zoo/in-torch"],
    "ganzoo run in-torch --with first,": ["first,second"],
    "ganzoo run in-torch --track ": ["watcher"],
    "ganzoo run in-torch --data ": ["files:"],
    "ganzoo run in-torch --preset ": ["small", "none"],
    "ganzoo run in-torch --set model.n": ["model.norm="],
    "ganzoo run in-torch --set loss.": ["loss.weight="],
    "ganzoo run in-torch --set model.norm=l": ["layer"],
    "ganzoo run in-torch --device ": ["auto", "cpu", "cuda", "mps"],
    "ganzoo sweep in-torch --over lo": ["loss=", "loss.weight="],
    "ganzoo sweep in-torch --over loss=plain,t": ["plain,torch-only"],
    "ganzoo sweep in-torch --over model.norm=batch,": ["batch,layer"],
    "ganzoo info f": ["files", "first"],
    "ganzoo doctor ru": ["ruined"],
    "ganzoo doctor --no-plugin ": ["ruined", "zoo"],
    "ganzoo info --no-plugin zoo ": [],
    "ganzoo info --no-plugin zooo ": [],
    "ganzoo list mod": ["models", "modifiers"],
    "ganzoo generate nowhere --class ": [],
}


def test_tab_offers_what_is_installed(zoo):
    assert dict(zip(TABS, completed(zoo, *TABS), strict=True)) == TABS


def test_tab_offers_what_a_saved_generator_holds(zoo, tmp_path, make_card):
    run = tmp_path / "run"
    for folder in ("generator", "snapshots/9000", "snapshots/10000"):
        (run / folder).mkdir(parents=True)
    card = make_card(class_names=["bag", "belt", "coat"], untrained_classes=[1])
    (run / "generator/generator.json").write_text(json.dumps(card))
    classes, checkpoints = completed(zoo, f"ganzoo generate {run} --class ", f"ganzoo generate {run} --checkpoint ")
    assert classes == ["bag", "coat", "all"]
    assert checkpoints == ["last", "best", "9000", "10000"]


def test_tab_shows_titles_where_the_shell_can_and_imports_nothing_heavy(zoo):
    (offered,) = completed(zoo, "ganzoo run ", shell="zsh")
    assert offered == ["in-tf:A model called in-tf", "in-torch:A model called in-torch"]
    modules = set((zoo.path.parent / "completed.modules").read_text().split())
    assert "argcomplete" in modules
    assert not modules & (HEAVY | {"zoo"})


def test_no_other_command_pays_for_completion(zoo):
    code = "import sys\nfrom ganzoo_core.cli import main\nmain(['list'])\nprint('MODULES', *sys.modules)\n"
    modules = set(zoo.python("-c", code).stdout.splitlines()[-1].split())
    assert not {name for name in modules if name.startswith("argcomplete")}


def test_the_version_names_frameworks_and_devices(zoo):
    code = "import sys\nfrom ganzoo_core.cli import main\nmain(sys.argv[1:])\nprint('MODULES', *sys.modules)\n"
    done = zoo.python("-c", code, "--version")
    told = done.stdout.splitlines()
    assert told[0] == f"ganzoo {importlib.metadata.version('ganzoo-core')}"
    assert told[1].startswith(f"python {sys.version.split()[0]} on ")
    assert any(line.startswith("device cpu: ") for line in told)
    assert not set(told[-1].split()) & HEAVY
    facts = json.loads(zoo.run("--version", "--json").stdout)
    assert facts["schema"] == 1
    for name in ("torch", "tensorflow"):
        try:
            expected = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            expected = None
            assert f"{name} is not installed; pip install ganzoo-core[" in done.stdout
        assert facts["frameworks"][name][name] == expected
    assert facts["devices"][0]["kind"] == "cpu"
    for words in (["--json"], ["--json", "list"]):
        refused = zoo.run(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "ganzoo list --json" in refused.stderr


def test_cards_are_found_by_the_drivers_files_and_else_by_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "NVIDIA_DRIVER", tmp_path / "gpus")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [kind for kind, _ in version.list_devices() if kind == "cuda"] == []
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho NVIDIA A\necho NVIDIA B\n")
    command.chmod(0o755)
    assert [name for kind, name in version.list_devices() if kind == "cuda"] == ["NVIDIA A", "NVIDIA B"]
    command.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert [name for kind, name in version.list_devices() if kind == "cuda"] == []
    card: Path = tmp_path / "gpus" / "0000:01:00.0" / "information"
    card.parent.mkdir(parents=True)
    card.write_text("Model: \t\t NVIDIA H200\nIRQ:   \t\t 5\n")
    assert [name for kind, name in version.list_devices() if kind == "cuda"] == ["NVIDIA H200"]


def test_of_one_thing_there_is_no_plural() -> None:
    """A run of a single step of a single image, and what is said of it."""
    assert [pluralise(count, "image") for count in (0, 1, 2, 1200)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,200 images",
    ]
    progress = Progress(
        images=1, end=1, step=1, steps=1, epoch=1, epochs=1, images_per_second=1.0, seconds_left=0.0, terms={}
    )
    single = gz.ImageSource(np.zeros((1, 8, 8, 1), np.uint8))
    double = gz.ImageSource(np.zeros((2, 8, 8, 1), np.uint8))
    prints = [fingerprint.compute_fingerprint(source) for source in (single, double)]
    run = RunRecord(Path("run"), {}, {}, {"images": [1.0], "generator/loss": [float("nan")]}, [], {})
    said = [
        format_progress(progress),
        str(Suits(max_images=1)),
        *gz.hold_out(single, "train", {"holdout": 0}).notes,
        *changes.explain_changes(*prints),
        *changes.explain_changes(*reversed(prints)),
        run.state,
    ]
    assert not [text for text in said if re.search(r"\b1 \w{2,}s\b", text)], said
    assert "1 image was there and 2 are" in said[3]
    assert "2 images were there and 1 is" in said[4]
