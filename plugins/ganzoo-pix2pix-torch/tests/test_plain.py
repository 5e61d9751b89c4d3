"""`plain.py`: its networks are those of `networks.py`, and the runner takes its steps to the bit."""

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
from ganzoo_core import mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.training import assemble, setup
from ganzoo_pix2pix_torch import networks, plain

STEPS, SEED = 8, 5


def ours() -> tuple[nn.Module, nn.Module]:
    """The plugin's networks, as the `small` preset has them at 32 pixels."""
    common = {"size": plain.SIZE, "source_channels": 1, "channels": 3, "width": plain.WIDTH}
    return networks.Generator(**common), networks.Discriminator(**common)


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


def test_its_settings_are_those_of_the_small_preset() -> None:
    card = tomllib.loads(Path(plain.__file__).with_name("ganzoo.toml").read_text(encoding="utf-8"))
    model, loss = card["models"]["pix2pix-torch"], card["losses"]["pix2pix"]
    preset, defaults = model["presets"]["small"], model["defaults"]
    train = {**defaults["train"], **preset["train"]}
    assert (train["batch_size"], train["lr"], train["betas"]) == (plain.BATCH, plain.LR, list(plain.BETAS))
    assert {**defaults["model"], **preset["model"]} == {
        "width": plain.WIDTH,
        "norm": "instance",
        "dropout": plain.DROPOUT,
        "patch": 70,
    }
    assert loss["defaults"]["loss"] == {"l1_weight": plain.L1_WEIGHT, "gan_weight": 1.0}


def test_its_networks_are_those_of_the_plugin() -> None:
    torch.manual_seed(3)
    first = ours()
    torch.manual_seed(3)
    second = plain.Generator(), plain.Discriminator()
    for a, b in zip(first, second, strict=True):
        assert [(n, p.shape) for n, p in a.named_parameters()] == [(n, p.shape) for n, p in b.named_parameters()]
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    source = torch.randn(3, 1, 32, 32)
    torch.manual_seed(4)
    images = first[0](torch.zeros(3, 0), source)
    torch.manual_seed(4)
    assert torch.equal(second[0](source), images)
    assert torch.equal(second[1](images, source), first[1](images, source))


def test_a_step_is_half_of_cross_entropy_on_d_then_both_terms_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    torch.manual_seed(0)
    G, D = plain.Generator().double(), plain.Discriminator().double()
    for layer in G.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    old_g, new_d = copy.deepcopy(G), copy.deepcopy(D)
    real, source = torch.randn(4, 3, 32, 32).double().tanh(), torch.randn(4, 1, 32, 32).double().tanh()
    rate = 0.01
    sgd = [torch.optim.SGD(network.parameters(), lr=rate) for network in (G, D)]
    got_losses = plain.train_step(G, D, *sgd, source, real)

    def descend(loss: torch.Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p -= rate * gradient

    bce = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(4, 2, 2).double(), torch.zeros(4, 2, 2).double()
    expected_d = 0.5 * (bce(new_d(real, source), ones) + bce(new_d(old_g(source), source), zeros))
    descend(expected_d, new_d)
    expected_g, expected_l1 = bce(new_d(old_g(source), source), ones), 100 * F.l1_loss(old_g(source), real)
    descend(expected_g + expected_l1, old_g)
    for got_loss, expected_loss in zip(got_losses, (expected_d, expected_g, expected_l1), strict=True):
        torch.testing.assert_close(got_loss, expected_loss.detach())
    for got, expected in ((G, old_g), (D, new_d)):
        for a, b in zip(got.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_the_runner_takes_its_steps(tmp_path: Path) -> None:
    """Its own pictures, of which ganzoo derives the grey, in ganzoo's order and with ganzoo's seeds of dropout."""
    grey, images = plain.draw_shapes(20)
    request = mix.Request(
        picks={"model": "pix2pix-torch", "data": gz.ImageSource(images.numpy())},
        preset="small",
        assigned={
            "data.derive": "grey",
            "train.report_every": "1steps",
            "train.seed": SEED,
            "engine.device": "cpu",
            "engine.threads": 1,
        },
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    assert runner.run()

    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    opt_g, opt_d = (
        torch.optim.Adam(network.parameters(), lr=plain.LR, betas=plain.BETAS, eps=1e-8, fused=True)
        for network in (G, D)
    )
    stream = Stream(len(images), seed=SEED, purpose="data")
    losses = []
    for step in range(STEPS):  # more than an epoch: a batch straddles its end
        order = torch.from_numpy(stream.take_indices(step * plain.BATCH, plain.BATCH))
        with runner.engine.use_seed(SEED, "discriminator", step, 0):
            losses.append(plain.train_step(G, D, opt_g, opt_d, plain.scale(grey[order]), plain.scale(images[order])))

    told = runner.folder.read_stats()
    names = ("discriminator/adversarial", "generator/adversarial", "generator/l1")
    assert [tuple(line[name] for name in names) for line in told] == [tuple(map(float, terms)) for terms in losses]
    for trained, by_hand in ((runner.trainer.G, G), (runner.trainer.D, D)):
        for (name, value), other in zip(trained.state_dict().items(), by_hand.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert np.ptp([float(distance) for _, _, distance in losses]) > 1  # and they did move


def test_it_runs_and_leaves_a_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = plain.draw_shapes
    monkeypatch.setattr(plain, "draw_shapes", lambda count, seed=0: draw(min(count, 16), seed))
    plain.main(total_images=2 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 32, 3 * 32)
        rows = np.asarray(grid).reshape(3, 32, 8 * 32, 3)
    grey, images = draw(8, plain.SEED + 1)
    assert np.array_equal(rows[0, :, :32, :1], grey[0].numpy())
    assert np.array_equal(rows[2, :, -32:], images[7].numpy())
    assert "grid.png" in capsys.readouterr().out
