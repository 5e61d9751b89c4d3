"""`plain.py`: its networks are those of the mix, and the runner takes its steps to the bit."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganzoo_core as gz
from ganzoo_core import mix
from ganzoo_core.data.stream import Stream
from ganzoo_core.discovery import catalog
from ganzoo_core.engines.torch.precision import check_precision
from ganzoo_core.randomness import latents, philox
from ganzoo_core.training import assemble, setup
from ganzoo_sngan_torch import plain

STEPS, SEED = 20, 5
SMALL = {
    "generator.width": 3, "discriminator.width": 4, "train.batch_size": 4, "engine.device": "cpu", "engine.threads": 1,
}  # fmt: skip


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
    card = tomllib.loads(text)["models"]["sngan-torch"]
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
    assert defaults["use"] == {"loss": "hinge", "schedule": "linear-decay", "with": ["spectral-norm"]}
    assert defaults["schedule"] == {"start": 0.0, "final": 0.0}


def test_its_images_are_the_digits_that_ganzoo_trains_on() -> None:
    from sklearn.datasets import load_digits

    whole = gz.ImageSource(images=np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None])
    train, images = gz.hold_out(whole, "train").images, plain.load_images()
    assert images.shape == (len(train), 16, 16, 1)
    for i in range(0, len(images), 97):
        expected = Image.fromarray(train[i, :, :, 0]).resize((16, 16), Image.Resampling.LANCZOS)
        assert np.array_equal(images[i, :, :, 0].numpy(), np.asarray(expected))


def test_the_runner_takes_its_steps_to_the_bit(tmp_path: Path) -> None:
    """Fed the same batches and noise, from the same weights; with the spectral norm that the mix picks."""
    request = mix.Request(
        picks={"model": "sngan-torch", "data": "digits"},
        assigned={"train.report_every": "1steps", "train.seed": SEED, "engine.device": "cpu", "engine.threads": 1},
        flags={"train.length": (f"{STEPS}steps", "--steps")},
    )
    runner = assemble.open_run(
        setup.build(setup.load(mix.resolve(catalog.scan(), request), None), quiet=True), out=tmp_path / "run"
    )
    G, D = plain.Generator(), plain.Discriminator()
    G.load_state_dict(runner.trainer.G.state_dict())
    D.load_state_dict(runner.trainer.D.state_dict())
    assert runner.run()

    images = plain.load_images()
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
        losses.append(plain.train_step(G, D, opt_g, opt_d, real, z))

    told = runner.folder.read_stats()
    assert [line["discriminator/adversarial"] for line in told] == [float(d_loss) for d_loss, _ in losses]
    assert [line["generator/adversarial"] for line in told] == [float(g_loss) for _, g_loss in losses]
    for ours, theirs in ((runner.trainer.G, G), (runner.trainer.D, D)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name
    assert np.ptp([float(d_loss) for d_loss, _ in losses]) > 0.01  # and they did move


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_that_is_resumed_is_the_run_that_was_not(precision: str, tmp_path: Path) -> None:
    """With the paper's five steps of D, and all that can be beside them; each tensor is in the checkpoint."""
    try:
        check_precision(torch.device("cpu"), precision)
    except gz.UsageError as error:
        pytest.skip(str(error))
    chosen = {
        "use.with": "diffaugment,spectral-norm",
        "with.spectral-norm.networks": "discriminator,generator",
        "train.critic_steps": 5,
        "train.ema_halflife": 50,
        "engine.precision": precision,
    }
    request = mix.Request(picks={"model": "sngan-torch", "data": "digits"}, assigned={**SMALL, **chosen})
    resolved = mix.resolve(catalog.scan(), request)
    straight, first, second = (
        assemble.open_run(setup.build(setup.load(resolved, None), quiet=True), out=tmp_path / name).trainer
        for name in ("straight", "first", "second")
    )
    for step in range(4):
        straight.step(step, 20 * step, {})
    for step in range(2):
        first.step(step, 20 * step, {})
    second.restore_state(first.read_state())
    for step in range(2, 4):
        second.step(step, 20 * step, {})
    wanted, found = straight.read_state(), second.read_state()
    assert {name.split("/")[0] for name in wanted if name.endswith("weight.0._u")} == {"G", "D", "EMA"}
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def test_it_runs_and_leaves_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain.main(total_images=2 * plain.BATCH, path=str(tmp_path / "grid.png"))
    with Image.open(tmp_path / "grid.png") as grid:
        assert (grid.size, grid.mode) == ((128, 128), "L")
    assert "grid.png" in capsys.readouterr().out
