"""The parts of `gpu.py` in PyTorch."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import math
import os
import shutil
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_comparisons
from comparisons import PUBLISHED, RowSetup, find_package
from gpu_parts import SETTLING_STEPS, Asked, Part, describe_speed, measure_model, time_loops
from pairs import read_peak_memory

import ganzoo_core as gz
from ganzoo_core.distributed.launchers import Launch
from ganzoo_core.distributed.ranks import Rank
from ganzoo_core.engines.torch import Engine
from ganzoo_core.errors import GanzooError
from ganzoo_core.runs import layout

ROOF_SIZE, TINY_ROOF_SIZE = 8192, 256  # rows and columns of the matrices whose product is the peak
MODELS = [row.name for row in PUBLISHED if row.framework == "torch"]
FIRST = MODELS[0]  # the model on which what is no matter of a model is tried
STEPS = 5  # that are looked at
GRAPH_STEPS = 6  # until every piece was captured and is replayed
RESUMED_STEPS = 40
NCCL_TIMEOUT = 30.0  # seconds
RESUME_SHARE = 0.6  # of the part's time: no further model is begun after it
TRAINING_SHARE = 0.5  # of the part's time that is trained


def measure_peaks(asked: Asked) -> dict[str, Any]:
    """The speed of a product of two matrices in each type, and what machine this is."""
    size, peaks = TINY_ROOF_SIZE if asked.smoke else ROOF_SIZE, {}
    facts: dict[str, Any] = {"torch": torch.__version__}
    if asked.device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        facts |= {"device_name": torch.cuda.get_device_name(), "capability": f"{major}.{minor}"}
        facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    for kind, precision, dtype in (
        ("float32", "ieee", torch.float32),
        ("tf32", "tf32", torch.float32),
        ("bfloat16", "ieee", torch.bfloat16),
    ):
        with use_float32(precision):
            peaks[kind] = torch_comparisons.measure_roof(size, asked.device, dtype)
    said = ", ".join(f"{kind} {peak / 1e3:,.1f}" for kind, peak in peaks.items())
    return {"says": f"{said} TFLOP/s", "peaks": peaks, "facts": facts}


@contextlib.contextmanager
def use_float32(precision: str) -> Iterator[None]:
    """Compute products and convolutions of float32 as `ieee` has it, or in `tf32`, on CUDA."""
    convolutions = getattr(torch.backends.cudnn, "conv", None)
    name, value = ("fp32_precision", precision)
    if convolutions is None:  # before PyTorch 2.9
        convolutions, name, value = torch.backends.cudnn, "allow_tf32", precision == "tf32"
    owners = (torch.backends.cuda.matmul, convolutions)
    before = [getattr(owner, name) for owner in owners]
    for owner in owners:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, former in zip(owners, before, strict=True):
            setattr(owner, name, former)


def measure_float32(precision: str, asked: Asked) -> dict[str, Any]:
    """`FIRST` with all of float32, or with its 10 bits that tensor cores take."""
    if precision == "tf32":
        asked.need_cuda()
    with use_float32(precision):
        return measure_settings({}, "float32" if precision == "ieee" else "tf32", asked)


def measure_bfloat16(asked: Asked) -> dict[str, Any]:
    """`FIRST` under autocast."""
    return measure_settings({"engine.precision": "bfloat16"}, "bfloat16", asked)


def measure_compiled(asked: Asked) -> dict[str, Any]:
    """`FIRST` compiled, and which pieces the engine runs uncompiled."""
    asked.need_cuda()  # it takes a minute or two of a processor, for nothing
    return measure_settings({"engine.compile": True}, asked.roof, asked)


def measure_settings(settings: dict[str, Any], roof: str, asked: Asked) -> dict[str, Any]:
    """The runner's speed with these settings; no is the answer where the engine tells that it does without one."""
    row, notes, start = asked.find_row(FIRST), list[str](), time.perf_counter()
    ours, trainer = build_trainer(asked, settings, notes)
    loop = ours.make_runner_loop(trainer)
    loop(1)
    ready = time.perf_counter() - start
    loop(SETTLING_STEPS)
    peak = read_peak(asked.device)
    speed = describe_speed(time_loops({"runner": loop}, row, asked)["runner"], row)
    says = f"{speed['rate']:,.0f} img/s, {ready:.1f} s until the first step was done"
    script = importlib.import_module(f"{find_package(row)}.plain")
    gflop = torch_comparisons.count_gflop(script, ours, trainer.G, trainer.D)
    figures = {**speed, "roof": roof, "gflop": gflop, "peak_mb": peak, "ready": ready}
    return {"state": "no" if notes else "ok", "says": "; ".join([*notes, says]), **figures}


