"""What a GPU makes of ganzoo: one command for a machine with one GPU, in ten minutes.

    uv run --all-packages python benchmarks/gpu.py --json gpu.json

Each part has a process of its own, with an end: one that fails, hangs or takes the GPU's memory ends alone. It says ok,
or no where the machine lacks what it needs or time is up, or failed. What time a part leaves, the later ones get.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparisons import PUBLISHED
from gpu_parts import Asked, answer
from speed import describe_machine
from table import to_markdown_table

MIN_SECONDS = 5.0  # with less, a part is not begun
LOG_LINES = 40  # the last ones of a part's process, which stderr gets where the part is not ok
SPEED_COLUMNS = (
    "row",
    "px",
    "batch",
    "img/s",
    "ms a step",
    "plain loop",
    "runner over it",
    "spread",
    "GFLOP an image",
    "peak TFLOP/s",
    "utilisation",
    "peak MB",
)


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: as `--only` takes it.
        weight: its share of the time, beside those of the others that are still to come.
        framework: in which it is measured.
    """

    name: str
    weight: float = 1.0
    framework: str = "torch"


PARTS = (
    Part("peaks"),
    Part("float32"),
    Part("tf32"),
    Part("bfloat16"),
    Part("synchronisation"),
    Part("nccl"),
    Part("training", 2.0),
    *(Part(row.name, 2.0 if row.framework == "tensorflow" else 1.0, row.framework) for row in PUBLISHED),
    Part("resume", 3.0),
    Part("compile", 4.0),
    Part("cuda-graphs", 3.0),
)


def main() -> int:
    args = parse_arguments()
    if args.child is not None:
        measure_parts(**json.loads(args.child))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a part's process is ended on the way out
    parts = [part for part in PARTS if not args.only or any(part.name.startswith(name) for name in args.only)]
    if not parts:
        print(f"no part begins with {args.only}; there is {', '.join(part.name for part in PARTS)}", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"machine": describe_machine("gpu.py"), "parts": {}}
    deadline, groups = time.monotonic() + 60 * args.minutes, group_parts(parts, together=args.smoke)
    for place, group in enumerate(groups):
        limit = share_time(deadline - time.monotonic(), groups[place:])
        print(f"{', '.join(part.name for part in group)}: at most {limit:.0f} s …", file=sys.stderr, flush=True)
        found["parts"] |= measure_group(group, limit, args)
        found["machine"]["load_after"] = os.getloadavg()[0]
        if args.json is not None:  # after each: an interrupted command has told what it knows
            args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(as_markdown(found))
    return int(any(result["state"] == "failed" for result in found["parts"].values()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="parts whose name begins so; again for more")
    parser.add_argument("--minutes", type=float, default=10.0, help="that all of it may take (10)")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="cuda, and cpu with --smoke, unless said")
    parser.add_argument("--smoke", action="store_true", help="tiny, a process for each framework: does it work at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found")
    parser.add_argument("--grid", default="gpu-samples.png", metavar="PNG", help="samples of the short training")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device = args.device or ("cpu" if args.smoke else "cuda")
    return args


def group_parts(parts: Sequence[Part], *, together: bool) -> list[list[Part]]:
    """The parts of each process: one, or together all of a framework."""
    if not together:
        return [[part] for part in parts]
    frameworks = dict.fromkeys(part.framework for part in parts)
    return [[part for part in parts if part.framework == framework] for framework in frameworks]


def share_time(left: float, groups: Sequence[Sequence[Part]]) -> float:
    """Seconds for the first of these groups, of those that are left for all of them."""
    weights = [sum(part.weight for part in group) for group in groups]
    return left * weights[0] / sum(weights)


def measure_group(group: Sequence[Part], limit: float, args: argparse.Namespace) -> dict[str, Any]:
    """Name -> result of each part of a group, measured in a process of its own; see `gpu_parts.answer`."""
    names = [part.name for part in group]
    if limit < MIN_SECONDS:
        return {name: {"state": "no", "says": f"no time left of {args.minutes:g} minutes"} for name in names}
    asked = Asked(args.device, args.smoke, limit / len(group), args.grid)
    with tempfile.TemporaryDirectory() as folder:
        answers, log = Path(folder) / "answers.jsonl", Path(folder) / "log.txt"
        given = {"framework": group[0].framework, "names": names, "answers": str(answers), "asked": asdict(asked)}
        code = run_until([sys.executable, __file__, "--child", json.dumps(given)], limit, log, args.device)
        return read_answers(names, answers, log, code, limit)


