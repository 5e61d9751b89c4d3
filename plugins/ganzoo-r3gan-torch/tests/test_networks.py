"""The two networks against the published sizes and independent arithmetic."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ganzoo_core as gz
from ganzoo_r3gan_torch.networks import SIZES, Discriminator, Generator, Resample, choose_stage_widths

PAPER: dict[str, Any] = {"taper": [1, 1, 1, 1, 0.5, 0.25, 0.125], "blocks": 2, "block": "grouped", "group_size": 16}
SMALL: dict[str, Any] = {"size": 16, "channels": 3, "classes": 0, "width": 8, **PAPER}


def generator(**changes: Any) -> Generator:
    torch.manual_seed(0)
    return Generator(**{**SMALL, "latent_dim": 5, "tanh": False, **changes})


def discriminator(**changes: Any) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(**{**SMALL, **changes})


def moved(network: nn.Module) -> nn.Module:
    """The same network with every weight and bias away from its beginning, where residual blocks do nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("size", "classes", "width", "expected_g", "expected_d"),
    [
        (32, 0, 768, 20_732_160, 20_683_776),
        (32, 10, 768, 20_781_952, 21_280_512),
        (64, 0, 768, 22_429_824, 22_381_440),
        (256, 0, 768, 23_057_952, 23_009_568),
        (32, 0, 192, 1_644_096, 1_632_000),
    ],
)
def test_parameters_are_those_of_the_published_networks(
    size: int, classes: int, width: int, expected_g: int, expected_d: int
) -> None:
    shape: dict[str, Any] = {**SMALL, "size": size, "classes": classes, "width": width}
    with torch.device("meta"):
        assert count(Generator(**shape, latent_dim=64, tanh=False)) == expected_g
        assert count(Discriminator(**shape)) == expected_d


@settings(deadline=None, max_examples=25)
@given(
    size=st.sampled_from(SIZES),
    channels=st.sampled_from([1, 3]),
    classes=st.sampled_from([0, 7]),
    width=st.integers(1, 6).map(lambda eighths: 8 * eighths),
    latent=st.integers(1, 40),
    blocks=st.integers(1, 3),
    block=st.sampled_from(["grouped", "plain"]),
)
def test_parameters_follow_the_settings(
    size: int, channels: int, classes: int, width: int, latent: int, blocks: int, block: str
) -> None:
    widths = choose_stage_widths(size, width, [1, 0.5])
    # A grouped block: 1x1 there and back, 3x3 within groups of 8 of twice the channels, two biases of these.
    a_block = {
        "grouped": lambda w: 2 * (w * 2 * w) + 9 * 2 * w * min(8, 2 * w) + 2 * (2 * w),
        "plain": lambda w: 2 * 9 * w * w + w,
    }[block]
    both = blocks * sum(a_block(w) for w in widths) + sum(a * b for a, b in pairwise(widths) if a != b)
    both += channels * widths[-1] + 16 * widths[0]
    expected_g = both + widths[0] * latent * (2 if classes else 1) + classes * latent
    expected_d = both + widths[0] * (widths[0] if classes else 1) + classes * widths[0]
    shape: dict[str, Any] = {
        "size": size, "channels": channels, "classes": classes, "width": width, "taper": [1, 0.5],
        "blocks": blocks, "block": block, "group_size": 8,
    }  # fmt: skip
    with torch.device("meta"):
        assert count(Generator(**shape, latent_dim=latent, tanh=False)) == expected_g
        assert count(Discriminator(**shape)) == expected_d


