"""Processes that work for this one: what they answer, how they fail, and that they end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ganzoo_core.errors import DataError, GanzooError, PluginError, UsageError
from ganzoo_core.processes import Child, ChildEnded, PrintingProcess, ProcessResult, ProcessTimeout, run_process


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Make a child that runs some code; `request` is what it was asked."""

    def make(code):
        (tmp_path / "helper.py").write_text(
            "import os, sys, time\nfrom ganzoo_core.errors import *\nfrom ganzoo_core.processes import serve\n"
            "def told_to():\n    return max(int(name) for name in os.listdir('/proc/self/fd')"
            " if os.path.exists(f'/proc/self/fd/{name}') and os.readlink(f'/proc/self/fd/{name}').startswith('pipe'))\n"
            f"def answer(request, say):\n    {code}\n\nif __name__ == '__main__':\n    serve(answer)\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Child("helper", "helps")

    return make


def test_a_child_answers_and_says(child):
    said = []
    with child("say(f'about {request[\"x\"]}'); print('noise'); return {'twice': 2 * request['x']}") as process:
        assert [process.ask({"x": x}, said.append)["twice"] for x in (1, 2)] == [2, 4]
    assert said == ["about 1", "about 2"]


def test_errors_come_over_as_they_were_raised(child):
    with child(
        "raise [UsageError, DataError, PluginError, GanzooError, MemoryError][request['x']]('a sentence')"
    ) as process:
        for number, kind in enumerate((UsageError, DataError, PluginError, GanzooError)):
            with pytest.raises(kind, match="a sentence") as error:
                process.ask({"x": number}, print)
            assert type(error.value) is kind
        with pytest.raises(GanzooError, match="not enough memory"):
            process.ask({"x": 4}, print)


def test_a_child_that_breaks_tells_why_and_ends(child, capfd):
    with child("raise RuntimeError('the reason')") as process:
        for _ in range(2):
            with pytest.raises(GanzooError, match="the process that helps ended with 1: what it said stands above"):
                process.ask({}, print)
    assert "the reason" in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_a_child_that_was_killed_is_told_of(child):
    with (
        child("os.kill(os.getpid(), 9)") as process,
        pytest.raises(GanzooError, match="ended with -9: out of memory, perhaps; try again with fewer images"),
    ):
        process.ask({}, print)


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
def test_a_child_ends_with_its_parent_in_the_middle_of_work(child, start):
    child("say(str(os.getpid())); time.sleep(600)").close()
    code = "from ganzoo_core.processes import Child\n"
    code += "Child('helper', 'helps').ask({}, lambda text: print(text, flush=True))"
    parent = start("-c", code, stderr=None)
    number = int(parent.stdout.readline())
    os.kill(number, 0)  # it is there
    os.kill(number, signal.SIGINT)  # Ctrl-C is the parent's matter
    parent.kill()
    parent.wait(timeout=60)
    for _ in range(500):
        try:
            os.kill(number, 0)
            done = Path(f"/proc/{number}/stat")
            if done.exists() and done.read_text().rpartition(")")[2].split()[0] == "Z":
                break  # it has ended, and nobody has asked how
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        pytest.fail("it goes on")


def test_a_child_that_dies_in_the_middle_of_its_answer_has_ended(child):
    with (
        child('os.write(told_to(), b\'{"answer": {"x\'); os._exit(7)') as process,
        pytest.raises(ChildEnded, match="the process that helps ended with 7"),
    ):
        process.ask({}, print)


def test_a_child_that_was_closed_has_ended(child):
    process = child("return {}")
    process.close()
    with pytest.raises(ChildEnded, match="the process that helps ended"):
        process.ask({}, print)


def test_a_program_is_run_to_its_end():
    code = "import sys; sys.stdout.buffer.write(b'one \\xff'); sys.stderr.write(sys.stdin.read() + 'two'); sys.exit(3)"
    assert run_process([sys.executable, "-c", code], timeout=60) == ProcessResult(
        3, "one \N{REPLACEMENT CHARACTER}", "two"
    )


def test_a_program_that_takes_too_long_is_killed():
    with pytest.raises(ProcessTimeout, match="took over 1 s"):
        run_process([sys.executable, "-c", "import time; time.sleep(600)"], timeout=1)


@pytest.mark.parametrize(("rest", "was_late"), [("", False), ("; time.sleep(600)", True)])
def test_lines_are_read_until_the_program_ends_or_its_time_does(tmp_path, rest, was_late):
    code = f"import sys, time; print('one', flush=True); sys.stderr.write('two'); sys.stderr.flush(){rest}"
    with (
        (tmp_path / "errors").open("w+b") as errors,
        PrintingProcess(
            [sys.executable, "-c", code],
            timeout=3 if was_late else 60,
            folder=tmp_path,
            environment=os.environ,
            stderr=errors,
        ) as process,
    ):
        assert list(process.read_lines()) == ["one\n"]
        assert (process.finish() == 0) is not was_late
        assert process.timed_out is was_late
        errors.seek(0)
        assert errors.read() == b"two"


def test_a_program_whose_lines_nobody_reads_any_more_ends(tmp_path):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    words = {"timeout": 60, "folder": tmp_path, "environment": os.environ}
    with (tmp_path / "errors").open("wb") as errors:
        with PrintingProcess([sys.executable, "-c", code], stderr=errors, **words) as process:
            number = int(next(process.read_lines()))
            os.kill(number, 0)  # it is there
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
