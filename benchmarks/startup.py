"""What it takes to look at what is installed: `list`, `info` and `--help`, beside `llm plugins`.

    uv run --all-packages python benchmarks/startup.py

llm is another command whose plugins come by pip. It is installed into an environment of its own, which takes a minute;
`--llm FOLDER` keeps that for the next time. It is timed without any plugin, which is the stricter comparison, and with
100 whose one hook does nothing. ganzoo is timed with the zoo's own plugins, and with 100 more, which hold a part each
and raise if anything imports them.

What counts is the CPU time of a process, of the user and the system together: other work on the machine changes it
little, and the seconds much. The commands take turns, in one order and then in the other.
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
from typing import Any, NamedTuple

PLUGIN_COUNT = 100
GANZOO_COMMANDS = {"list": ["list"], "info": ["info", "dcgan-torch"], "--help": ["--help"]}
LLM_COMMAND = "llm plugins"
MORE = f", {PLUGIN_COUNT} more"
MAX_SHARE = 0.15  # of the CPU time of `llm plugins` without plugins


class Command(NamedTuple):
    """A command, and the folder with more plugins that it sees; None for those of its environment alone."""

    words: list[str]
    plugins: Path | None = None


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
        ganzoo = [sys.executable, "-m", "ganzoo_core"]
        commands = {name: Command([*ganzoo, *words]) for name, words in GANZOO_COMMANDS.items()}
        commands |= {
            name + MORE: Command([*ganzoo, *words], here / "ganzoo") for name, words in GANZOO_COMMANDS.items()
        }
        if not args.no_llm:
            write_fake_llm_plugins(here / "llm", PLUGIN_COUNT)
            llm = [*install_llm(args.llm or here / "environment"), "plugins"]
            commands |= {LLM_COMMAND: Command(llm), LLM_COMMAND + MORE: Command(llm, here / "llm")}
        found = time_commands(commands, args.repeats, home=here)
    print_results(found)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


def time_commands(commands: dict[str, Command], repeats: int, *, home: Path) -> dict[str, Any]:
    """CPU time and seconds of each command, an entry a turn; the first turn fills caches and is left out."""
    load = os.getloadavg()[0]
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(-1, repeats):
        for name in list(commands) if turn % 2 == 0 else list(commands)[::-1]:
            used, took, text = run_once(commands[name], home)
            if turn >= 0:
                cpu[name].append(used)
                seconds[name].append(took)
            elif ("fake-7" in text) is not (name in ("list" + MORE, LLM_COMMAND + MORE)):
                raise SystemExit(f"{name} shows other plugins than it should")
    after = os.getloadavg()[0]
    return {"cpu": cpu, "seconds": seconds, "plugins": PLUGIN_COUNT, "load before": load, "load after": after}


def run_once(command: Command, home: Path) -> tuple[float, float, str]:
    """The CPU time and the seconds of a process, and what it wrote; compiled modules stay, as on a user's machine."""
    environment = {**os.environ, "LLM_USER_PATH": str(home / "user")}
    for name in ("GANZOO_PLUGINS", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    if command.plugins is not None:
        environment["PYTHONPATH"] = str(command.plugins)
    with tempfile.TemporaryFile() as written:
        since = time.perf_counter()
        process = subprocess.Popen(command.words, env=environment, stdout=written)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - since
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command.words)} ended with {process.returncode}")
        written.seek(0)
        return usage.ru_utime + usage.ru_stime, took, written.read().decode()


def print_results(found: dict[str, Any]) -> None:
    print(f"load before {found['load before']:.2f}, after {found['load after']:.2f}; bound {MAX_SHARE} of the CPU time")
    print(f"{'command':<22}{'CPU ms':>8}{'of llm plugins':>17}{'spread':>16}{'ms':>8}{'of llm plugins':>17}")
    for name in found["cpu"]:
        cells = [f"{name:<22}"]
        for kind in ("cpu", "seconds"):
            times, theirs = found[kind][name], found[kind].get(LLM_COMMAND)
            shares = [a / b for a, b in zip(times, theirs, strict=True)] if theirs else []
            cells.append(f"{1000 * statistics.median(times):>8.0f}")
            cells.append(f"{statistics.median(shares):>17.3f}" if shares else "")
            if kind == "cpu" and shares:
                cells.append(f"{f'{min(shares):.3f} to {max(shares):.3f}':>16}")
        print("".join(cells))


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
