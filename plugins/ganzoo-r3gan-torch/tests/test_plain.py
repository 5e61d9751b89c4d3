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
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup
from ganzoo_r3gan_torch import networks, plain

STEPS, SEED = 20, 5
CARD = tomllib.loads(Path(plain.__file__).with_name("ganzoo.toml").read_text(encoding="utf-8"))["models"]["r3gan-torch"]


def plugin_networks() -> tuple[nn.Module, nn.Module]:
    model = CARD["presets"]["digits"]["model"]
    names = ("width", "taper", "blocks", "block")
    shape = {"size": 16, "channels": 1, "classes": 0, "group_size": 16, **{name: model[name] for name in names}}
    return networks.Generator(latent_dim=plain.LATENT, tanh=model["tanh"], **shape), networks.Discriminator(**shape)


def test_it_is_short_and_does_without_ganzoo() -> None:
    text = Path(plain.__file__).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not any(name.startswith("ganzoo") for name in imported)


def test_its_settings_are_those_of_the_digits_preset() -> None:
    preset = CARD["presets"]["digits"]
    assert preset["train"] == {
        "batch_size": plain.BATCH,
        "lr": plain.LR,
        "betas": list(plain.BETAS),
        "ema_halflife": plain.EMA,
        "ema_rampup": 0.05,
        "length": str(plain.IMAGES),
    }
    assert preset["use"] == {"schedule": "linear-decay", "with": []}
    assert preset["schedule"] == {"start": plain.START, "final": 0.0}
    assert preset["loss"] == {"gamma": plain.GAMMA}
    assert preset["model"]["latent_dim"] == plain.LATENT


def test_it_begins_with_the_plugin_s_weights_and_computes_the_same() -> None:
    torch.manual_seed(3)
    ours = plugin_networks()
    torch.manual_seed(3)
    theirs = (plain.Generator(), plain.Discriminator())
    for a, b in zip(ours, theirs, strict=True):
        assert a.state_dict().keys() == b.state_dict().keys()
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    z = torch.randn(6, plain.LATENT)
    images = ours[0](z)
    assert torch.equal(theirs[0](z), images)
    assert torch.equal(theirs[1](images), ours[1](images))


def test_a_step_is_the_paired_loss_with_both_penalties_then_g_s_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    torch.manual_seed(0)
    G, D = plain.Generator().double(), plain.Discriminator().double()
    for parameter in (*G.parameters(), *D.parameters()):  # away from the beginning, where blocks do nothing
        parameter.data += 0.05 * torch.randn_like(parameter)
    new_g, new_d = copy.deepcopy(G), copy.deepcopy(D)
    reals, z = list(torch.randn(2, 8, 1, 16, 16).double()), torch.randn(8, plain.LATENT).double()
    rate = 1e-3
    sgd = [torch.optim.SGD(network.parameters(), lr=rate) for network in (G, D)]
    d_loss, g_loss = plain.train_step(G, D, *sgd, reals, z)

    def descend(loss: torch.Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        with torch.no_grad():
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p -= 0 if gradient is None else rate * gradient

    def penalty(images: torch.Tensor) -> torch.Tensor:
        """The squared norm of each image's own gradient, one image at a time."""
        total = torch.zeros((), dtype=torch.float64)
        for image in images.detach():
            point = image[None].clone().requires_grad_()
            (gradient,) = torch.autograd.grad(new_d(point).sum(), point, create_graph=True)
            total = total + (gradient**2).sum()
        return plain.GAMMA / 2 * total / len(images)

    fake = new_g(z)
    # -log sigmoid(D(x) - D(g)), the logistic loss of which of the two is real.
    adversarial = -F.logsigmoid(new_d(reals[0]) - new_d(fake.detach())).mean()
    expected_d = adversarial + penalty(reals[0]) + penalty(fake)
    descend(expected_d, new_d)
    expected_g = -F.logsigmoid(new_d(fake) - new_d(reals[1])).mean()
    descend(expected_g, new_g)
    torch.testing.assert_close(d_loss, expected_d.detach())
    torch.testing.assert_close(g_loss, expected_g.detach())
    for got, expected in ((G, new_g), (D, new_d)):
        for a, b in zip(got.state_dict().values(), expected.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b)


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    whole = gz.ImageSource(images=np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None])
    train = gz.hold_out(whole, "train").images
    images = plain.load_images()
    assert images.shape == (len(train), 16, 16, 1)
    assert images.dtype == torch.uint8
    for i in range(0, len(train), 97):
        expected = Image.fromarray(train[i, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0].numpy(), np.asarray(expected))


def test_the_runner_takes_its_steps_to_the_bit(tmp_path: Path) -> None:
    request = mix.Request(
        picks={"model": "r3gan-torch", "data": "digits"},
        assigned={"train.report_every": "1steps", "train.seed": SEED, "engine.device": "cpu", "engine.threads": 1},
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    assert runner.run()

    images = plain.load_images()
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    opt_g, opt_d = (torch.optim.Adam(network.parameters(), betas=plain.BETAS, fused=True) for network in (G, D))
    ema = copy.deepcopy(G)
    streams = [Stream(len(images), seed=SEED, purpose=purpose) for purpose in ("data", "data of the generator")]
    losses = []
    for step in range(STEPS):
        for optimizer in (opt_g, opt_d):
            optimizer.param_groups[0]["lr"] = plain.learning_rate(step * plain.BATCH, STEPS * plain.BATCH)
        orders = [torch.from_numpy(stream.take_indices(step * plain.BATCH, plain.BATCH)) for stream in streams]
        reals = [(images[order].float() / 127.5 - 1).permute(0, 3, 1, 2) for order in orders]
        z = torch.from_numpy(latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, "normal"))
        losses.append(plain.train_step(G, D, opt_g, opt_d, reals, z))
        plain.update_ema(ema, G, (step + 1) * plain.BATCH)

    told = runner.folder.read_stats()
    d_terms = ("discriminator/adversarial", "discriminator/r1_penalty", "discriminator/r2_penalty")
    assert [sum(line[term] for term in d_terms) for line in told] == pytest.approx([float(d) for d, _ in losses])
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss in losses]
    for ours, theirs in ((runner.trainer.G, G), (runner.trainer.D, D), (runner.trainer.ema, ema)):
        for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert np.ptp([float(d_loss) for d_loss, _ in losses]) > 0.01  # and they did move


def test_it_runs_and_leaves_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=2 * plain.BATCH, path=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 16, 8 * 16)
        assert grid.mode == "L"
    assert "grid.png" in capsys.readouterr().out