def test_widths_are_the_published_ones() -> None:
    assert choose_stage_widths(256, 768, PAPER["taper"]) == [768, 768, 768, 768, 384, 192, 96]
    assert choose_stage_widths(32, 128, [1, 1, 0.75, 0.5]) == [128, 128, 96, 64]
    assert choose_stage_widths(64, 10, [1, 0.5]) == [10, 5, 5, 5, 5]
    assert choose_stage_widths(16, 1, [1, 0.01]) == [1, 1, 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block", ["grouped", "plain"])
def test_shapes(size: int, channels: int, block: str) -> None:
    shape: dict[str, Any] = {"size": size, "channels": channels, "block": block, "blocks": 1, "width": 4}
    images = generator(**shape)(torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.dtype == torch.float32
    assert discriminator(**shape)(images).shape == (3,)
    assert discriminator(**shape)(images[:1]).shape == (1,)


def test_images_are_bounded_by_tanh_alone() -> None:
    z = 50 * torch.randn(3, 5)
    images = generator()(z)
    assert images.abs().max() > 2
    torch.testing.assert_close(generator(tanh=True)(z), 1 - 2 / (torch.exp(2 * images) + 1))


def test_intermediate_shapes_are_those_of_the_paper() -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        networks = (
            Generator(**{**SMALL, "size": 64, "width": 768}, latent_dim=64, tanh=False),
            Discriminator(**{**SMALL, "size": 64, "width": 768}),
        )
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                assert layer.groups in (1, 2 * layer.in_channels // 32)  # 96 groups of 1,536 channels, 48 of 768
                if layer.kernel_size == (3, 3):
                    layer.register_forward_hook(lambda _layer, _x, y: shapes.append(tuple(y.shape[1:])))
    networks[1](networks[0](torch.randn(1, 64, device="meta")))
    drawn = [(1536, 4), (1536, 8), (1536, 16), (1536, 32), (768, 64)]
    expected = [side for side in (*drawn, *drawn[::-1]) for _ in range(2)]
    assert shapes == [(channels, side, side) for channels, side in expected]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        *[({"size": size}, rf"images of {size} pixels; set data\.size to 16, 32, 64, 128 or 256") for size in (8, 48)],
        ({"width": 0}, r"model\.width is 0"),
        ({"blocks": 0}, r"model\.blocks is 0"),
        ({"block": "wide"}, r"model\.block is 'wide'; set it to grouped or plain"),
        ({"taper": [1, 0]}, r"model\.taper is 1,0; it holds each stage's share"),
        ({"taper": []}, r"model\.taper is empty"),
        ({"group_size": 5}, r"group_size is 5, .* 16 channels \(twice 8\).*; set it to a divisor of 16, such as 1"),
        ({"width": 12}, r"group_size is 16, .* 24 channels .*; set it to a divisor of 24, such as 8"),
    ],
)
def test_unsuitable_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    for build in (generator, discriminator):
        with pytest.raises(gz.UsageError, match=said):
            build(**changes)


@pytest.mark.parametrize(("block", "layers"), [("grouped", 3), ("plain", 2)])
def test_weights_begin_as_the_paper_says(block: str, layers: int) -> None:
    """std = gain / √fan-in; in L blocks of m layers the gain is √(2/1.04)·L^(-1/(2m-2)), and 0 for each last layer."""
    for build in (generator, discriminator):
        network = build(size=64, width=64, classes=50, block=block)
        within = math.sqrt(2 / 1.04) * (2 * 5) ** (-1 / (2 * layers - 2))
        for name, value in network.named_parameters():
            value = value.detach().double()
            fan_in = value[0].numel()
            if name.endswith("bias") or "reduce" in name or "last" in name:
                assert value.count_nonzero() == 0, name
                continue
            if any(word in name for word in ("expand", "mix", "first")):
                expected = within / math.sqrt(fan_in)
            elif name == "basis":
                expected = 1.0 if build is generator else 1 / math.sqrt(16)
            elif name == "embedding.weight":  # a linear layer of 50 one-hot numbers
                expected = 1 / math.sqrt(50) / (1 if build is generator else math.sqrt(64))
            else:
                expected = 1 / math.sqrt(fan_in)
            noise = 5 / math.sqrt(value.numel())  # five standard errors
            assert abs(value.mean().item()) < noise * expected, name
            assert abs(value.std().item() / expected - 1) < noise, name


def test_only_what_comes_before_an_activation_has_a_bias() -> None:
    for build in (generator, discriminator):
        biased = {name.split(".")[-2] for name, _ in build(classes=3).named_parameters() if name.endswith("bias")}
        assert biased == {"expand", "mix"}
        biased = {name.split(".")[-2] for name, _ in build(block="plain").named_parameters() if name.endswith("bias")}
        assert biased == {"first"}


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.maximum(x, 0.2 * x)


def resampled(x: torch.Tensor, *, up: bool) -> torch.Tensor:
    """A convolution of each channel by itself with [1,3,3,1] in both directions, written from the definition."""
    taps = np.convolve([1, 2, 1], [1, 1]) / 8
    kernel = torch.tensor(np.outer(taps, taps), dtype=x.dtype).expand(x.shape[1], 1, 4, 4)
    if up:
        return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=x.shape[1])
    return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def residual(x: torch.Tensor, p: dict[str, torch.Tensor], at: str) -> torch.Tensor:
    """One block, grouped or plain, with groups of 8 channels each convolved by itself."""
    if f"{at}.first.weight" in p:
        return x + F.conv2d(leaky(F.conv2d(x, p[f"{at}.first.weight"], p[f"{at}.first.bias"], padding=1)),
                            p[f"{at}.last.weight"], padding=1)  # fmt: skip
    h = leaky(F.conv2d(x, p[f"{at}.expand.weight"], p[f"{at}.expand.bias"]))
    parts = zip(h.split(8, 1), p[f"{at}.mix.weight"].split(8), strict=True)
    h = torch.cat([F.conv2d(part, weight, padding=1) for part, weight in parts], 1)
    return x + F.conv2d(leaky(h + p[f"{at}.mix.bias"][:, None, None]), p[f"{at}.reduce.weight"])


