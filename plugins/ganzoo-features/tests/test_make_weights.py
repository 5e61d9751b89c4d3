"""train/make_weights.py, on a few pictures and two steps."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ganzoo_emoji")

import torch

from ganzoo_features import bundled, torch_network

TRAIN = Path(__file__).parents[1] / "train"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(TRAIN))
    try:
        import make_weights
    finally:
        sys.path.remove(str(TRAIN))
    return make_weights


@pytest.fixture(scope="module")
def few(script):
    """Eight pictures in colour and eight strokes, of which four are characters."""
    images = torch.randint(0, 256, (16, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return script.TrainingSet(images, 8, torch.tensor([-1] * 8 + [0, 1, 2, 3] + [-1] * 4))


def test_the_same_weights_twice(script, few, monkeypatch):
    monkeypatch.setattr(script, "PAIRS", 8)
    made = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = script.Network()
            script.train(network, few, 2)
        made.append(script.calibrate(network.fold_batch_norm(), few))
    assert {name: (str(t.dtype), t.shape) for name, t in made[0].items()} == bundled.describe_tensors()
    for name, tensor in made[0].items():
        assert tensor.tobytes() == made[1][name].tobytes(), name


def test_folded_batch_norm_computes_the_same(script):
    network = script.Network()
    for _, norm in network.layers:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        for tensor in (norm.bias, norm.running_mean):
            torch.nn.init.normal_(tensor, std=0.3)
    images = torch.rand(3, 3, 40, 33) * 2 - 1
    whole = {"centre": np.zeros(bundled.POOLED, np.float32), "projection": np.eye(bundled.POOLED, dtype=np.float32)}
    forward = torch_network.make_forward(
        {name: tensor.astype(np.float32) for name, tensor in network.fold_batch_norm().items()} | whole
    )
    with torch.no_grad():
        expected = network.eval()(images).numpy()
    found = forward(images.permute(0, 2, 3, 1).contiguous().numpy())
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)  # kernels are stored in half precision


def test_loss_of_simclr(script):
    """Equation 1 of arXiv:2002.05709, pair by pair."""
    views = torch.randn(6, 5, dtype=torch.float64)
    loss, right = script.compare_views(views)
    unit = views / views.norm(dim=1, keepdim=True)
    terms = []
    for i in range(6):
        powers = [float(torch.exp(unit[i] @ unit[k] / script.TEMPERATURE)) for k in range(6)]
        terms.append(-np.log(powers[(i + 3) % 6] / (sum(powers) - powers[i])))
    assert float(loss) == pytest.approx(np.mean(terms))
    assert right.shape == (6,)


def test_calibrated_features_vary_by_one_on_average(script, few):
    torch.manual_seed(0)
    tensors = script.calibrate(script.Network().fold_batch_norm(), few)
    forward = torch_network.make_forward({name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    features = bundled.extract_features(forward, few.images[:, ::2, ::2].numpy())
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    assert features.var(0, ddof=1).mean() == pytest.approx(1, rel=1e-4)


def test_missing_pictures_are_told(script, monkeypatch):
    monkeypatch.setattr(script.pictures, "FONTS", {"no_such_font": ("files", "A.ttf")})
    with pytest.raises(SystemExit, match=r"no_such_font is not installed: pip install -r .*requirements\.txt"):
        script.pictures.find_fonts()