def build_trainer(asked: Asked, settings: dict[str, Any], notes: list[str]) -> tuple[RowSetup, Any]:
    """`FIRST`'s trainer; `notes` gets what the engine tells."""
    ours = RowSetup(asked.find_row(FIRST), asked.device, **settings)
    ours.engine.tell = notes.append
    return ours, ours.build_trainer()


def measure_graphs(asked: Asked) -> dict[str, Any]:
    """How many CUDA graphs a compiled step launches; the engine asks inductor for them, see docs/precision.md."""
    _, eager = count_launches({}, [], asked)
    asked.need_cuda()
    notes: list[str] = []
    graphs, kernels = count_launches({"engine.compile": True}, notes, asked)
    from torch._dynamo.utils import counters  # with it PyTorch imports its compiler

    if skips := counters["inductor"]["cudagraph_skips"]:
        notes.append(f"inductor gave up {skips} graphs")
    says = f"a step launches {graphs:.0f} graphs and {kernels:.0f} kernels, uncompiled {eager:.0f} kernels"
    figures = {"graphs": graphs, "kernels": kernels, "eager_kernels": eager}
    return {"state": "ok" if graphs else "no", "says": "; ".join([*notes, says]), **figures}


def count_launches(settings: dict[str, Any], notes: list[str], asked: Asked) -> tuple[float, float]:
    """CUDA graphs and kernels that a step launches, once everything was captured; see `build_trainer`."""
    ours, trainer = build_trainer(asked, settings, notes)
    loop = ours.make_runner_loop(trainer)
    loop(GRAPH_STEPS)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if asked.device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        loop(STEPS)
    counts = {event.key: event.count for event in profile.key_averages()}
    graphs, kernels = (
        sum(count for name, count in counts.items() if name.startswith("cu") and word in name) / STEPS
        for word in ("GraphLaunch", "LaunchKernel")
    )
    return graphs, kernels


def find_waits(asked: Asked) -> dict[str, Any]:
    """Tiny steps of every model in which it is an error to wait for the GPU.

    Raises:
        RuntimeError: if one does.
    """
    waiting = {}
    for row in (row.make_tiny() for row in PUBLISHED if row.framework == "torch"):
        ours = RowSetup(row, asked.device)
        trainer = ours.build_trainer()
        take_steps(trainer, range(SETTLING_STEPS))  # the first look at layouts, and make what is kept
        try:
            with forbid_waits(asked.device):
                take_steps(trainer, range(SETTLING_STEPS, 2 * SETTLING_STEPS))
        except RuntimeError as error:
            if asked.device != "cuda":
                raise
            traceback.print_exc()  # says where it waits
            waiting[row.name] = str(error).strip().splitlines()[0]
        if not all(map(math.isfinite, trainer.pop_means().values())):
            raise RuntimeError(f"{row.name} has statistics that are not finite")
    asked.need_cuda()
    if waiting:
        raise RuntimeError("; ".join(f"{name}: {words}" for name, words in waiting.items()))
    return {"says": f"none in {SETTLING_STEPS} steps of each of {len(MODELS)} models"}


def take_steps(trainer: Any, steps: range) -> None:
    """Steps with learning rates of a schedule."""
    for step in steps:
        trainer.step(step, step * trainer.plan.images_per_step, {"lr_g": 1e-4, "lr_d": 1e-4})


