"""The two networks against the widths they were asked for and independent arithmetic."""

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
from ganzoo_cgan_torch.networks import Discriminator, Generator, choose_level_widths

SIZES = (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)


def generator(size: int = 28, channels: int = 1, classes: int = 10, width: int = 8) -> Generator:
    torch.manual_seed(0)
    return Generator(size=size, channels=channels, classes=classes, latent_dim=100, width=width, embedding=50)


def discriminator(
    size: int = 28, channels: int = 1, classes: int = 10, width: int = 8, norm: str = "batch", dropout: float = 0.0
) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(size=size, channels=channels, classes=classes, width=width, norm=norm, dropout=dropout)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_parameters_for_fashion_mnist() -> None:
    """Widths 256-128, 28 pixels, one channel, ten classes: every weight, layer by layer."""
    embedding = 10 * 50
    project = (100 + 50) * 256 * 7 * 7
    up = 256 * 128 * 4 * 4
    to_image = 128 * 1 * 4 * 4 + 1
    batch_norms = 2 * 256 + 2 * 128
    assert count(generator(28, width=128)) == embedding + project + up + to_image + batch_norms == 2_409_205
    planes = 10 * 28 * 28
    first = (1 + 1) * 128 * 4 * 4 + 128
    second = 128 * 256 * 4 * 4
    score = 256 * 7 * 7 + 1
    batch_norm = 2 * 256
    assert count(discriminator(28, width=128)) == planes + first + second + score + batch_norm == 549_409


def test_parameters_for_cifar10() -> None:
    """Widths 512-256-128, 32 pixels, three channels, ten classes: every weight, layer by layer."""
    embedding = 10 * 50
    project = (100 + 50) * 512 * 4 * 4
    up = 512 * 256 * 4 * 4 + 256 * 128 * 4 * 4
    to_image = 128 * 3 * 4 * 4 + 3
    batch_norms = 2 * 512 + 2 * 256 + 2 * 128
    expected_g = embedding + project + up + to_image + batch_norms
    assert count(generator(32, 3, width=128)) == expected_g == 3_858_679
    planes = 10 * 32 * 32
    first = (3 + 1) * 128 * 4 * 4 + 128
    deeper = 128 * 256 * 4 * 4 + 256 * 512 * 4 * 4
    score = 512 * 4 * 4 + 1
    batch_norms = 2 * 256 + 2 * 512
    assert count(discriminator(32, 3, width=128)) == planes + first + deeper + score + batch_norms == 2_649_729


@settings(deadline=None, max_examples=40)
@given(
    base=st.integers(4, 7),
    levels=st.integers(2, 4),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(1, 12),
    width=st.integers(1, 20),
)
def test_parameters_follow_size_width_and_classes(
    base: int, levels: int, channels: int, classes: int, width: int
) -> None:
    chain = [width * 2**level for level in range(levels)]
    size = base * 2**levels
    inner = 16 * sum(a * b for a, b in pairwise(chain))
    expected_g = classes * 50 + 150 * base**2 * chain[-1] + inner + 2 * sum(chain) + 16 * chain[0] * channels + channels
    first = 16 * (channels + 1) * width + width
    expected_d = classes * size**2 + first + inner + 2 * sum(chain[1:]) + base**2 * chain[-1] + 1
    with torch.device("meta"):
        assert count(generator(size, channels, classes, width)) == expected_g
        assert count(discriminator(size, channels, classes, width)) == expected_d


def test_levels_are_those_of_the_two_originals_and_stop_at_eight_times() -> None:
    assert choose_level_widths(28, 128) == (7, [128, 256])
    assert choose_level_widths(32, 128) == (4, [128, 256, 512])
    assert choose_level_widths(128, 16) == (4, [16, 32, 64, 128, 128])


