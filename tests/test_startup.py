"""Looking at what is installed imports little: that is what makes it quick, and unlike its time it can be tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each takes longer to import than the rest of such a command takes to run.
SLOW = {"numpy", "packaging", "rich", "yaml", "PIL", "safetensors", "pluggy", "asyncio", "urllib.request"}
# Each takes a measurable share of that time.
UNUSED = {"importlib.metadata", "email", "zipfile", "shutil", "socket", "hashlib", "fractions", "argcomplete"}
UNUSED |= {"ganzoo_core.api", "ganzoo_core.cli.run", "ganzoo_core.cli.doctor", "ganzoo_core.python_api"}
# What only those commands need that read a manifest.
MANIFESTS = {"ganzoo_core.discovery", "ganzoo_core.settings", "ganzoo_core.distributed", "tomllib", "json"}
CODE = """
import sys
before = set(sys.modules)  # `site` may have imported anything
from ganzoo_core.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("MODULES", *set(sys.modules) - before)
"""


def list_imports(*words: str) -> set[str]:
    """What a command imports."""
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True, timeout=300)
    told, _, modules = done.stdout.rpartition("MODULES ")
    assert told or done.stderr
    return set(modules.split())


@pytest.mark.parametrize("words", [["run", "--help"], ["doctor", "--help"], ["info", "nothing"]], ids=" ".join)
def test_looking_imports_little(words: list[str]) -> None:
    assert not SLOW & list_imports(*words)


@pytest.mark.parametrize(
    "words", [["list"], ["list", "losses", "--json"], ["info", "digits"], ["info", "hinge", "--json"]], ids=" ".join
)
def test_list_and_info_import_what_reads_manifests(words: list[str]) -> None:
    modules = list_imports(*words)
    assert not (SLOW | UNUSED) & modules
    assert "ganzoo_core.discovery" in modules
    assert ("json" in modules) is ("--json" in words)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["lsit"]], ids=" ".join)
def test_the_help_of_all_commands_imports_none_of_them(words: list[str]) -> None:
    modules = list_imports(*words)
    assert not (SLOW | UNUSED | MANIFESTS) & modules
    commands = {name for name in modules if name.startswith("ganzoo_core.cli.")}
    assert commands == {"ganzoo_core.cli.completion", "ganzoo_core.cli.parser"}


@pytest.mark.parametrize(("call", "frozen"), [("main()", True), ("main(sys.argv[1:])", False)])
def test_garbage_collection_at_exit_is_skipped_only_where_the_process_ends(call: str, frozen: bool) -> None:
    code = f"import gc, sys\nfrom ganzoo_core.cli import main\n{call}\nprint('FROZEN', gc.get_freeze_count() > 0)\n"
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.endswith(f"FROZEN {frozen}\n")
