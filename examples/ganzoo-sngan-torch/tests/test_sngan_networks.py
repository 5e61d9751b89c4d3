"""Both networks: counts from the paper's table, sizes, and the numbers against plain functions."""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganzoo_core as gz
from ganzoo_core import building, engines, mix
from ganzoo_core.discovery import catalog
from ganzoo_sngan_torch import hooks
from ganzoo_sngan_torch.networks import Discriminator, Generator


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def card() -> dict[str, Any]:
    text = (importlib.resources.files("ganzoo_sngan_torch") / "ganzoo.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["models"]["sngan-torch"]


def test_parameters_at_32_pixels_are_those_of_the_paper_s_table() -> None:
    """Table 4 layer by layer: weights, then biases. The manifest's defaults build it."""
    norm_g = 256 + 256  # scale and shift
    conv_g = 256 * 256 * 3 * 3 + 256
    block_g = norm_g + conv_g + norm_g + conv_g + (256 * 256 + 256)
    expected_g = (128 * 4 * 4 * 256 + 4 * 4 * 256) + 3 * block_g + norm_g + (256 * 3 * 3 * 3 + 3)

    conv_d = 128 * 128 * 3 * 3 + 128
    first = (3 * 128 * 3 * 3 + 128) + conv_d + (3 * 128 + 128)
    second = conv_d + conv_d + (128 * 128 + 128)
    third = fourth = conv_d + conv_d
    expected_d = first + second + third + fourth + (128 + 1)

    assert (expected_g, expected_d) == (4_276_739, 1_053_825)
    spec = gz.Spec(height=32, width=32, channels=3, classes=0, latent_dim=128, framework="torch")
    options = card()["defaults"]["model"]
    with torch.device("meta"):
        assert count(hooks.build_generator(spec, options)) == expected_g
        assert count(hooks.build_discriminator(spec, options)) == expected_d


@settings(max_examples=40)
@given(
    size=st.sampled_from([16, 32]), channels=st.sampled_from([1, 3]), width=st.integers(1, 40), z=st.integers(1, 150)
)
def test_parameters_follow_size_and_width(size: int, channels: int, width: int, z: int) -> None:
    """G with w = 2·width: 16w(z+1) + b(19w² + 7w) + 2w + C(9w+1); D: 10Cw + 9w² + 3w, 19w² + 3w, 2(18w² + 2w), w+1."""
    blocks, wide = {16: (2, 1), 32: (3, 2)}[size], 2 * width
    expected_g = 16 * wide * (z + 1) + blocks[0] * (19 * wide**2 + 7 * wide) + 2 * wide + channels * (9 * wide + 1)
    first = 10 * channels * width + 9 * width**2 + 3 * width
    expected_d = first + (blocks[1] - 1) * (19 * width**2 + 3 * width) + 2 * (18 * width**2 + 2 * width) + width + 1
    with torch.device("meta"):
        assert count(Generator(size=size, channels=channels, latent_dim=z, width=width)) == expected_g
        assert count(Discriminator(size=size, channels=channels, width=width)) == expected_d


def test_intermediate_shapes_are_those_of_the_table() -> None:
    shapes: list[tuple[int, ...]] = []
    G = Generator(size=32, channels=3, latent_dim=128, width=128)
    D = Discriminator(size=32, channels=3, width=128)
    for block in (*G.blocks, *D.blocks):
        block.register_forward_hook(lambda _block, _x, y: shapes.append(tuple(y.shape[1:])))
    with torch.no_grad():
        images = G(50 * torch.randn(2, 128))
        assert (images.shape, images.dtype) == ((2, 3, 32, 32), torch.float32)
        assert images.abs().max() <= 1
        assert D(images).shape == (2,)
    drawn = [(256, 8, 8), (256, 16, 16), (256, 32, 32)]
    assert shapes == [*drawn, (128, 16, 16), (128, 8, 8), (128, 8, 8), (128, 8, 8)]


def test_the_mix_normalises_every_layer_of_the_discriminator() -> None:
    """By the modifier that the manifest picks; without it there is no spectral norm."""
    for words, wanted in ((None, 2 * 3 + 1 + 1), ([], 0)):
        request = mix.Request(picks={"model": "sngan-torch", "data": "digits"}, modifiers=words)
        resolved = mix.resolve(catalog.scan(), request)
        assert [part.name for part in resolved.modifiers] == ["spectral-norm"] * bool(wanted)
        fitted = building.fit_from_card(resolved)
        assert fitted is not None
        G, D = building.build_networks(engines.create_engine("torch", resolved.settings), resolved, fitted, {})
        assert sum(name.endswith("parametrizations.weight.original") for name, _ in D.named_parameters()) == wanted
        assert not any("parametrizations" in name for name, _ in G.named_parameters())


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    G = Generator(size=32, channels=1, latent_dim=7, width=3)
    D = Discriminator(size=32, channels=1, width=4)
    for network in (G, D):
        D(G(torch.randn(8, 7))).mean().backward(inputs=list(network.parameters()))
        for name, p in network.named_parameters():
            assert p.grad is not None, name
            # Batch norm takes away again what the bias before it adds.
            assert p.grad.abs().max() > 0 or name.endswith("conv1.bias"), name


def test_an_image_is_what_plain_functions_give() -> None:
    """With the shortcut as in the figures: first doubled, then convolved."""
    torch.manual_seed(1)
    G = Generator(size=16, channels=3, latent_dim=7, width=3).eval()
    for p in G.parameters():
        nn.init.normal_(p, 0.1, 0.3)
    for name, buffer in G.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(buffer, 0.5, 1.5)
    w, z = {**dict(G.named_parameters()), **dict(G.named_buffers())}, torch.randn(3, 7)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = (x - w[f"{name}.running_mean"][:, None, None]) / (w[f"{name}.running_var"][:, None, None] + 1e-5).sqrt()
        return x * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=w[f"{name}.weight"].shape[-1] // 2)

    def large(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    h = (z @ w["project.weight"].T + w["project.bias"]).reshape(3, 16, 6).transpose(1, 2).reshape(3, 6, 4, 4)
    for block in ("blocks.0", "blocks.1"):
        inner = conv(large(norm(h, f"{block}.norm1").clamp(min=0)), f"{block}.conv1")
        h = conv(norm(inner, f"{block}.norm2").clamp(min=0), f"{block}.conv2") + conv(large(h), f"{block}.shortcut")
    expected = conv(norm(h, "norm").clamp(min=0), "image").tanh()
    torch.testing.assert_close(G(z), expected, rtol=1e-4, atol=1e-4)


def test_a_score_is_what_plain_functions_give() -> None:
    torch.manual_seed(2)
    D, x = Discriminator(size=32, channels=3, width=4), torch.randn(4, 3, 32, 32)
    for p in D.parameters():
        nn.init.normal_(p, 0.0, 0.3)
    w = dict(D.named_parameters())

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = w[f"blocks.{name}.weight"]
        return F.conv2d(x, weight, w[f"blocks.{name}.bias"], padding=weight.shape[-1] // 2)

    def half(x: torch.Tensor) -> torch.Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    h = half(conv(conv(x, "0.conv1").clamp(min=0), "0.conv2")) + conv(half(x), "0.shortcut")
    h = half(conv(conv(h.clamp(min=0), "1.conv1").clamp(min=0), "1.conv2")) + half(conv(h, "1.shortcut"))
    for block in ("2", "3"):
        h = h + conv(conv(h.clamp(min=0), f"{block}.conv1").clamp(min=0), f"{block}.conv2")
    expected = h.clamp(min=0).sum((2, 3)) @ w["score.weight"][0] + w["score.bias"]
    torch.testing.assert_close(D(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (64, 64), (16, 32)])
def test_other_sizes_are_refused(height: int, width: int) -> None:
    spec = gz.Spec(height=height, width=width, channels=1, classes=0, latent_dim=4, framework="torch")
    for build in (hooks.build_generator, hooks.build_discriminator):
        with pytest.raises(gz.UsageError, match=r"set data\.size to 16 or 32"):
            build(spec, {"width": 4})


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        Generator(size=32, channels=1, latent_dim=4, width=0)


def test_the_cifar10_preset_is_the_paper() -> None:
    """Table 4, and Adam's settings of the paper's ResNets."""
    defaults, preset = card()["defaults"], card()["presets"]["cifar10"]
    assert preset == {"data": {"size": 32}, "model": {"width": 128}, "train": {"length": "320epochs"}}
    assert 50_000 * 5 * defaults["train"]["batch_size"] == 320 * 50_000  # so many updates of G, of the authors' code
    assert (defaults["train"]["lr"], defaults["train"]["betas"]) == (2e-4, [0.0, 0.9])
    assert (defaults["use"]["loss"], defaults["train"]["critic_steps"]) == ("hinge", 5)


def test_importing_the_hooks_brings_no_torch() -> None:
    code = "import sys, ganzoo_sngan_torch.hooks; print({'torch', 'sklearn', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
