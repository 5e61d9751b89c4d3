"""`plain.py`: its networks are those of `networks.py`, and its step is the one the paper describes."""

from __future__ import annotations

import ast
import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import ganzoo_core as gz
from ganzoo_dcgan_torch import networks, plain


def test_it_is_short_and_does_without_ganzoo() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 170
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not any(name.startswith("ganzoo") for name in imported)


def test_its_settings_are_those_of_the_digits_preset() -> None:
    text = Path(plain.__file__).with_name("ganzoo.toml").read_text(encoding="utf-8")
    card = tomllib.loads(text)["models"]["dcgan-torch"]
    preset, defaults = card["presets"]["digits"], card["defaults"]
    assert preset["model"] == {"width": plain.WIDTH, "latent_dim": plain.LATENT}
    assert preset["train"] == {
        "batch_size": plain.BATCH,
        "lr": plain.LR,
        "ema_halflife": plain.EMA,
        "length": str(plain.IMAGES),
    }
    assert preset["use"] == {"schedule": "cosine"}
    assert defaults["train"]["betas"] == list(plain.BETAS)


def test_its_networks_are_those_of_the_plugin() -> None:
    z = torch.randn(6, plain.LATENT)
    G = networks.Generator(size=32, channels=1, latent_dim=plain.LATENT, width=plain.WIDTH)
    D = networks.Discriminator(size=32, channels=1, width=plain.WIDTH)
    plain_g, plain_d = plain.Generator(), plain.Discriminator()
    for ours, theirs in ((G, plain_g), (D, plain_d)):
        assert [(n, p.shape) for n, p in ours.named_parameters()] == [
            (n, p.shape) for n, p in theirs.named_parameters()
        ]
        theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(plain_g(z), G(z))
    assert torch.equal(plain_d(G(z)), D(G(z)))


def test_it_begins_with_the_plugin_s_weights() -> None:
    torch.manual_seed(3)
    ours = [networks.Generator(size=32, channels=1, latent_dim=plain.LATENT, width=plain.WIDTH)]
    ours += [networks.Discriminator(size=32, channels=1, width=plain.WIDTH)]
    torch.manual_seed(3)
    theirs = [plain.Generator(), plain.Discriminator()]
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_step_is_cross_entropy_on_d_then_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    torch.manual_seed(0)
    G, D = plain.Generator().double(), plain.Discriminator().double()
    old_g, new_d = copy.deepcopy(G), copy.deepcopy(D)
    real, z = torch.randn(8, 1, 32, 32).double().tanh(), torch.randn(8, plain.LATENT).double()
    rate = 0.3
    sgd = [torch.optim.SGD(network.parameters(), lr=rate) for network in (G, D)]
    d_loss, g_loss = plain.train_step(G, D, *sgd, real, z)

    def descend(loss: torch.Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p -= rate * gradient

    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(8).double(), torch.zeros(8).double()
    expected_d = bce(new_d(real), ones) + bce(new_d(old_g(z)), zeros)
    descend(expected_d, new_d)
    expected_g = bce(new_d(old_g(z)), ones)
    descend(expected_g, old_g)
    torch.testing.assert_close(d_loss, expected_d.detach())
    torch.testing.assert_close(g_loss, expected_g.detach())
    for got, expected in ((G, old_g), (D, new_d)):
        for a, b in zip(got.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    whole = gz.ImageSource(images=np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None])
    train = gz.hold_out(whole, "train").images
    images = plain.load_images()
    assert images.shape == (len(train), 32, 32, 1)
    assert images.dtype == torch.uint8
    for i in range(0, len(train), 97):
        expected = Image.fromarray(train[i, :, :, 0]).resize((32, 32), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0].numpy(), np.asarray(expected))


def test_it_runs_and_leaves_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=2 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (256, 256)
        assert grid.mode == "L"
    assert "grid.png" in capsys.readouterr().out