@pytest.mark.parametrize("block", ["grouped", "plain"])
@pytest.mark.parametrize("classes", [0, 4])
def test_an_image_is_what_plain_functions_give(block: str, classes: int) -> None:
    """16 pixels, widths 8, 4, 4, one block a stage, written out one by one."""
    G = moved(generator(classes=classes, block=block, blocks=1, taper=[1, 0.5], group_size=8))
    p = {name: value.detach() for name, value in G.named_parameters()}
    z, labels = torch.randn(3, 5), torch.tensor([2, 0, 2])
    given = (z, labels) if classes else (z,)
    if classes:
        z = torch.cat([z, torch.stack([p["embedding.weight"][label] for label in labels])], 1)
    x = torch.einsum("nz,wz,whv->nwhv", z, p["project.weight"], p["basis"])  # [3,8,4,4]
    x = residual(x, p, "layers.0")
    x = resampled(F.conv2d(x, p["layers.1.weight"]), up=True)
    x = residual(x, p, "layers.3")
    x = resampled(x, up=True)
    x = residual(x, p, "layers.5")
    torch.testing.assert_close(G(*given), F.conv2d(x, p["image.weight"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", ["grouped", "plain"])
@pytest.mark.parametrize("classes", [0, 4])
def test_a_score_is_what_plain_functions_give(block: str, classes: int) -> None:
    D = moved(discriminator(classes=classes, block=block, blocks=1, taper=[1, 0.5], group_size=8))
    p = {name: value.detach() for name, value in D.named_parameters()}
    images, labels = torch.randn(3, 3, 16, 16), torch.tensor([2, 0, 2])
    x = residual(F.conv2d(images, p["image.weight"]), p, "layers.0")
    x = residual(resampled(x, up=False), p, "layers.2")
    x = residual(F.conv2d(resampled(x, up=False), p["layers.4.weight"]), p, "layers.5")
    features = F.conv2d(x, p["basis"][:, None], groups=8).flatten(1) @ p["score.weight"].T  # [3,1], or [3,8]
    expected = torch.stack([
        features[row] @ p["embedding.weight"][label] if classes else features[row, 0]
        for row, label in enumerate(labels)
    ])  # fmt: skip
    found = D(images, labels) if classes else D(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_resampling_is_the_filter_s_convolution(size: int) -> None:
    x = torch.randn(2, 3, size, size)
    torch.testing.assert_close(Resample(size, up=True)(x), resampled(x, up=True))
    if size > 1:
        torch.testing.assert_close(Resample(size, up=False)(x), resampled(x, up=False))


def test_residual_blocks_begin_as_the_identity() -> None:
    """So at the start D is linear: its score of a sum is the sum of its scores."""
    D = discriminator()
    a, b = torch.randn(2, 4, 3, 16, 16)
    torch.testing.assert_close(D(a + b), D(a) + D(b), rtol=1e-4, atol=1e-5)
    D = moved(D)
    assert not torch.allclose(D(a + b), D(a) + D(b), rtol=1e-2, atol=1e-2)


def test_a_class_reaches_both_networks() -> None:
    G, D = generator(classes=3), discriminator(classes=3)
    z, x = torch.randn(1, 5).expand(2, 5), torch.randn(1, 3, 16, 16).expand(2, 3, 16, 16)
    labels = torch.tensor([0, 2])
    assert not torch.equal(*G(z, labels))
    first, second = D(x, labels)
    assert first != second


@pytest.mark.parametrize("block", ["grouped", "plain"])
def test_a_gradient_penalty_reaches_every_weight_with_the_right_gradient(block: str) -> None:
    """Second derivatives against central differences of the penalty, in double precision."""
    D = moved(discriminator(classes=3, block=block, blocks=1, taper=[1, 0.5], group_size=8)).double()
    x, labels = torch.randn(3, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 2, 1])

    def penalty() -> torch.Tensor:
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D(point, labels).sum(), point, create_graph=True)
        return gradient.square().sum()

    named = dict(D.named_parameters())
    gradients = torch.autograd.grad(penalty(), list(named.values()), allow_unused=True)
    for (name, value), gradient in zip(named.items(), gradients, strict=True):
        if name.endswith("bias"):  # it moves where the leaky ReLU bends, and nothing else
            assert gradient is None or gradient.count_nonzero() == 0
            continue
        at = int(gradient.abs().argmax())
        entry = value.data.view(-1)[at : at + 1]
        kept, h = entry.clone(), 1e-6
        entry.copy_(kept + h)
        above = penalty().item()
        entry.copy_(kept - h)
        below = penalty().item()
        entry.copy_(kept)
        assert gradient.reshape(-1)[at].item() == pytest.approx((above - below) / (2 * h), rel=1e-3), name


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    G, D = moved(generator()), moved(discriminator())
    z = torch.randn(4, 5)
    images = G(z)
    scores = D(images)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z)
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(D(images_last), scores, rtol=1e-4, atol=1e-5)
