"""Runs that are evaluated from end to end: drawn in their own framework, scored elsewhere, kept and found again."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import python_api
from ganzoo_core.cli import main
from ganzoo_core.discovery import catalog
from ganzoo_core.runs import layout, scores
from ganzoo_core.storage import atomic

MANIFEST = """
api = 1
[datasets.lamps]
title = "Grey squares, dark and light"
hooks = "lamps"
image = { height = 16, width = 16, channels = 1, classes = 2 }
[extractors.mean]
title = "The mean of an image"
hooks = "lamps"
default = true
[metrics.gap]
title = "The difference of the means, and which frameworks are loaded where it is found"
hooks = "lamps"
default = true
main = true
lower = ["fid"]
"""
CODE = """
import sys
import numpy as np
import ganzoo_core as gz

@gz.hookimpl
def dataset(split):
    labels = np.arange(20 if split == "test" else 60) % 2
    images = np.repeat(np.uint8(40 + 100 * labels), 256).reshape(-1, 16, 16, 1)
    return gz.ImageSource(images, labels.astype(np.int64), ("dark", "light"))

class Mean:
    facts = {"weights": "none", "resizer": "none"}
    def extract(self, images):
        return images.reshape(len(images), -1).mean(axis=1, keepdims=True), None

@gz.hookimpl
def extractor():
    return Mean()

@gz.hookimpl
def metric():
    def score(real, fake, seed):
        asked = -1 if fake.labels is None else fake.labels.mean()
        gap = float(abs(real.features.mean() - fake.features.mean()))
        return {"fid": gap, "asked": asked, "tensorflow": "tensorflow" in sys.modules, "torch": "torch" in sys.modules}
    return score
"""
MODELS = [
    "dcgan-torch",
    "cgan-torch",
    pytest.param("dcgan-tf", marks=pytest.mark.slow),
]
SMALL = {"dcgan-torch": {"model.width": 2}, "cgan-torch": {"model.width": 2}, "dcgan-tf": {"model.width": 2}}


@pytest.fixture(scope="module")
def lamps(make_site, tmp_path_factory):
    site = make_site()
    site.add("lamps", MANIFEST, files={"__init__.py": CODE, "hooks.py": ""})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site.path)
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONPATH", str(site.path))
        patch.setenv("GANZOO_PLUGINS", "lamps,ganzoo-dcgan-torch,ganzoo-cgan-torch,ganzoo-dcgan-tf,losses,schedules")
        catalog.clear_cache()
        yield site
    catalog.clear_cache()


@pytest.fixture(scope="module", params=MODELS)
def run(request, lamps, tmp_path_factory):
    """A run of 32 images with a snapshot at half of them, and the model's name."""
    framework = "tensorflow" if request.param.endswith("-tf") else "torch"
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    folder = tmp_path_factory.mktemp("runs") / request.param
    settings = {"data.size": 16, "train.snapshot_every": "16", "train.batch_size": 8, "train.sample_count": 4}
    gz.train(
        request.param, data="lamps", preset="none", images=32, out=folder, quiet=True, device="cpu",
        settings={**settings, **SMALL[request.param]},
    )  # fmt: skip
    return folder, request.param


def test_each_generator_of_a_run_is_scored_as_its_images_are_and_the_best_is_found(run, capsys):
    folder, model = run
    assert main(["evaluate", str(folder), "--checkpoint", "all", "-n", "10", "--seed", "3", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == str(folder)
    found = scores.read(folder)
    assert [score.as_json() for score in found] == told["scores"]
    assert [score.images for score in found] == [16, 32]
    for score in found:
        generator = gz.load(folder, checkpoint=score.images) if score.images == 16 else gz.load(folder)
        assert score.scores["fid"] == pytest.approx(abs(90 - generator.generate(10, seed=3).mean()), abs=1e-3)
        assert score.scores["asked"] == (0.5 if model == "cgan-torch" else -1)  # one class after the other
        assert (score.scores["torch"], score.scores["tensorflow"]) == (0, 0)
        assert (score.protocol["samples"], score.protocol["ema"]) == (10, False)
        weights = (generator.folder / layout.WEIGHTS).read_bytes()
        assert score.extra == {"generator": hashlib.sha256(weights).hexdigest(), "during": "evaluate"}

    best = min(found, key=lambda score: score.scores["fid"])
    assert gz.load(folder, checkpoint="best").images_seen == best.images


def test_a_run_can_be_handed_over_as_it_came_from_training(lamps, tmp_path):
    """What is asked wrongly is refused before anything is drawn."""
    with pytest.raises(gz.UsageError, match=r"holds no config\.yaml"):
        gz.evaluate(python_api.Run(tmp_path))
    with pytest.raises(gz.UsageError, match="n is 1; expected a whole number of images from 2 to 1,000,000"):
        gz.evaluate(given(tmp_path), n=1)


def given(folder):
    """A run with nothing but a generator."""
    (folder / "config.yaml").write_text('use.data: "lamps"\n')
    files = {layout.WEIGHTS: b"", layout.CARD: b'{"images": 3}'}
    atomic.write_folder(folder / "generator", files)
    return folder


def test_the_command_that_evaluates_imports_no_framework(lamps, tmp_path):
    np.savez(tmp_path / "drawn.npz", images=np.zeros((5, 16, 16, 1), np.uint8))
    code = (
        "import sys\nfrom ganzoo_core.cli import main\n"
        f"assert main(['evaluate', '--images', {str(tmp_path / 'drawn.npz')!r}, '--data', 'lamps', '--quiet']) == 0\n"
        "print(sorted({'torch', 'tensorflow', 'lamps'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = lamps.python("-c", code, env={"GANZOO_PLUGINS": "lamps"})
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
