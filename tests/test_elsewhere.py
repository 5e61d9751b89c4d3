"""A run in PyTorch and then one in TensorFlow, in either order, from one Python: the second has its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow")

BOTH = """
import json, sys
import numpy as np
import ganzoo_core as gz

small = {"model.width": 4, "train.batch_size": 8, "use.schedule": "constant", "engine.threads": 1}
first, second = sys.argv[1:3]
runs = [gz.train(model, steps=3, settings=small, out=model, quiet=True) for model in (first, second)]
loaded = [name for name in ("torch", "tensorflow") if name in sys.modules]
drawn = [run.generate(3, seed=1) for run in runs]
gz.resume(runs[1].folder, steps=4, quiet=True)
images = np.zeros((20, 28, 28, 1), np.uint8)
own = gz.train(second, data=images, preset="none", steps=1, settings=small, out="own", quiet=True)
try:
    gz.train(second, loss=type("L", (), {"discriminator": 1, "generator": 1})(), steps=1, settings=small, quiet=True)
except gz.UsageError as error:
    refused = str(error)
try:
    gz.load(runs[1].folder).generate(0)
except gz.UsageError as error:
    zero = str(error)
print(json.dumps({
    "loaded": loaded, "shapes": [list(array.shape) for array in drawn], "lines": [len(run.stats) for run in runs],
    "images": gz.load(runs[1].folder).images_seen, "own": (own.folder / "config.yaml").read_text(), "refused": refused,
    "zero": zero, "config": (runs[1].folder / "config.yaml").read_text(),
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", [("dcgan-tf", "dcgan-torch"), pytest.param(("dcgan-torch", "dcgan-tf"), marks=pytest.mark.slow)]
)
def test_both_frameworks_from_one_python(tmp_path: Path, order: tuple[str, str]) -> None:
    command = [sys.executable, "-c", BOTH, *order]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["loaded"] == [{"dcgan-torch": "torch", "dcgan-tf": "tensorflow"}[order[0]]]
    sizes = {"dcgan-torch": [3, 32, 32, 1], "dcgan-tf": [3, 28, 28, 1]}
    assert told["shapes"] == [sizes[model] for model in order]
    assert told["images"] == 32
    assert "model.width: 4  # " in told["config"]
    assert '"(object)"' in told["own"]
    assert "start Python anew" in told["refused"]
    assert "expected a whole number of images, 1 or more" in told["zero"]
