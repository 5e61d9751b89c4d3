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
from ganzoo_cgan_torch import networks, plain


def ours() -> tuple[nn.Module, nn.Module]:
    """The plugin's networks, as the `digits` preset has them."""
    common = {"size": 16, "channels": 1, "classes": 10, "width": plain.WIDTH}
    G = networks.Generator(**common, latent_dim=plain.LATENT, embedding=plain.EMBEDDING)
    return G, networks.Discriminator(**common)


def test_it_is_short_and_does_without_ganzoo() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not any(name.startswith("ganzoo") for name in imported)


def test_its_settings_are_those_of_the_digits_preset() -> None:
    text = Path(plain.__file__).with_name("ganzoo.toml").read_text(encoding="utf-8")
    card = tomllib.loads(text)["models"]["cgan-torch"]
    merged = {
        kind: card["defaults"].get(kind, {}) | card["presets"]["digits"].get(kind, {}) for kind in card["defaults"]
    }
    model, train = merged["model"], merged["train"]
    assert card["presets"]["digits"]["data"] == {"size": 16}
    assert (model["width"], model["latent_dim"], model["embedding"]) == (plain.WIDTH, plain.LATENT, plain.EMBEDDING)
    assert (model["norm"], model["dropout"]) == ("batch", 0.0)
    assert (train["batch_size"], train["lr"], train["betas"]) == (plain.BATCH, plain.LR, list(plain.BETAS))
    assert train["length"] == str(plain.IMAGES)


def test_its_networks_are_those_of_the_plugin() -> None:
    z, labels = torch.randn(6, plain.LATENT), torch.tensor([0, 9, 3, 3, 7, 1])
    G, D = ours()
    plain_g, plain_d = plain.Generator(), plain.Discriminator()
    for network, theirs in ((G, plain_g), (D, plain_d)):
        assert [(n, p.shape) for n, p in network.named_parameters()] == [
            (n, p.shape) for n, p in theirs.named_parameters()
        ]
        theirs.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(plain_g(z, labels), G(z, labels))
    assert torch.equal(plain_d(G(z, labels), labels), D(G(z, labels), labels))


def test_it_begins_with_the_plugin_s_weights() -> None:
    torch.manual_seed(3)
    first = ours()
    torch.manual_seed(3)
    second = plain.Generator(), plain.Discriminator()
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_step_is_cross_entropy_on_d_then_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    torch.manual_seed(0)
    G, D = plain.Generator().double(), plain.Discriminator().double()
    old_g, new_d = copy.deepcopy(G), copy.deepcopy(D)
    real, z = torch.randn(8, 1, 16, 16).double().tanh(), torch.randn(8, plain.LATENT).double()
    labels = torch.tensor([0, 1, 2, 3, 9, 9, 9, 4])
    rate = 0.3
    sgd = [torch.optim.SGD(network.parameters(), lr=rate) for network in (G, D)]
    d_loss, g_loss = plain.train_step(G, D, *sgd, real, labels, z)

    def descend(loss: torch.Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p -= rate * gradient

    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(8).double(), torch.zeros(8).double()
    expected_d = bce(new_d(real, labels), ones) + bce(new_d(old_g(z, labels), labels), zeros)
    descend(expected_d, new_d)
    expected_g = bce(new_d(old_g(z, labels), labels), ones)
    descend(expected_g, old_g)
    torch.testing.assert_close(d_loss, expected_d.detach())
    torch.testing.assert_close(g_loss, expected_g.detach())
    for got, expected in ((G, old_g), (D, new_d)):
        for a, b in zip(got.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_its_images_and_labels_are_those_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    whole = gz.ImageSource(
        np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None],
        digits.target.astype(np.int64),
        tuple("0123456789"),
    )
    train = gz.hold_out(whole, "train")
    assert train.labels is not None
    images, labels = plain.load_images()
    assert images.shape == (len(train.images), 16, 16, 1)
    assert images.dtype == torch.uint8
    assert labels.tolist() == train.labels.tolist()
    for i in range(0, len(images), 97):
        expected = Image.fromarray(train.images[i, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0].numpy(), np.asarray(expected))


def test_it_runs_and_leaves_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=2 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (160, 160)
        assert grid.mode == "L"
    assert "grid.png" in capsys.readouterr().out


def test_a_row_of_its_grid_is_a_class(tmp_path: Path) -> None:
    """With a G that paints its label's number, row k is k."""

    class Painter(nn.Module):
        def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return ((labels * 20) / 127.5 - 1).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)

    plain.save_samples(Painter(), torch.zeros(100, plain.LATENT), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        rows = np.asarray(grid).reshape(10, 16, 160)
    assert [np.unique(row).tolist() for row in rows] == [[20 * k] for k in range(10)]
