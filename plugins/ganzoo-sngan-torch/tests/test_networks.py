"""SNGAN's networks: sizes, counts and initial weights of the paper's tables, and a restatement in plain functions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganzoo_core as gz
from ganzoo_sngan_torch.networks import SIZES, Discriminator, Generator

# (inputs, outputs) of each block, at width 128: tables 4 and 6, and the 64 pixels of the authors' code.
G_BLOCKS = {
    32: [(256, 256), (256, 256), (256, 256)],
    64: [(1024, 512), (512, 256), (256, 128), (128, 64)],
    128: [(1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)],
}
D_BLOCKS = {
    32: [(3, 128), (128, 128), (128, 128), (128, 128)],
    64: [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024)],
    128: [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024)],
}
D_SIDES = {32: [16, 8, 8, 8], 64: [32, 16, 8, 4, 2], 128: [64, 32, 16, 8, 4, 4]}
COUNTS = {32: (4_276_739, 1_053_825), 64: (12_220_675, 10_141_441), 128: (32_150_787, 29_017_857)}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    """Weights and biases of a convolution."""
    return inputs * outputs * kernel**2 + outputs


def published(size: int) -> tuple[Generator, Discriminator]:
    with torch.device("meta"):
        G = Generator(size=size, channels=3, latent_dim=128, width=128)
        return G, Discriminator(size=size, channels=3, width=128)


@pytest.mark.parametrize("size", COUNTS)
def test_parameters_are_those_of_the_published_networks(size: int) -> None:
    """Layer by layer. M4 of the zoo's list: about 4.28 and 1.05 M, 12.2 and 10.1 M, 32.2 and 29.0 M."""
    blocks, edge = G_BLOCKS[size], G_BLOCKS[size][-1][1]
    expected_g = 128 * 16 * blocks[0][0] + 16 * blocks[0][0] + 2 * edge + conv(edge, 3)
    for inputs, outputs in blocks:
        norms = 2 * inputs + 2 * outputs  # scale and shift
        expected_g += norms + conv(inputs, outputs) + conv(outputs, outputs) + conv(inputs, outputs, 1)
    expected_d = D_BLOCKS[size][-1][1] + 1
    sides = [size, *D_SIDES[size]]
    for place, (inputs, outputs) in enumerate(D_BLOCKS[size]):
        between = outputs if place == 0 else inputs
        expected_d += conv(inputs, between) + conv(between, outputs)
        expected_d += conv(inputs, outputs, 1) if sides[place + 1] < sides[place] else 0
    assert (expected_g, expected_d) == COUNTS[size]
    assert tuple(map(count, published(size))) == COUNTS[size]


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


