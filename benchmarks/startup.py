"""What it takes to look at what is installed: `list`, `--help` and `info` with 100 plugins, beside `llm plugins`.

    uv run --all-packages python benchmarks/startup.py

llm is another command whose plugins come by pip. It is installed into an environment of its own, which takes a minute;
`--llm FOLDER` keeps that for the next time. It is timed without any plugin, which is the stricter comparison, and with
100 whose one hook does nothing. ganzoo's 100 hold a part each, and raise if anything imports them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

PLUGIN_COUNT = 100
GANZOO_COMMANDS = {"list": ["list"], "--help": ["--help"], "info": ["info", "losses/fake-7"]}
LLM_COMMAND = "llm plugins"
MAX_SECONDS = 0.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--llm", type=Path, metavar="FOLDER", help="an environment with llm, made if it is not there")
    parser.add_argument("--no-llm", action="store_true", help="ganzoo alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        write_fake_plugins(here / "ganzoo", PLUGIN_COUNT)
        commands: dict[str, tuple[list[str], Path]] = {
            name: ([sys.executable, "-m", "ganzoo_core", *words], here / "ganzoo")
            for name, words in GANZOO_COMMANDS.items()
        }
        if not args.no_llm:
            write_fake_llm_plugins(here / "llm", PLUGIN_COUNT)
            (here / "none").mkdir()
            llm = [*install_llm(args.llm or here / "environment"), "plugins"]
            commands |= {LLM_COMMAND: (llm, here / "none"), f"with {PLUGIN_COUNT}": (llm, here / "llm")}
        found = time_commands(commands, args.repeats, home=here)
    print_results(found)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def time_commands(commands: dict[str, tuple[list[str], Path]], repeats: int, *, home: Path) -> dict[str, Any]:
    """Seconds of each command, a list with one entry a turn; the first turn fills caches and does not count."""
    load, seconds = os.getloadavg()[0], {name: [] for name in commands}  # type: dict[str, list[float]]
    for turn in range(-1, repeats):
        for name in list(commands) if turn % 2 == 0 else list(commands)[::-1]:
            command, path = commands[name]
            environment = {**os.environ, "PYTHONPATH": str(path), "LLM_USER_PATH": str(home / "user")}
            environment.pop("GANZOO_PLUGINS", None)
            since = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - since)
            elif "fake" not in done.stdout and name not in ("--help", LLM_COMMAND):
                raise SystemExit(f"{name} does not show the plugins")
    return {"seconds": seconds, "plugins": PLUGIN_COUNT, "load before": load, "load after": os.getloadavg()[0]}


def print_results(found: dict[str, Any]) -> None:
    seconds = found["seconds"]
    theirs = seconds.get(LLM_COMMAND)
    print(f"{found['plugins']} plugins; load before {found['load before']:.2f}, after {found['load after']:.2f}")
    print(f"{'command':<14}{'seconds':>9}{'of llm plugins':>17}{'spread':>16}   bound {MAX_SECONDS}")
    for name, each in seconds.items():
        ratios = [a / b for a, b in zip(each, theirs, strict=True)] if theirs else []
        ratio = f"{statistics.median(ratios):>17.3f}{f'{min(ratios):.3f} to {max(ratios):.3f}':>16}" if ratios else ""
        print(f"{name:<14}{statistics.median(each):>9.3f}{ratio}")


def write_fake_plugins(folder: Path, count: int) -> None:
    """Distributions with one loss each, as pip leaves them; what imports one raises."""
    for number in range(count):
        name, package = f"fake-{number}", f"fake_{number}"
        _write_distribution(folder, name, f"[ganzoo.plugins]\n{name} = {package}\n")
        (folder / package).mkdir()
        for module in ("__init__.py", "hooks.py"):
            (folder / package / module).write_text("raise RuntimeError('nobody may import this')\n", encoding="utf-8")
        manifest = f'api = 1\n[losses.{name}]\ntitle = "A loss"\nhooks = "{package}.hooks"\n'
        (folder / package / "ganzoo.toml").write_text(manifest, encoding="utf-8")


def write_fake_llm_plugins(folder: Path, count: int) -> None:
    """Distributions with one hook of llm's each, which registers nothing."""
    for number in range(count):
        _write_distribution(folder, f"llm-fake-{number}", f"[llm]\nfake_{number} = llm_fake_{number}\n")
        code = "import llm\n\n@llm.hookimpl\ndef register_models(register):\n    pass\n"
        (folder / f"llm_fake_{number}.py").write_text(code, encoding="utf-8")


def _write_distribution(folder: Path, name: str, entry_points: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def install_llm(environment: Path) -> list[str]:
    """The command `llm` of an environment, which is made if there is none."""
    places = {"posix": ("bin/python", "bin/llm"), "nt": ("Scripts/python.exe", "Scripts/llm.exe")}[os.name]
    python, command = (environment / place for place in places)
    if not command.exists():
        print(f"installing llm into {environment} …", file=sys.stderr)
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "llm"], check=True)
    return [str(command)]


if __name__ == "__main__":
    raise SystemExit(main())