@contextlib.contextmanager
def forbid_waits(device: str) -> Iterator[None]:
    """Make it an error to wait for a GPU."""
    if device != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def run_nccl(asked: Asked) -> dict[str, Any]:
    """Steps that exchange their gradients with no one: they must end in the bytes of steps that do not.

    Raises:
        RuntimeError: if they do not.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    states = []
    with be_deterministic():
        for alone in (True, False):
            ours = RowSetup(asked.find_row(FIRST), asked.device)
            if not alone:  # `create_engine` joins no group of one
                threads = torch.get_num_threads()
                launch = Launch("gpu.py", Rank(), f"127.0.0.1:{port}")
                ours.engine = Engine(device=asked.device, threads=threads, launch=launch, timeout=NCCL_TIMEOUT)
            trainer = ours.build_trainer()
            ours.make_runner_loop(trainer)(STEPS)
            states.append(trainer.read_state())
    unequal = [name for name, tensor in states[0].items() if not np.array_equal(tensor, states[1][name])]
    if unequal:
        raise RuntimeError(f"{len(unequal)} of {len(states[0])} tensors differ from those without it: {unequal[0]}")
    asked.need_cuda()
    version = ".".join(map(str, torch.cuda.nccl.version()))
    return {"says": f"NCCL {version}; {STEPS} steps end in the bytes of those without it"}


@contextlib.contextmanager
def be_deterministic() -> Iterator[None]:
    """PyTorch's deterministic mode, in which it is an error to call what has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def compare_resumed(asked: Asked) -> dict[str, Any]:
    """Runs that were stopped halfway and resumed, beside runs that were not, of each model on the digits.

    Raises:
        RuntimeError: if a model's differ in deterministic mode, or it has no such mode.
    """
    start, problems, left = time.perf_counter(), [], list(MODELS[:1] if asked.smoke else MODELS)
    with be_deterministic():
        while left and (time.perf_counter() - start < RESUME_SHARE * asked.seconds):
            model = left.pop(0)
            try:
                if not is_resumed_exactly(model, asked):
                    problems.append(f"{model} ends in other bytes")
            except (RuntimeError, GanzooError) as error:
                problems.append(f"{model}: {str(error).strip().splitlines()[0]}")
    if problems:
        raise RuntimeError("; ".join(problems))
    usual = "also" if is_resumed_exactly(FIRST, asked) else "not"
    tried = [model for model in MODELS if model not in left] if not asked.smoke else [FIRST]
    rest = f"; no time for {', '.join(left)}" if left else ""
    return {"says": f"{', '.join(tried)}; {usual} without that mode ({FIRST}){rest}", "usual": usual == "also"}


def is_resumed_exactly(model: str, asked: Asked) -> bool:
    """Whether the checkpoints of a run that went through and of one that was resumed halfway have equal tensors."""
    steps = 4 if asked.smoke else RESUMED_STEPS
    common: dict[str, Any] = {"device": asked.device, "quiet": True}
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, first in (("through", steps), ("resumed", steps // 2)):
            # A schedule may depend on the length, and could not be resumed to another.
            run = gz.train(model, schedule="constant", steps=first, out=Path(folder) / name, **common)
            if first < steps:
                gz.resume(run.folder, steps=steps, **common)
            states = (run.folder / layout.CHECKPOINTS).glob(f"*/{layout.STATE}")
            last = max(states, key=lambda path: int(path.parent.name))
            found.append((last.parent.name, hashlib.sha256(last.read_bytes()).hexdigest()))
    return found[0] == found[1]


def train_shortly(asked: Asked) -> dict[str, Any]:
    """`FIRST` on the digits, for as long as there is, with its grid of samples."""
    length: dict[str, Any] = {"steps": 4} if asked.smoke else {"minutes": TRAINING_SHARE * asked.seconds / 60}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = gz.train(FIRST, **length, device=asked.device, out=Path(folder) / "run", quiet=True)
        Path(asked.grid).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.folder / layout.SAMPLES / layout.LATEST_GRID, asked.grid)
        images = max(int(path.name) for path in (run.folder / layout.CHECKPOINTS).iterdir() if path.name.isdigit())
    seconds = time.perf_counter() - start
    return {"says": f"{images:,} images of the digits in {seconds:.0f} s, all told; samples in {Path(asked.grid).name}"}


def read_peak(device: str) -> float:
    """MB that tensors have taken at most on the GPU; on a CPU, those of the process."""
    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else read_peak_memory()


PARTS: dict[str, Part] = {
    "peaks": measure_peaks,
    "float32": partial(measure_float32, "ieee"),
    "tf32": partial(measure_float32, "tf32"),
    "bfloat16": measure_bfloat16,
    "synchronisation": find_waits,
    "nccl": run_nccl,
    "training": train_shortly,
    "resume": compare_resumed,
    "compile": measure_compiled,
    "cuda-graphs": measure_graphs,
    **{name: partial(measure_model, name, framework=torch_comparisons, read_peak=read_peak) for name in MODELS},
}
