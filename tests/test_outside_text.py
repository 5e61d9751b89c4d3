"""Text from outside on a terminal or a page: whatever a file, a plugin or a data set is called, it gives no orders."""

from __future__ import annotations

import argparse
import ast
import io
import json
import subprocess
import sys
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from ganzoo_core import cli
from ganzoo_core.cli import completion, evaluate
from ganzoo_core.cli.parser import Parser
from ganzoo_core.errors import UsageError
from ganzoo_core.html import chart, markup
from ganzoo_core.report import notebook
from ganzoo_core.runs.scores import Score
from ganzoo_core.terminal import tables
from ganzoo_core.terminal.progress import Progress, Reporter, show_status
from ganzoo_core.terminal.text import clean_text, to_one_line, write_exact, write_json, write_line, write_paragraph

ROOT = Path(__file__).parents[1]
CLEAR, RIGHT_TO_LEFT, TITLE = "\x1b[2J", "\u202e", "\x1b]0;owned\x07"
# Controls (C0 and C1), marks of direction and other formats, lone surrogates, separators of lines, private letters.
FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
NASTY = "".join(
    map(
        chr,
        [
            *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F),
            *range(0x2060, 0x2070), 0xD800, 0xDCFF, 0xFEFF, 0xFFF9, 0xE0001, 0xE0041, 0xE007F, 0xE000,
        ],
    )
)  # fmt: skip
outside = st.text(st.one_of(st.sampled_from(NASTY + "[]\\:;ab🦊"), st.characters()), max_size=30)
several = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Screen(io.StringIO):
    """A terminal that remembers what reached it."""

    def isatty(self):
        return True


@contextmanager
def screen():
    """stdout and stderr as one terminal, on which rich writes no codes of its own: each code came from the text."""
    made = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "dumb")
        patch.setenv("COLUMNS", "60")
        for name in ("FORCE_COLOR", "COLORTERM", "NO_COLOR"):
            patch.delenv(name, raising=False)
        patch.setattr(sys, "stdout", made)
        patch.setattr(sys, "stderr", made)
        yield made


def check(written, also=""):
    """Nothing but letters and ends of lines."""
    assert [hex(ord(letter)) for letter in written if letter not in f"\n{also}" and is_forbidden(letter)] == []


def is_forbidden(letter):
    return unicodedata.category(letter) in FORBIDDEN


def progress(name):
    return Progress(
        images=1,
        end=2,
        step=1,
        steps=2,
        epoch=0,
        epochs=1,
        images_per_second=1,
        seconds_left=1,
        terms={name: 1.0},
        values={name: 2.0},
    )


def score(name):
    return Score(
        images=1,
        scores={name: 1.0, "fid": 2.0},
        classes={name: {name: 1.0}},
        better={},
        real={},
        protocol={
            "samples": 1, "reference_count": 1, "data": name, "reference": name, "seed": 0, "extractor": {"name": name},
        },
        extra={},
    )  # fmt: skip


def refuse(words):
    with pytest.raises(SystemExit):
        Parser(prog="ganzoo").error(words)


def work(text):
    with show_status(text) as update:
        update(text)


ROUTES = {
    "say": lambda text: Reporter().say(text),
    "warn": lambda text: Reporter(quiet=True).warn(text),
    "report": lambda text: Reporter().report(progress(text)),
    "epoch": lambda text: Reporter().report_epoch(progress(text)),
    "live line": lambda text: Console().print(Reporter()._make_line(progress(text))),
    "table": lambda text: tables.print_table((text, text), [(text, text)], title=text),
    "narrow table": lambda text: tables.print_table((text, "b" * 50, "c" * 50), [(text, text, text)], title=text),
    "line": lambda text: write_line(text),
    "line on stderr": lambda text: write_line(text, sys.stderr),
    "paragraph": lambda text: write_paragraph(text, sys.stderr, indent="  "),
    "path": lambda text: write_exact(text),
    "scores": lambda text: evaluate._print_scores([score(text)]),
    "scores of several": lambda text: evaluate._print_scores([score(text), score(text)]),
    "usage": refuse,
}


