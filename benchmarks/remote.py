"""The loop of a tutorial in a process of its own, with the framework as it comes; that process is this file.

ganzoo sets up what counts for a whole process, such as oneDNN and how freed memory is kept, and no tutorial does. The
process takes lines `RESOLUTION STEPS`, and answers each with its minor page faults when the steps are done.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from comparisons import Row
from pairs import Loop


class RemoteLoop:
    """The tutorial's loop in another process, which waits while others run.

    Args:
        process: this file's.
        resolution: the resolution of a growing model; 0 for any other.

    Attributes:
        faults: minor page faults of the last call.
    """

    def __init__(self, process: subprocess.Popen[str], resolution: int = 0) -> None:
        self.process, self.resolution, self.pid, self.faults = process, resolution, process.pid, 0

    @classmethod
    def start(cls, row: Row, device: str, environment: Mapping[str, str] | None = None) -> RemoteLoop:
        """Start the process; `environment` is laid over ours, from which ganzoo's choice of oneDNN is taken."""
        ours = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
        hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}
        command = [sys.executable, __file__, device, json.dumps({**asdict(row), "settings": dict(row.settings)})]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return cls(subprocess.Popen(command, env={**ours, **hidden, **(environment or {})}, text=True, **pipes))

    def at_resolution(self, resolution: int) -> RemoteLoop:
        """The same process's loop at a resolution."""
        return RemoteLoop(self.process, resolution)

    def __call__(self, steps: int) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(self.resolution, steps, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the tutorial's process ended; {' '.join(map(str, self.process.args))} shows why")
        self.faults = int(answer)

    def __enter__(self) -> RemoteLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # closes its input, which ends it


def serve_loops(row: Row, device: str) -> None:
    """The other end of `RemoteLoop`."""
    module = importlib.import_module(f"{row.framework}_tutorials")
    loops: dict[int, Loop] = {}
    for line in sys.stdin:
        what, steps = map(int, line.split())
        if what not in loops:
            loops = {what: module.make_loop(row, what, device)}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        loops[what](steps)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, flush=True)


if __name__ == "__main__":
    serve_loops(Row(**json.loads(sys.argv[2])), sys.argv[1])
