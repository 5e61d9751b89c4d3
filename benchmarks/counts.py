"""What a step of each model is, counted without taking one: `counts.json`, for `scaling.py`.

    uv run --all-packages python benchmarks/counts.py benchmarks/counts.json

The rows are `comparisons.PUBLISHED`, each model at its published size. PyTorch's are counted on tensors without
contents, TensorFlow's in the graph of the step, each framework in a process of its own.

An entry has, an image: `gflop` of a step, `drawing_gflop` of a forward of G, and `memory_mb` of a step's tensors, in
PyTorch the most that live at a time, in TensorFlow, which frees in an order of its own, all of them. Besides, learnable
`parameters` of each network, and the channels of each of its layers of `batch_norm`. `inception` is the GFLOP an image
of that extractor.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from comparisons import PUBLISHED

FRAMEWORKS = ("torch", "tensorflow")
TIMEOUT = 600  # seconds for a framework's rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="is written")
    parser.add_argument("--framework", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.framework is None:
        parts = [count_elsewhere(framework) for framework in FRAMEWORKS]
        found = {key: value for part in parts for key, value in part.items() if key != "rows"}
        rows = {name: entry for part in parts for name, entry in part["rows"].items()}
        found["rows"] = {row.name: rows[row.name] for row in PUBLISHED}
    else:
        found = count_here(args.framework)
    args.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def count_elsewhere(framework: str) -> dict[str, Any]:
    """What `count_here` finds, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts.json"
        subprocess.run([sys.executable, __file__, str(file), "--framework", framework], check=True, timeout=TIMEOUT)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def count_here(framework: str) -> dict[str, Any]:
    """`rows` of one framework, by name; in PyTorch `inception` too."""
    counting = importlib.import_module(f"{framework}_comparisons")
    rows = {row.name: counting.count_model(row) for row in PUBLISHED if row.framework == framework}
    return {"rows": rows, **({"inception": counting.count_inception()} if framework == "torch" else {})}


if __name__ == "__main__":
    main()
