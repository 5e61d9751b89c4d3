"""A slice of `fuzz.py`, and whether it notices what it is there for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks")

HERE = Path(__file__).parent
# What a reader may not do, and a part of what is then said of it.
ACTS = {
    "raise ValueError('x')": "ValueError",
    "sys.exit()": "SystemExit",
    "raise UsageError('a' + chr(10) + 'b')": "a sentence of several lines",
    "raise UsageError('')": "a sentence of 0 characters",
    "raise UsageError('a' * 10_000)": "a sentence of 10,000 characters",
    "raise PluginError('x')": "exit code 3",
    "open(case.parent / 'outside' / 'secret').read()": "open beyond its folder, for reading",
    "(case.parent / 'outside' / 'secret').unlink()": "os.remove",
    "ctypes.CDLL(None).unlink(b'../outside/secret')": "changed in/outside",
    "(case.parent / 'more').symlink_to('x')": "os.symlink",
    "os.mkdir('../new')": "changed in/new",
    "open('/dev/full', 'w')": "open for writing",
    "import pictures.x": "import of pictures",
    "subprocess.run(['true'])": "subprocess.Popen",
    "print(chr(27) + '[2J')": "wrote to the terminal",
    "print(chr(0x202e), file=sys.stderr)": "wrote to the terminal",
    "os._exit(0)": "the process ended with 0",
    "ctypes.string_at(0)": "the process ended with -11",
    "bytearray(3 * 2**30)": "MemoryError",
    "open(case / 'pipe').read()": "over 3 seconds",
    "ctypes.CDLL(None).sleep(60)": "over 3 seconds",
}
PROGRAM = """
import ctypes, functools, json, os, subprocess, sys
from pathlib import Path
sys.path[:0] = ["", {here!r}]
import fuzz
from fuzzing import pool
from fuzzing.kinds import Kind
from ganzoo_core.errors import PluginError, UsageError

def act(path):
    case = path.parent
    os.mkfifo(case / "pipe")
    exec(path.read_text())

acts = {acts!r}
kinds = {{text: Kind(text, "a", text.encode(), act) for text in acts}}
start = functools.partial(fuzz.start_worker, kinds, {{"secret": b"x"}}, 0)
cases = iter([pool.Case(text, -1) for text in acts])
results = pool.run_cases(cases, start, Path({place!r}), workers=2, seconds=3)
print(json.dumps({{case.kind: [result.outcome, result.group] for case, result in results}}))
"""


@pytest.fixture(scope="module")
def noticed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of each act; one worker after the other does them."""
    place = tmp_path_factory.mktemp("workers")
    program = PROGRAM.format(here=str(HERE), acts=["pass", *ACTS, "case"], place=str(place))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_damaged_files_are_read_or_refused() -> None:
    """A few of each kind, and of run folders with links and pipes in them; a hang or a crash would be a fault."""
    command = [sys.executable, HERE / "fuzz.py", "--count", "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["faults"] == 0
    assert counts["kinds"] == len(counts["by kind"]) > 40
    assert counts["refused"] > 200
    assert counts["read"] > 50


@pytest.mark.parametrize("act", ACTS)
def test_whatever_a_reader_does_wrong_is_a_fault(noticed: dict[str, list[str]], act: str) -> None:
    outcome, words = noticed[act]
    assert outcome == "fault"
    assert ACTS[act] in words


@pytest.mark.parametrize("act", ["pass", "case"])
def test_a_reader_before_and_after_faults_is_well(noticed: dict[str, list[str]], act: str) -> None:
    assert noticed[act] == ["read", ""]