@pytest.mark.parametrize("size", COUNTS)
def test_intermediate_shapes_are_those_of_the_tables(size: int) -> None:
    """At width 16, with an eighth of the published channels."""
    shapes: list[tuple[int, ...]] = []
    G, D = Generator(size=size, channels=3, latent_dim=8, width=16), Discriminator(size=size, channels=3, width=16)
    for block in (*G.blocks, *D.blocks):
        block.register_forward_hook(lambda _block, _x, y: shapes.append(tuple(y.shape[1:])))
    with torch.no_grad():
        D(G(torch.randn(2, 8)))
    drawn = [(outputs // 8, 8 << place, 8 << place) for place, (_, outputs) in enumerate(G_BLOCKS[size])]
    judged = [(outputs // 8, side, side) for (_, outputs), side in zip(D_BLOCKS[size], D_SIDES[size], strict=True)]
    assert shapes == drawn + judged


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(size: int, channels: int) -> None:
    G, D = (
        Generator(size=size, channels=channels, latent_dim=7, width=3),
        Discriminator(size=size, channels=channels, width=3),
    )
    with torch.no_grad():
        images = G(50 * torch.randn(2, 7))
        assert (tuple(images.shape), images.dtype) == ((2, channels, size, size), torch.float32)
        assert images.abs().max() <= 1
        assert tuple(D(images).shape) == (2,)


@pytest.mark.parametrize("size", SIZES)
def test_gradients_reach_every_parameter(size: int) -> None:
    torch.manual_seed(0)
    G, D = Generator(size=size, channels=1, latent_dim=7, width=4), Discriminator(size=size, channels=1, width=4)
    for network in (G, D):
        D(G(torch.randn(8, 7))).mean().backward(inputs=list(network.parameters()))
        for name, p in network.named_parameters():
            assert p.grad is not None, name
            # Batch norm takes away again what the bias before it adds.
            assert p.grad.abs().max() > 0 or name.endswith("conv1.bias"), name


@pytest.mark.parametrize("size", SIZES)
def test_an_image_is_what_plain_functions_give(size: int) -> None:
    """With the shortcut as in the figures: first doubled, then convolved."""
    torch.manual_seed(1)
    G = Generator(size=size, channels=3, latent_dim=7, width=4).eval()
    for p in G.parameters():
        nn.init.normal_(p, 0.1, {16: 0.3, 32: 0.3, 64: 0.15, 128: 0.1}[size])
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

    deepest = {16: 8, 32: 8, 64: 32, 128: 32}[size]
    h = z @ w["project.weight"].T + w["project.bias"]
    h = h.reshape(3, 16, deepest).transpose(1, 2).reshape(3, deepest, 4, 4)
    for block in [f"blocks.{place}" for place in range(int(math.log2(size)) - 2)]:
        inner = conv(large(norm(h, f"{block}.norm1").clamp(min=0)), f"{block}.conv1")
        h = conv(norm(inner, f"{block}.norm2").clamp(min=0), f"{block}.conv2") + conv(large(h), f"{block}.shortcut")
    expected = conv(norm(h, "norm").clamp(min=0), "image").tanh()
    assert expected.abs().mean() < 0.99
    torch.testing.assert_close(G(z), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_a_score_is_what_plain_functions_give(size: int) -> None:
    torch.manual_seed(2)
    D, x = Discriminator(size=size, channels=3, width=4), torch.randn(4, 3, size, size)
    for p in D.parameters():
        nn.init.normal_(p, 0.0, 0.3)
    w = dict(D.named_parameters())

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        weight = w[f"blocks.{name}.weight"]
        return F.conv2d(x, weight, w[f"blocks.{name}.bias"], padding=weight.shape[-1] // 2)

    def half(x: torch.Tensor) -> torch.Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    halving, flat = {16: (1, 2), 32: (2, 2), 64: (5, 0), 128: (5, 1)}[size]
    h = half(conv(conv(x, "0.conv1").clamp(min=0), "0.conv2")) + conv(half(x), "0.shortcut")
    for block in range(1, halving):  # here convolved first, then halved, as in the figures
        h = half(conv(conv(h.clamp(min=0), f"{block}.conv1").clamp(min=0), f"{block}.conv2")) + half(
            conv(h, f"{block}.shortcut")
        )
    for block in range(halving, halving + flat):
        h = h + conv(conv(h.clamp(min=0), f"{block}.conv1").clamp(min=0), f"{block}.conv2")
    expected = h.clamp(min=0).sum((2, 3)) @ w["score.weight"][0] + w["score.bias"]
    torch.testing.assert_close(D(x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [32, 64])
def test_weights_begin_as_glorot_s_formula_has_them(size: int) -> None:
    """Uniform with variance 2·gain²/(fan in + fan out), gain √2 in the 3x3 convolutions of blocks; biases 0."""
    torch.manual_seed(3)
    G, D = Generator(size=size, channels=3, latent_dim=32, width=32), Discriminator(size=size, channels=3, width=32)
    for network in (G, D):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert (layer.weight == 1).all()
                assert (layer.bias == 0).all()
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            area = math.prod(layer.weight.shape[2:])
            fans = area * (layer.weight.shape[0] + layer.weight.shape[1])
            gain = math.sqrt(2) if "conv" in name else 1.0
            limit = gain * math.sqrt(6 / fans)
            assert layer.weight.abs().max() <= limit
            if layer.weight.numel() > 1000:
                assert layer.weight.std().item() == pytest.approx(gain * math.sqrt(2 / fans), rel=0.1), name
                assert layer.weight.abs().max() > 0.95 * limit
            assert (layer.bias == 0).all()


@pytest.mark.parametrize("size", [0, 8, 28, 48, 256])
def test_other_sizes_are_refused(size: int) -> None:
    for make in (
        lambda: Generator(size=size, channels=1, latent_dim=4, width=4),
        lambda: Discriminator(size=size, channels=1, width=4),
    ):
        with pytest.raises(gz.UsageError, match=r"of \d+ pixels; set data\.size to 16, 32, 64 or 128"):
            make()


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        Generator(size=32, channels=1, latent_dim=4, width=0)


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    torch.manual_seed(4)
    z = torch.randn(4, 7)
    G, D = Generator(size=64, channels=3, latent_dim=7, width=4), Discriminator(size=64, channels=3, width=4)
    images = G(z)
    scores = D(images)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z)
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(D(images_last), scores, rtol=1e-4, atol=1e-4)