@pytest.mark.parametrize("route", ROUTES)
@several
@given(text=outside)
@example(text=NASTY)
@example(text="[/] [link=https://example.invalid]here[/link] [bold] :smile: \\")
def test_nothing_that_a_terminal_obeys_reaches_it(route, text):
    with screen() as shown:
        ROUTES[route](f"begin {text} end")
    assert "begin" in shown.getvalue()
    check(shown.getvalue())


def test_work_under_way_is_told_clean():
    with screen() as shown, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")  # on a dumb one it is not shown
        work(f"begin {CLEAR}{TITLE}{RIGHT_TO_LEFT}\u009b2J[/] end")
    assert "begin" in shown.getvalue()
    for order in (CLEAR, "\x1b]", "\x07", RIGHT_TO_LEFT, "\u009b"):
        assert order not in shown.getvalue()


@pytest.mark.parametrize("text", [NASTY, f"a{CLEAR}b", RIGHT_TO_LEFT])
def test_error_sentences_are_clean(text, monkeypatch):
    def execute(args):
        raise UsageError(text + "end")

    monkeypatch.setattr("ganzoo_core.cli.listing.execute", execute)
    with screen() as shown:
        assert cli.main(["list"]) == 2
    assert "end" in shown.getvalue()
    check(shown.getvalue())


