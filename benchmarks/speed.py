"""What a step costs: the runner, a plain loop of the same networks, and the loop that tutorials teach.

    uv run --all-packages python benchmarks/speed.py

Each row has a process of its own. The loops take turns in blocks, so that a machine that slows down does so for all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from comparisons import ROWS, Row
from pairs import measure, read_peak_memory
from table import as_markdown, as_text, list_warnings

from ganzoo_core.engines import count_available_cores

ROOF_SIZE, TINY_ROOF_SIZE = 2048, 256  # rows and columns of the matrices whose product is the roof


def main() -> int:
    args = parse_arguments()
    rows = [row for row in ROWS if not args.only or any(row.name.startswith(name) for name in args.only)]
    if not rows:
        print(f"no row begins with {args.only}; there is {', '.join(row.name for row in ROWS)}", file=sys.stderr)
        return 2
    if args.child:
        args.json.write_text(json.dumps(measure_row(rows[0], args)), encoding="utf-8")
        return 0
    found: dict[str, Any] = {"machine": describe_machine("speed.py"), "rows": []}
    for row in rows:
        print(f"{row.name} …", file=sys.stderr, flush=True)
        found["rows"].append(run_in_child(row, args))
        found["machine"]["load_after"] = os.getloadavg()[0]
        if args.json is not None:  # after each: an interrupted command has told what it knows
            args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(as_markdown(found) if args.markdown else as_text(found))
    for warning in list_warnings(found):
        print(warning, file=sys.stderr)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name begins so; again for more")
    parser.add_argument("--pairs", type=int, default=6, help="blocks of each loop (6)")
    parser.add_argument("--block", type=float, default=1.5, metavar="SECONDS", help="how long a block takes (1.5)")
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda or mps")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and blocks: does it work at all?")
    parser.add_argument("--markdown", action="store_true", help="print the tables of README.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found, block by block")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def describe_machine(script: str) -> dict[str, Any]:
    """What the figures belong to; `script` is the command's, without its folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        flags = next(line.split() for line in lines if line.startswith("flags"))
    except (OSError, StopIteration):
        processor, flags = platform.processor() or platform.machine(), []
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "unknown")
    words = sys.argv[1:]
    for option in ("--json", "--grid"):  # where it was written is nobody's concern
        if option in words:
            place = words.index(option)
            words = words[:place] + words[place + 2 :]
    return {
        "command": shlex.join(["python", f"benchmarks/{script}", *words]),
        "processor": processor,
        "vectors": vectors,
        "bf16": "avx512_bf16" in flags or "amx_bf16" in flags,
        "cores": count_available_cores(),
        "python": platform.python_version(),
        "ganzoo": metadata.version("ganzoo-core"),
        "load_before": os.getloadavg()[0],
    }


def run_in_child(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """Measure a row in a process of its own.

    Raises:
        SystemExit: with the process's own error above it.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "row.json"
        given = {"--only": row.name, "--pairs": args.pairs, "--block": args.block, "--device": args.device}
        command = [sys.executable, __file__, "--child", "--json", str(out)]
        command += [str(word) for pair in given.items() for word in pair]
        code = subprocess.run([*command, *(["--smoke"] if args.smoke else [])], check=False).returncode
        if code != 0:
            raise SystemExit(f"the row {row.name} failed, with exit code {code}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def measure_row(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """All comparisons of a row, in this process."""
    pairs, block, roof_size = args.pairs, args.block, ROOF_SIZE
    if args.smoke:
        row, pairs, block, roof_size = row.make_tiny(), 2, 0.01, TINY_ROOF_SIZE
    module = importlib.import_module(f"{row.framework}_comparisons")
    games, roof = [], 0.0
    for game in module.make_comparisons(row, args.device):
        game.runner(1)
        peak = read_peak_memory()
        loops = {"runner": game.runner, **game.others()}
        roof = max(roof, module.measure_roof(roof_size, args.device))
        found = measure(loops, images=row.batch, block=block, pairs=pairs)
        games.append(
            {"name": game.name, "gflop": game.gflop(), "parameters": dict(game.parameters()), "peak_mb": peak, **found}
        )
    roof = max(roof, module.measure_roof(roof_size, args.device))
    facts = {"batch": row.batch, "size": row.size, "device": args.device, "settings": dict(row.settings)}
    return {"name": row.name, **facts, **module.collect_facts(), "roof": roof, "games": games}


if __name__ == "__main__":
    raise SystemExit(main())
