"""The two networks against the paper's sizes and independent arithmetic."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganzoo_core as gz
from ganzoo_pix2pix_torch.networks import SIZES, Discriminator, Generator, choose_level_widths


def generator(size: int = 32, source: int = 1, channels: int = 3, width: int = 4, **more: object) -> Generator:
    torch.manual_seed(0)
    return Generator(size=size, source_channels=source, channels=channels, width=width, **more)


def discriminator(size: int = 32, source: int = 1, channels: int = 3, width: int = 4, **more: object) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(size=size, source_channels=source, channels=channels, width=width, **more)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).tanh()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_parameters_at_256_pixels_and_width_64_are_the_original_s(norm: str) -> None:
    with torch.device("meta"):
        assert count(generator(256, 3, 3, 64, norm=norm)) == 54_413_955
        assert count(discriminator(256, 3, 3, 64, norm=norm)) == 2_768_705


@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from(SIZES),
    source=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    width=st.integers(1, 40),
    patch=st.sampled_from([16, 34, 70]),
)
def test_parameters_follow_the_size_and_the_width(
    size: int, source: int, channels: int, width: int, patch: int
) -> None:
    chain = [width * min(2**level, 8) for level in range(round(math.log2(size)))]
    steps = 16 * sum(a * b for a, b in pairwise(chain))
    back = 2 * steps - 16 * chain[-1] * chain[-2]  # twice as many channels come in, but from the deepest
    to_image = 16 * 2 * chain[0] * channels + channels
    norms = 2 * sum(chain[1:-1]) + 2 * sum(chain[:-1])
    expected_g = 16 * source * chain[0] + steps + back + to_image + norms
    judging = [width * 2**level for level in range({16: 2, 34: 3, 70: 4}[patch])]
    expected_d = 16 * ((source + channels) * width + judging[-1] + sum(a * b for a, b in pairwise(judging)))
    expected_d += width + 1 + 2 * sum(judging[1:])
    with torch.device("meta"):
        assert count(generator(size, source, channels, width)) == expected_g
        assert count(discriminator(size, source, channels, width, patch=patch)) == expected_d


def test_widths_are_those_of_the_paper() -> None:
    assert choose_level_widths(256, 64) == [64, 128, 256, 512, 512, 512, 512, 512]
    assert choose_level_widths(32, 24) == [24, 48, 96, 192, 192]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("source", "channels"), [(1, 3), (4, 1)])
def test_shapes_and_ranges(size: int, source: int, channels: int) -> None:
    sources = noise(2, source, size, size)
    images = generator(size, source, channels, width=2)(torch.zeros(2, 0), 50 * sources)
    assert images.shape == (2, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    patches = size // 8 - 2
    assert discriminator(size, source, channels, width=2)(images, sources).shape == (2, patches, patches)


def test_intermediate_shapes_are_those_of_the_paper() -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        G, D = generator(256, 3, 3, 64), discriminator(256, 3, 3, 64)
    for network in (G, D):
        for layer in network.modules():
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                layer.register_forward_hook(lambda _layer, _x, y: shapes.append(tuple(y.shape[1:])))
    source = torch.randn(1, 3, 256, 256, device="meta")
    D(G(torch.zeros(1, 0, device="meta"), source), source)
    down = [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4), (512, 2), (512, 1)]
    up = [(512, 2), (512, 4), (512, 8), (512, 16), (256, 32), (128, 64), (64, 128), (3, 256)]
    judged = [(64, 128), (128, 64), (256, 32), (512, 31), (1, 30)]
    assert shapes == [(channels, side, side) for channels, side in (*down, *up, *judged)]


@pytest.mark.parametrize("patch", [16, 34, 70])
def test_a_score_sees_a_patch_and_nothing_else(patch: int) -> None:
    """Without a normalisation, one pixel of the input moves exactly the scores whose patch holds it."""
    D = discriminator(128, 1, 1, width=1, patch=patch).double()
    for index, layer in enumerate(D.layers):
        if isinstance(layer, nn.InstanceNorm2d):
            D.layers[index] = nn.Identity()
    images = noise(1, 1, 128, 128).double().requires_grad_()
    scores = D(images, noise(1, 1, 128, 128).double())
    middle = scores.shape[-1] // 2
    (gradient,) = torch.autograd.grad(scores[0, middle, middle], images)
    rows = torch.nonzero(gradient[0, 0].abs().sum(1)).flatten()
    assert int(rows[-1] - rows[0]) + 1 == patch


@pytest.mark.parametrize("size", [0, 16, 28, 48, 512])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels; set data\.size to 32, 64, 128 or 256"):
        generator(size)
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels"):
        discriminator(size)


def test_unsuitable_settings_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        discriminator(width=0)
    with pytest.raises(gz.UsageError, match=r"model\.norm is 'group'; set it to instance or batch"):
        generator(norm="group")
    with pytest.raises(gz.UsageError, match=r"model\.dropout is 1"):
        generator(dropout=1.0)
    with pytest.raises(gz.UsageError, match=r"model\.patch is 71; set it to 16, 34 or 70"):
        discriminator(patch=71)


def test_weights_begin_as_the_paper_says() -> None:
    for network in (generator(64, width=32), discriminator(64, width=32)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                mean = 0.0
            elif isinstance(layer, nn.InstanceNorm2d):
                mean = 1.0
            else:
                continue
            if layer.bias is not None:
                assert layer.bias.count_nonzero() == 0, name
            weight = layer.weight.detach().double().flatten()
            noise = 5 / math.sqrt(len(weight))  # five standard errors
            assert abs(weight.mean().item() - mean) < noise * 0.02, name
            assert abs(weight.std().item() / 0.02 - 1) < noise, name


def normalise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.maximum(x, 0.2 * x)


AXES = {"instance": (2, 3), "batch": (0, 2, 3)}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_an_image_is_what_plain_functions_give(norm: str) -> None:
    """32 pixels, five levels, written out one by one; dropout is off."""
    G = generator(source=2, width=2, norm=norm, dropout=0.0)
    p = {name: value.detach() for name, value in G.named_parameters()}
    x, axes = noise(3, 2, 32, 32), AXES[norm]

    def down(x: torch.Tensor, level: int) -> torch.Tensor:
        x = F.conv2d(leaky(x), p[f"down.{level}.1.weight"], stride=2, padding=1)
        return normalise(x, p[f"down.{level}.2.weight"], p[f"down.{level}.2.bias"], axes) if level < 4 else x

    def up(x: torch.Tensor, level: int) -> torch.Tensor:
        x = F.conv_transpose2d(x.clamp(min=0), p[f"up.{level}.1.weight"], stride=2, padding=1)
        return normalise(x, p[f"up.{level}.2.weight"], p[f"up.{level}.2.bias"], axes)

    d16 = F.conv2d(x, p["down.0.weight"], stride=2, padding=1)
    d8 = down(d16, 1)
    d4 = down(d8, 2)
    d2 = down(d4, 3)
    d1 = down(d2, 4)
    u2 = torch.cat([up(d1, 0), d2], 1)
    u4 = torch.cat([up(u2, 1), d4], 1)
    u8 = torch.cat([up(u4, 2), d8], 1)
    u16 = torch.cat([up(u8, 3), d16], 1)
    last = F.conv_transpose2d(u16.clamp(min=0), p["to_image.1.weight"], p["to_image.1.bias"], stride=2, padding=1)
    torch.testing.assert_close(G(torch.zeros(3, 0), x), last.tanh(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_scores_are_what_plain_functions_give(norm: str) -> None:
    D = discriminator(source=2, channels=1, width=2, norm=norm, patch=34)
    p = {name: value.detach() for name, value in D.named_parameters()}
    image, source, axes = noise(3, 1, 32, 32), noise(3, 2, 32, 32), AXES[norm]
    h = torch.cat([source, image], 1)
    h = leaky(F.conv2d(h, p["layers.0.weight"], p["layers.0.bias"], stride=2, padding=1))
    h = F.conv2d(h, p["layers.2.weight"], stride=2, padding=1)
    h = leaky(normalise(h, p["layers.3.weight"], p["layers.3.bias"], axes))
    h = F.conv2d(h, p["layers.5.weight"], padding=1)
    h = leaky(normalise(h, p["layers.6.weight"], p["layers.6.bias"], axes))
    h = F.conv2d(h, p["layers.8.weight"], p["layers.8.bias"], padding=1)
    torch.testing.assert_close(D(image, source), h[:, 0], rtol=1e-4, atol=1e-6)


def test_with_instance_norm_each_picture_of_a_batch_is_treated_alone() -> None:
    G, D = generator(dropout=0.0), discriminator()
    source, z = noise(4, 1, 32, 32), torch.zeros(4, 0)
    torch.testing.assert_close(G(z, source)[:1], G(z[:1], source[:1]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(D(G(z, source), source)[:1], D(G(z[:1], source[:1]), source[:1]), rtol=1e-3, atol=1e-5)


def test_for_a_single_picture_batch_norm_is_instance_norm() -> None:
    source, z = noise(1, 1, 32, 32), torch.zeros(1, 0)
    by_instance, by_batch = (generator(norm=norm, dropout=0.0) for norm in ("instance", "batch"))
    torch.testing.assert_close(by_instance(z, source), by_batch(z, source), rtol=1e-4, atol=1e-6)


def test_dropout_is_in_the_three_deepest_levels_of_the_way_back() -> None:
    for size in SIZES:
        G = generator(size, width=1)
        assert [any(isinstance(layer, nn.Dropout) for layer in level) for level in G.up][:4] == [True] * 3 + [False]
        assert sum(isinstance(layer, nn.Dropout) for layer in G.modules()) == 3
        assert not any(isinstance(layer, nn.Dropout) for layer in generator(size, width=1, dropout=0.0).modules())
    source, z = noise(1, 1, 32, 32), torch.zeros(1, 0)
    G = generator()
    assert not torch.equal(G(z, source), G(z, source))
    assert torch.equal(G.eval()(z, source), G(z, source))


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    G, D = generator(dropout=0.0), discriminator()
    source, z = noise(4, 1, 32, 32), torch.zeros(4, 0)
    images = G(z, source)
    scores = D(images, source)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z, source.to(memory_format=torch.channels_last))
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(D(images_last, source), scores, rtol=1e-4, atol=1e-5)