@pytest.mark.parametrize(("size", "channels"), [*((size, 1) for size in SIZES), (28, 3), (32, 3)])
def test_shapes_and_ranges(size: int, channels: int) -> None:
    labels = torch.tensor([0, 9, 4])
    images = generator(size, channels, width=2)(50 * torch.randn(3, 100), labels)
    assert images.shape == (3, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    D = discriminator(size, channels, width=2)
    assert D(images, labels).shape == (3,)
    assert D(images[:1], labels[:1]).shape == (1,)


@pytest.mark.parametrize("size", [0, 8, 14, 18, 27, 30, 44])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels; it takes .* set data\.size"):
        generator(size)
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels"):
        discriminator(size)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        discriminator(width=0)
    with pytest.raises(gz.UsageError, match=r"model\.norm is 'group'; set it to batch or none"):
        discriminator(norm="group")
    with pytest.raises(gz.UsageError, match=r"model\.dropout is 1\.0"):
        discriminator(dropout=1.0)
    with pytest.raises(gz.UsageError, match=r"model\.embedding is 0"):
        Generator(size=28, channels=1, classes=10, latent_dim=100, width=8, embedding=0)


def test_other_labels_give_other_images_and_other_scores() -> None:
    """Each sample's own label alone decides: only where the shuffle changed it do image and score change."""
    G, D = generator().double().eval(), discriminator().double().eval()
    labels = torch.arange(10)
    shuffled = labels.clone()
    shuffled[:8] = labels[:8].roll(3)  # the last two stay
    z = torch.randn(10, 100, dtype=torch.float64)
    with torch.no_grad():
        drawn, redrawn = G(z, labels), G(z, shuffled)
        scores, rescored = D(drawn, labels), D(drawn, shuffled)
    assert ((drawn - redrawn).abs().amax((1, 2, 3)) > 1e-9).tolist() == [True] * 8 + [False] * 2
    assert ((scores - rescored).abs() > 1e-9).tolist() == [True] * 8 + [False] * 2


def test_both_networks_learn_their_labels() -> None:
    G, D = generator(), discriminator()
    labels = torch.tensor([2, 5, 5, 2])
    images = G(torch.randn(4, 100), labels)
    D(images, labels).square().sum().backward()
    for table in (G.embedding.weight, D.plane.weight):
        assert table.grad is not None
        assert torch.nonzero(table.grad.abs().amax(1)).flatten().tolist() == [2, 5]


def test_the_label_joins_z_behind_it() -> None:
    """The first layer's product is that of z's part plus that of the embedding's part."""
    G = generator()
    z, labels = torch.randn(6, 100), torch.arange(6)
    seen: list[torch.Tensor] = []
    G.project.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    G(z, labels)
    weight = G.project.weight
    expected = z @ weight[:, :100].T + F.one_hot(labels, 10).float() @ G.embedding.weight @ weight[:, 100:].T
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("size", "channels"), [(16, 3), (28, 1)])
def test_a_score_is_what_plain_functions_give(size: int, channels: int) -> None:
    D = discriminator(size, channels, width=2)
    x, labels = torch.randn(4, channels, size, size), torch.tensor([3, 1, 4, 1])
    p = {name: value.detach() for name, value in D.named_parameters()}
    plane = torch.stack([p["plane.weight"][k].reshape(size, size) for k in labels.tolist()])
    h = torch.cat([x, plane[:, None]], 1)
    h = F.conv2d(h, p["layers.0.weight"], p["layers.0.bias"], stride=2, padding=1)
    h = torch.maximum(h, 0.2 * h)
    h = F.conv2d(h, p["layers.2.weight"], stride=2, padding=1)
    mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, unbiased=False)
    h = (h - mean) / (variance + 1e-5).sqrt() * p["layers.3.weight"][:, None, None] + p["layers.3.bias"][:, None, None]
    h = torch.maximum(h, 0.2 * h)
    expected = (h * p["layers.5.weight"]).sum((1, 2, 3)) + p["layers.5.bias"]
    torch.testing.assert_close(D(x, labels), expected, rtol=1e-4, atol=1e-6)


def test_weights_begin_small_and_planes_as_strong_as_an_image() -> None:
    for network in (generator(32, width=32), discriminator(32, width=32)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                mean, std = 0.0, (1.0 if name == "plane" else 0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                mean, std = 1.0, 0.02
            else:
                continue
            if getattr(layer, "bias", None) is not None:
                assert layer.bias.count_nonzero() == 0, name
            weight = layer.weight.detach().double().flatten()
            noise = 5 / math.sqrt(len(weight))  # five standard errors
            assert abs(weight.mean().item() - mean) < noise * std, name
            assert abs(weight.std().item() / std - 1) < noise, name


def test_a_layer_has_a_bias_unless_batch_norm_shifts_behind_it() -> None:
    G = generator(32)
    convolutions = [layer for layer in G.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.bias is not None for layer in (G.project, *convolutions)] == [False, False, False, True]
    for norm, expected in (("batch", [True, False, False, True]), ("none", [True] * 4)):
        layers = discriminator(32, norm=norm).layers
        assert [layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d)] == expected


def test_without_batch_norm_a_score_depends_on_its_own_image_only() -> None:
    D = discriminator(norm="none")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in D.modules())
    x, labels = torch.randn(4, 1, 28, 28), torch.arange(4)
    torch.testing.assert_close(D(x, labels)[:1], D(x[:1], labels[:1]), rtol=1e-4, atol=1e-6)


def test_dropout_leaves_out_in_training_only() -> None:
    D = discriminator(norm="none", dropout=0.5)
    x, labels = torch.randn(4, 1, 28, 28), torch.arange(4)
    assert not torch.equal(D(x, labels), D(x, labels))
    bare = discriminator(norm="none")
    for ours, theirs in zip(D.parameters(), bare.parameters(), strict=True):
        ours.data.copy_(theirs)
    torch.testing.assert_close(D.eval()(x, labels), bare(x, labels))


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    z, labels = torch.randn(4, 100), torch.arange(4)
    G, D = generator(channels=3), discriminator(channels=3)
    images = G(z, labels)
    scores = D(images, labels)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z, labels)
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(D(images_last, labels), scores, rtol=1e-4, atol=1e-6)
