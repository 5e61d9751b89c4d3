"""What is asked of the C library: that freed memory stays with the process."""

import resource
import subprocess
import sys

import pytest

from ganzoo_core.engines.torch import malloc

PAGES = 48_000_000 / resource.getpagesize()
# The file alone, which spares the child PyTorch; Python takes large objects from the same malloc.
CHURN = """
import resource, runpy, sys
start = runpy.run_path(sys.argv[1])
print(start["keep_freed_memory"]() if sys.argv[2] == "keep" else False)
x = b"x" * 48_000_000  # more than glibc keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    x = None
    x = b"x" * 48_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not malloc.is_glibc(), reason="the setting is of GNU's C library")
def test_freed_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in malloc.USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert _churned("keep") == ("True", pytest.approx(0, abs=0.05 * PAGES))
    assert _churned("leave") == ("False", pytest.approx(5 * PAGES, rel=0.05))


@pytest.mark.skipif(not malloc.is_glibc(), reason="the setting is of GNU's C library")
def test_a_users_own_choice_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not malloc.keep_freed_memory()


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in malloc.USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(malloc.os, "confstr", lambda _: None)
    assert not malloc.keep_freed_memory()


def _churned(how: str) -> tuple[str, int]:
    command = [sys.executable, "-c", CHURN, malloc.__file__, how]
    told, faults = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.split()
    return told, int(faults)
