"""What a command refuses without a framework, it refuses before it imports one."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganzoo_core import cli, python_api
from ganzoo_core.terminal import text

# Command lines, and words of their refusals.
REFUSED = {
    "run dcgan-torch --out full": "full is there already and not empty",
    "run dcgan-torch --seed -1": "train.seed is -1",
    "run dcgan-torch --seed one": "--seed is 'one'; expected a whole number",
    "run dcgan-torch --device cuda": "CUDA is not available; devices on this machine: cpu",
    "run dcgan-torch --images 0": "--images is 0",
    "run dcgan-torch --data folder:nowhere": "nowhere does not exist",
    "run cgan-torch --data folder:plain": "is conditional, and folder has no labels",
    "run dcgan-torch --set data.size=513": "513",
    "run dcgan-torch --from nowhere": "nowhere",
    "run progan-tf --images 2000 --set stable_images=1000": "stable phases of 1,000",
    "resume nowhere": "is no run's folder",
    "resume trained --set lr=1e-4 --out full": "full is there already and not empty",
    "resume trained --device cuda --images 100": "CUDA is not available",
    "resume trained --images 1": "the run has seen",
    "generate trained --class nobody": "nobody",
    "generate trained --seed -1": "seed is -1",
    "generate trained -n 0": "n is 0",
    "generate trained --class all -n 0": "n is 0",
    "generate trained --device cuda": "CUDA is not available",
    "generate trained --out full": "full",
    "generate trained --out images.bmp": "ends in .bmp",
    "generate trained --checkpoint 999": "999",
    "generate trained --walk --frames 0": "frames is 0",
    "judge trained 0.png --class nobody": "nobody",
    "judge trained 0.png": "say --class",
    "judge trained missing.png --class 0": "missing.png is not there",
    "judge trained 0.png --class 0 --device cuda": "CUDA is not available",
    "evaluate trained -n 0": "n is 0",
    "evaluate trained --seed -1": "seed is -1",
    "evaluate trained --device cuda": "CUDA is not available",
    "evaluate trained --metrics nothing": "nothing",
    "report trained --seed -1": "the seed is -1",
    "report trained --device cuda": "CUDA is not available",
    "report trained --out full": "full",
    "compare trained again --seed -1": "the seed is -1",
    "compare trained again --device cuda": "CUDA is not available",
    "sweep dcgan-torch --over seed=0,1 --device cuda": "CUDA is not available",
    "sweep dcgan-torch --over lr=1e-4,2e-4 --seed -1": "train.seed is -1",
    "ship trained --name a/b": "--name 'a/b'",
}
# Of `run`, with words of what they refuse; `--dry-run` says the same.
DRY = {
    "cgan-torch --data folder:plain": "is conditional, and folder has no labels",
    "dcgan-torch --data folder:plain --set data.size=511": "data.size is 511; this model takes",
    "dcgan-torch --data folder:nowhere": "nowhere does not exist",
    "dcgan-torch --data folder:empty": "empty holds no images",
    "dcgan-torch --data folder:full --preset none --batch-size 10": "and a batch takes 10; say --batch-size",
    "dcgan-torch --data folder:full --out full": "full is there already and not empty",
    "dcgan-torch --data folder:full --device cuda": "CUDA is not available",
    "dcgan-torch --data npz:nowhere.npz": "nowhere.npz does not exist",
    "dcgan-torch --data npz:images.npz --set data.size=511": "data.size is 511; this model takes",
    "dcgan-torch --from nowhere": "nowhere",
    "dcgan-torch --data shapes --set data.count=0": "data.count is 0; expected at least 1",
    "dcgan-torch --schedule progressive": "the schedule progressive changes the resolution",
    "dcgan-torch --data folder:deep --set data.range=full": "floating-point images have no full range",
    "dcgan-torch --data mnist": "nothing/MNIST/raw, and GANZOO_OFFLINE forbids a download",
    "dcgan-torch --data cifar10": "nothing, and GANZOO_OFFLINE forbids a download of cifar-10",
    "dcgan-torch --data npy:full": "full holds no images.npy",
    "dcgan-torch --data npy:images.npz": "images.npz is an archive of arrays",
    "dcgan-torch --data npz:full": "full is no file",
    "cgan-torch --data npz:images.npz": "is conditional, and npz has no labels",
    "dcgan-torch --data idx:full": "full holds no train-images-idx3-ubyte",
    "dcgan-torch --data torchvision:CIFAR1000": "has no set 'CIFAR1000'; did you mean CIFAR100?",
    "dcgan-torch --data torchvision:CIFAR100 --set data.arguments=x": "data.arguments is 'x'",
    "dcgan-torch --set model.width=0": "model.width is 0; expected a number of at least 1",
    "dcgan-torch --set generator.width=0": "generator.width is 0; expected a number of at least 1",
    "cgan-torch --set model.dropout=1": "model.dropout is 1.0; expected a number of at least 0 and below 1",
    "dcgan-torch --with diffaugment --set diffaugment.policy=color,cut": "policy holds 'cut'; expected some of color",
    "dcgan-torch --with spectral-norm --set iterations=0": "iterations is 0; expected a number of at least 1",
    "dcgan-torch --with r1 --set r1.gamma=-1": "with.r1.gamma is -1",
    "dcgan-torch --loss wasserstein --set clip=0": "loss.clip is 0.0; expected a number above 0",
    "dcgan-torch --loss wgan-gp --set gp_weight=-1": "loss.gp_weight is -1",
    "progan-tf --set start_resolution=3": "schedule.start_resolution is 3",
    "dcgan-torch --schedule linear-decay --set schedule.start=1": "schedule.start is 1.0; expected a number",
    "dcgan-torch --no-plugin ganzoo-scores --set train.evaluate_every=1epoch": "no metric is installed that fits",
}
SCRIPT = """
import contextlib, importlib.machinery, io, json, sys
from ganzoo_core import cli
from ganzoo_core.engines import create

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "tensorflow", "keras"):
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        raise RuntimeError("A FRAMEWORK IS IMPORTED")
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Blocked())
create._has_cuda_driver = lambda: False
results = {}
for line in json.loads(sys.argv[1]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            code = cli.main(line.split())
        except SystemExit as error:
            code = error.code
    results[line] = [code, told.getvalue()]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The exit code and the output of each line, in a process that cannot import a framework."""
    place: Path = tmp_path_factory.mktemp("refusals")
    settings = {"model.width": 8, "data.size": 16, "train.batch_size": 8, "train.evaluate_every": "off"}
    python_api.train("cgan-torch", data="digits", settings=settings, steps=2, out=place / "trained", quiet=True)
    shutil.copytree(place / "trained", place / "again")
    for name in ("full", "plain"):
        (place / name).mkdir()
        for number in range(9):
            Image.new("L", (16, 16), 20 * number).save(place / name / f"{number}.png")
    (place / "empty").mkdir()
    (place / "deep").mkdir()
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)).save(place / "deep" / "0.tif")
    np.savez(place / "images.npz", images=np.zeros((9, 16, 16, 1), np.uint8))
    Image.new("L", (16, 16)).save(place / "0.png")
    lines = [*REFUSED, *(f"run {words}{dry}" for words in DRY for dry in ("", " --dry-run"))]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(lines)],
        cwd=place, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "GANZOO_OFFLINE": "1", "GANZOO_DATA": "nothing"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("line", REFUSED)
def test_it_is_refused_before_a_framework_is_imported(results: dict[str, Any], line: str) -> None:
    code, told = results[line]
    assert code != 0
    assert REFUSED[line] in told
    assert "A FRAMEWORK IS IMPORTED" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("words", DRY)
def test_a_dry_run_refuses_what_the_run_would(results: dict[str, Any], words: str) -> None:
    for line in (f"run {words}", f"run {words} --dry-run"):
        code, told = results[line]
        assert code != 0
        assert DRY[words] in told
        assert "A FRAMEWORK IS IMPORTED" not in told
        assert "Traceback" not in told


@pytest.mark.parametrize("option", [f"--{name}" for name in ("data-roo", "dat", "imag", "allow", "devic", "quie")])
def test_no_option_is_abbreviated(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["resume", "run", option, "x"])
    assert "did you mean --" in capsys.readouterr().err


def test_a_line_is_shown_while_a_framework_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    for is_terminal, muted, expected in ((True, False, "starting…\r"), (True, True, ""), (False, False, "")):
        monkeypatch.setattr(terminal, "isatty", lambda is_terminal=is_terminal: is_terminal)
        terminal.seek(0)
        terminal.truncate()
        text.mute_waiting(muted)
        with text.show_waiting("starting…"):
            assert terminal.getvalue() == expected
        assert terminal.getvalue().removeprefix(expected).strip() == ""
    text.mute_waiting(False)
