"""Looking at what is installed imports little: that is what makes it quick, and unlike its time it can be tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each takes longer to import than the rest of such a command takes to run.
SLOW = {"numpy", "packaging", "rich", "yaml", "PIL", "safetensors", "pluggy", "asyncio", "urllib.request"}
CODE = """
import sys
from ganzoo_core.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("MODULES", *sys.modules)
"""


@pytest.mark.parametrize(
    "words",
    [["--help"], ["run", "--help"], ["list"], ["list", "--json"], ["info", "digits"], ["info", "hinge", "--json"]],
    ids=" ".join,
)
def test_looking_imports_little(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True, timeout=300)
    told, _, modules = done.stdout.rpartition("MODULES ")
    assert told
    assert not SLOW & set(modules.split())