def measure_parts(framework: str, names: Sequence[str], answers: str, asked: Mapping[str, Any]) -> None:
    """Measure parts in this process; a line of JSON for each goes into the file `answers` as soon as it is known."""
    known = importlib.import_module(f"gpu_{framework}").PARTS
    for name in names:
        start = time.perf_counter()
        result = answer(known[name], Asked(**asked))
        result["seconds"] = time.perf_counter() - start
        with Path(answers).open("a", encoding="utf-8") as file:
            print(json.dumps({"name": name, **result}), file=file)


def run_until(command: Sequence[str], limit: float, log: Path, device: str) -> int | None:
    """Run a program to its end, or kill it and what it started after `limit` seconds; its exit code, None if killed."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **hidden},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # a compiler's processes may be left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_answers(names: Sequence[str], answers: Path, log: Path, code: int | None, limit: float) -> dict[str, Any]:
    """Name -> result: what the process wrote, and for the parts that it did not come to, why."""
    lines = answers.read_text(encoding="utf-8").splitlines() if answers.exists() else []
    found = {(result := json.loads(line)).pop("name"): result for line in lines}
    written = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code is None:
        lost = {"state": "no", "says": f"not done within its {limit:.0f} s; --minutes gives it more"}
    else:
        last = f": {written[-1].strip()}" if written else ""
        lost = {"state": "failed", "says": f"its process ended with exit code {code}{last}"}
    found = {name: found.get(name, lost) for name in names}
    if any(result["state"] == "failed" for result in found.values()) or code is None:
        print("\n".join(written[-LOG_LINES:]), file=sys.stderr)
    return found


def as_markdown(found: Mapping[str, Any]) -> str:
    """The facts, a line for each part, and the speeds, as README.md has them."""
    machine, parts = found["machine"], found["parts"]
    facts = {**parts.get("peaks", {}).get("facts", {}), "Python": machine["python"], "ganzoo": machine["ganzoo"]}
    device = facts.pop("device_name", None) or machine["processor"]
    head = [f"`{machine['command']}`", device, *(f"{name} {fact}" for name, fact in facts.items())]
    results = [
        (name, result["state"] if result["state"] == "ok" else f"**{result['state']}**", to_cell(result["says"]))
        for name, result in parts.items()
    ]
    blocks = [" · ".join(head), to_markdown_table(("row", "state", "result"), results)]
    peaks = parts.get("peaks", {}).get("peaks", {})
    speeds = [make_speed_line(name, result, peaks) for name, result in parts.items() if "rate" in result]
    if speeds:
        blocks.append(to_markdown_table(SPEED_COLUMNS, speeds))
    return "\n\n".join(blocks)


def to_cell(words: str) -> str:
    """Words on one line, without what ends a cell."""
    return " ".join(words.split()).replace("|", "/")


def make_speed_line(name: str, result: Mapping[str, Any], peaks: Mapping[str, float]) -> list[str]:
    """A row of `SPEED_COLUMNS`; where no peak, plain loop or work was measured, cells stay empty."""
    rate, peak, gflop = result["rate"], peaks.get(result["roof"]), result.get("gflop")
    plain = [f"{result['plain']:,.0f}", f"{result['ratio']:.2f}"] if "plain" in result else ["", ""]
    spread = "{:.2f} to {:.2f}".format(*result["spread"]) if "spread" in result else ""
    return [
        name,
        str(result["size"]),
        str(result["batch"]),
        f"{rate:,.0f}",
        f"{1000 * result['batch'] / rate:.2f}",
        *plain,
        spread,
        "" if gflop is None else f"{gflop:.4g}",
        "" if peak is None else f"{result['roof']} {peak / 1e3:,.1f}",
        "" if peak is None or gflop is None else f"{rate * gflop / peak:.1%}",
        f"{result['peak_mb']:,.0f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
