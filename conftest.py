"""For all tests of the workspace: a core for each worker, both frameworks in one process in the order in which they
bear it, no deadlines.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

import hypothesis
import pytest

# A busy machine is no fault. The same examples each time, so that a change fails for what it changed;
# `--hypothesis-profile search` looks for new ones.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("house")


def _keep_to_a_core() -> None:
    """Two processes that both use all cores wait for each other; a worker's own processes stay on its core, too."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


_keep_to_a_core()


class _TorchFirst:
    """Before the first `import tensorflow`, all of PyTorch that brings LLVM.

    PyTorch loads Triton's LLVM when its first optimizer is made; after TensorFlow's that ends the process.
    """

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == "tensorflow":
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            if importlib.util.find_spec("torch") is not None:
                importlib.import_module("torch._dynamo")


sys.meta_path.insert(0, _TorchFirst())  # type: ignore[arg-type]


@pytest.fixture(autouse=True, scope="session")
def _one_process() -> Iterator[None]:
    """Here both frameworks are loaded at one time or another; what a user's process does is tested in processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganzoo_core.generation.load.needs_own_process", lambda framework: False)
        yield
