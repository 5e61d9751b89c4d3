"""What a command refuses without a framework, it refuses before it imports one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganzoo_core import python_api

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
    "report trained --seed -1": "--seed is -1",
    "report trained --device cuda": "CUDA is not available",
    "report trained --out full": "full",
    "compare trained --seed -1": "seed is -1",
    "compare trained --device cuda": "CUDA is not available",
    "sweep dcgan-torch --over seed=0,1 --device cuda": "CUDA is not available",
    "sweep dcgan-torch --over lr=1e-4,2e-4 --seed -1": "train.seed is -1",
    "ship trained --name a/b": "--name 'a/b'",
}
SCRIPT = """
import contextlib, io, json, sys
from ganzoo_core import cli
from ganzoo_core.engines import create
create._has_cuda_driver = lambda: False
results = {}
for line in json.loads(sys.argv[1]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            code = cli.main(line.split())
        except SystemExit as error:
            code = error.code
    imported = sorted({"torch", "tensorflow", "keras"} & set(sys.modules))
    results[line] = [code, told.getvalue(), imported]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each line is told: its exit code, its output, and the frameworks that are imported by then."""
    place: Path = tmp_path_factory.mktemp("refusals")
    settings = {"model.width": 8, "data.size": 16, "train.batch_size": 8, "train.evaluate_every": "off"}
    python_api.train("cgan-torch", data="digits", settings=settings, steps=2, out=place / "trained", quiet=True)
    for name in ("full", "plain"):
        (place / name).mkdir()
        for number in range(9):
            Image.new("L", (16, 16), 20 * number).save(place / name / f"{number}.png")
    Image.new("L", (16, 16)).save(place / "0.png")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(list(REFUSED))],
        cwd=place, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("line", REFUSED)
def test_it_is_refused_before_a_framework_is_imported(results: dict[str, Any], line: str) -> None:
    code, told, imported = results[line]
    assert code != 0
    assert REFUSED[line] in told
    assert "Traceback" not in told
    assert imported == []