def test_tracebacks_and_warnings_are_clean(tmp_path):
    """Python writes them itself, in whichever process."""
    code = (
        "import sys, threading, warnings\nfrom ganzoo_core import cli\n"
        "def fail():\n    raise ValueError(text)\n"
        "def execute(args):\n    warnings.warn(text, UserWarning)\n"
        "    thread = threading.Thread(target=fail)\n    thread.start()\n    thread.join()\n    fail()\n"
        f"text = {NASTY + CLEAR + 'end'!r}\n"
        "import ganzoo_core.cli.listing as listing\nlisting.execute = execute\n"
        "sys.argv = ['ganzoo', 'list']\nsys.exit(cli.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "ValueError" in told
    assert "UserWarning" in told
    assert told.count(" [2Jend") == 3
    check(told, also="\t")


@pytest.mark.parametrize("route", [name for name in ROUTES if name != "path"])
def test_what_is_piped_is_clean_as_well(route, capsys):
    ROUTES[route](NASTY)
    told = capsys.readouterr()
    check(told.out + told.err, also="\t")  # between the cells of a table


@several
@given(text=outside)
@example(text=NASTY)
def test_json_is_exact_and_has_no_such_letter(text, capsys):
    capsys.readouterr()
    write_json({"text": text})
    written = capsys.readouterr().out
    check(written)
    assert json.loads(written) == json.loads(json.dumps({"text": text}))


def test_letters_of_every_script_stay():
    for text in ("naïve café", "Привет", "日本語", "שלום", "مرحبا", "नमस्ते", "🦊 fox", "a\u0301"):
        assert clean_text(text) == to_one_line(text) == text


def test_a_path_stays_exact_in_a_pipe_and_is_clean_on_a_terminal(capsys, monkeypatch):
    name = f"runs/a{CLEAR}b"
    write_exact(name)
    assert capsys.readouterr().out == f"{name}\n"
    made = Screen()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", made)
        write_exact(name)
    assert made.getvalue() == "runs/a [2Jb\n"


@pytest.mark.parametrize("words", [["generate"], ["judge", "x.png"], ["report"], ["resume"], ["compare"], ["evaluate"]])
def test_a_file_name_that_clears_the_screen(tmp_path, words):
    folder = tmp_path / f"run{CLEAR}{TITLE}\udcff"
    folder.mkdir()
    with screen() as shown:
        assert cli.main([words[0], str(folder), *words[1:]]) == 2
    assert "run [2J" in " ".join(shown.getvalue().split())
    check(shown.getvalue())


def test_a_new_plugin_in_a_folder_that_clears_the_screen(tmp_path):
    with screen() as shown:
        assert cli.main(["new", "mine", "--kind", "loss", "--out", str(tmp_path / f"at{CLEAR}")]) == 0
    assert "what to do next:" in shown.getvalue()
    assert "at [2J" in shown.getvalue()
    check(shown.getvalue())


def test_a_title_that_gives_orders_is_a_problem_of_its_plugin(make_site):
    site = make_site()
    title = json.dumps(f"Nice{CLEAR}{RIGHT_TO_LEFT}")
    site.add("zoo", f'api = 1\n[losses.plain]\ntitle = {title}\nhooks = "zoo.hooks"\n')
    row = next(row for row in site.rows() if row["name"] == "plain")
    assert row["state"] != "ok"
    assert row["title"] == ""


def test_the_shell_is_offered_clean_words():
    offer = completion.guard(lambda prefix, args: {"plain": f"Nice{CLEAR}", f"class{CLEAR}": "a class"})
    assert offer("", argparse.Namespace()) == {"plain": "Nice [2J"}


def test_a_file_with_such_a_name_is_not_offered():
    assert completion._is_suggestion("runs/one", "ru")
    assert not completion._is_suggestion("other", "ru")
    assert not completion._is_suggestion(f"runs/{CLEAR}", "ru")


@several
@given(text=outside)
@example(text=NASTY)
def test_a_page_holds_nothing_that_turns_its_text_around(text):
    data = markup.make_json_script("data", {text: [text, {"name": text}]})
    check(markup.tag("p", text, title=text) + markup.render_table((text,), [(text, text)], caption=text), also="\t")
    held = json.loads(data.partition(">")[2].removesuffix("</script>"))
    check(json.dumps(held, ensure_ascii=False), also="\t")
    assert str(held).count(clean_text(text)) >= 3 or not text.isprintable()
    series = [{"name": text, "colour": place, "x": [1], "y": [2.0]} for place in (0, 1)]
    check(
        chart.draw_sheet([{"id": text, "title": text, "unit": text, "series": series, "marks": [[1, text]]}]), also="\t"
    )


def test_a_notebook_is_told_clean_text():
    sent = []
    live = notebook.NotebookReporter(sent.append)
    live.warn(NASTY)
    live.say(f"two{CLEAR}")
    live.report(progress(f"loss{RIGHT_TO_LEFT}"))
    for bundle in sent:
        for content in bundle.values():
            check(content, also="\t")


def test_a_child_that_fails_says_why_in_clean_text(tmp_path, monkeypatch, capfd):
    from ganzoo_core.errors import GanzooError
    from ganzoo_core.processes import Child

    (tmp_path / "failing.py").write_text(
        "from ganzoo_core.processes import serve\n"
        "def answer(request, say):\n    raise ValueError(request['text'])\n"
        "serve(answer)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Child("failing", "fails") as child, pytest.raises(GanzooError, match="ended with 1"):
        child.ask({"text": f"a{CLEAR}{RIGHT_TO_LEFT}b"}, print)
    told = capfd.readouterr().err
    assert "ValueError: a [2J b" in told
    check(told)


def test_one_place_writes_on_a_terminal() -> None:
    """One room writes, `terminal`, plainly and with rich; the scripts of `plain.py` are read and run alone."""
    rooms = ("text", "tables", "rich_tables", "bars", "progress")
    places = [ROOT / f"ganzoo_core/terminal/{name}.py" for name in rooms]
    found = []
    for path in [*ROOT.glob("ganzoo_core/**/*.py"), *ROOT.glob("plugins/*/ganzoo_*/**/*.py")]:
        if path.name == "plain.py" or path in places:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            streams = name.startswith(("sys.stdout.write", "sys.stderr.write"))
            if streams or name in ("print", "Console", "traceback.print_exc"):
                found.append((path.relative_to(ROOT).as_posix(), ast.unparse(node)))
    # A plugin has the same function by its public name.
    assert all("gz.clean_text(" in call for _, call in found if call.startswith("print")), found
    assert {path for path, _ in found} == {
        "plugins/ganzoo-trackers/ganzoo_trackers/weights_and_biases.py",
    }
