"""`plain.py`: its networks are those of `networks.py`, and the runner takes its steps to the bit."""

from __future__ import annotations

import ast
import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganzoo_core as gz
from ganzoo_cgan_projection_torch import networks, plain
from ganzoo_core import mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup

STEPS, SEED = 20, 5


def plugin_networks() -> tuple[nn.Module, nn.Module]:
    shape = {"size": 16, "channels": 1, "classes": plain.CLASSES, "width": plain.D_WIDTH}
    return networks.Generator(latent_dim=plain.LATENT, **shape), networks.Discriminator(**shape)


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
    card = tomllib.loads(text)["models"]["cgan-projection-torch"]
    preset, defaults = card["presets"]["digits"], card["defaults"]
    assert plain.G_WIDTH == 2 * plain.D_WIDTH
    assert preset["model"] == {"width": plain.D_WIDTH, "latent_dim": plain.LATENT}
    assert preset["train"] == {
        "batch_size": plain.BATCH,
        "critic_steps": 1,
        "lr": plain.LR_G,
        "lr_d": plain.LR_D,
        "betas": list(plain.BETAS),
        "length": str(plain.IMAGES),
    }
    assert (defaults["use"], defaults["schedule"]) == (
        {"loss": "hinge", "schedule": "linear-decay"},
        {"start": 0.0, "final": 0.0},
    )


def test_it_begins_with_the_plugin_s_weights_and_computes_the_same() -> None:
    torch.manual_seed(3)
    ours = plugin_networks()
    torch.manual_seed(3)
    theirs = (plain.Generator(), plain.Discriminator())
    for a, b in zip(ours, theirs, strict=True):
        assert a.state_dict().keys() == b.state_dict().keys()
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    z, y = torch.randn(6, plain.LATENT), torch.arange(6)
    images = ours[0](z, y)
    assert torch.equal(theirs[0](z, y), images)
    assert torch.equal(theirs[1](images, y), ours[1](images, y))


def test_a_step_is_the_hinge_loss_on_d_then_the_score_on_g_against_the_new_d() -> None:
    """With plain gradient descent each new weight is the old one minus the rate times the gradient."""
    torch.manual_seed(0)
    G, D = plain.Generator().double(), plain.Discriminator().double()
    new_g, new_d = copy.deepcopy(G), copy.deepcopy(D)
    real, y, z = torch.randn(8, 1, 16, 16).tanh().double(), torch.arange(8), torch.randn(8, plain.LATENT).double()
    rate = 1e-3
    sgd = [torch.optim.SGD(network.parameters(), lr=rate) for network in (G, D)]
    d_loss, g_loss = plain.train_step(G, D, *sgd, real, y, z)

    def descend(loss: torch.Tensor, network: nn.Module) -> None:
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, gradient in zip(network.parameters(), gradients, strict=True):
                p -= rate * gradient

    fake = new_g(z, y)
    expected_d = torch.clamp(1 - new_d(real, y), min=0).mean() + torch.clamp(1 + new_d(fake.detach(), y), min=0).mean()
    descend(expected_d, new_d)
    expected_g = -new_d(fake, y).mean()
    descend(expected_g, new_g)
    torch.testing.assert_close(d_loss, expected_d.detach())
    torch.testing.assert_close(g_loss, expected_g.detach())
    for got, expected in ((G, new_g), (D, new_d)):
        for a, b in zip(got.state_dict().values(), expected.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b)


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    whole = gz.ImageSource(
        images=np.rint(digits.images * 255 / 16).astype(np.uint8)[..., None],
        labels=digits.target.astype(np.int64),
        class_names=tuple(map(str, range(10))),
    )
    train = gz.hold_out(whole, "train")
    images, labels = plain.load_images()
    assert images.shape == (len(train.images), 16, 16, 1)
    assert images.dtype == torch.uint8
    assert np.array_equal(labels.numpy(), train.labels)
    for i in range(0, len(images), 97):
        expected = np.asarray(Image.fromarray(train.images[i, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS))
        assert np.array_equal(images[i, :, :, 0].numpy(), expected)


def test_the_runner_takes_its_steps_to_the_bit(tmp_path: Path) -> None:
    request = mix.Request(
        picks={"model": "cgan-projection-torch", "data": "digits"},
        assigned={"train.report_every": "1steps", "train.seed": SEED, "engine.device": "cpu", "engine.threads": 1},
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    resolved = mix.resolve(catalog.scan(), request)
    runner = assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / "run")
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    assert runner.run()

    images, labels = plain.load_images()
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    opt_g, opt_d = (torch.optim.Adam(network.parameters(), betas=plain.BETAS, fused=True) for network in (G, D))
    stream = Stream(len(images), seed=SEED, purpose="data")
    losses = []
    for step in range(STEPS):
        for optimizer, rate in ((opt_g, plain.LR_G), (opt_d, plain.LR_D)):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
        order = torch.from_numpy(stream.take_indices(step * plain.BATCH, plain.BATCH))
        real = (images[order].float() / 127.5 - 1).permute(0, 3, 1, 2)
        z = torch.from_numpy(latents(philox(SEED, "z", step, 0), plain.BATCH, plain.LATENT, "normal"))
        losses.append(plain.train_step(G, D, opt_g, opt_d, real, labels[order], z))

    told = runner.folder.read_stats()
    assert [line["discriminator/adversarial"] for line in told] == [float(d_loss) for d_loss, _ in losses]
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss in losses]
    for ours, theirs in ((runner.trainer.G, G), (runner.trainer.D, D)):
        for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(value, other), name
    assert np.ptp([float(d_loss) for d_loss, _ in losses]) > 0.01  # and they did move


def test_it_runs_and_leaves_a_grid_with_one_row_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=2 * plain.BATCH, path=str(tmp_path / "grid.png"))
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 16, 10 * 16)
        assert grid.mode == "L"
    assert "grid.png" in capsys.readouterr().out
