"""The two networks against the paper's table, its rules and independent arithmetic."""

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
from ganzoo_dcgan_torch.networks import Discriminator, Generator, choose_level_widths

SIZES = (16, 32, 64, 128, 256)


def generator(
    size: int = 32, channels: int = 1, latent_dim: int = 100, width: int = 8, norm: str = "batch"
) -> Generator:
    torch.manual_seed(0)
    return Generator(size=size, channels=channels, latent_dim=latent_dim, width=width, norm=norm)


def discriminator(size: int = 32, channels: int = 1, width: int = 8, norm: str = "batch") -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(size=size, channels=channels, width=width, norm=norm)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("channels", "expected_g", "expected_d"), [(1, 12_654_336, 11_032_064), (3, 12_658_432, 11_036_160)]
)
def test_parameters_at_64_pixels_and_width_128_are_the_originals(
    channels: int, expected_g: int, expected_d: int
) -> None:
    with torch.device("meta"):
        assert count(Generator(size=64, channels=channels, latent_dim=100, width=128)) == expected_g
        assert count(Discriminator(size=64, channels=channels, width=128)) == expected_d


@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from(SIZES), channels=st.sampled_from([1, 3]), width=st.integers(1, 40), latent=st.integers(1, 130)
)
def test_parameters_follow_the_size_and_the_width(size: int, channels: int, width: int, latent: int) -> None:
    chain = [channels]  # from the image inwards
    while size > 2 ** (len(chain) + 1):
        chain.append(min(width * 2 ** (len(chain) - 1), 8 * width))
    convolutions = 16 * sum(a * b for a, b in pairwise(chain))
    expected_g = 16 * latent * chain[-1] + convolutions + 2 * sum(chain[1:])
    expected_d = convolutions + 16 * chain[-1] + 2 * sum(chain[2:])
    with torch.device("meta"):
        assert count(Generator(size=size, channels=channels, latent_dim=latent, width=width)) == expected_g
        assert count(Discriminator(size=size, channels=channels, width=width)) == expected_d


def test_widths_are_those_of_the_paper_and_stop_at_eight_times() -> None:
    assert choose_level_widths(64, 128) == [128, 256, 512, 1024]
    assert choose_level_widths(256, 16) == [16, 32, 64, 128, 128, 128]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(size: int, channels: int) -> None:
    images = generator(size, channels, width=2)(50 * torch.randn(3, 100))
    assert images.shape == (3, channels, size, size)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert discriminator(size, channels, width=2)(images).shape == (3,)
    assert discriminator(size, channels, width=2)(images[:1]).shape == (1,)


def test_intermediate_shapes_are_those_of_the_paper() -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        G = Generator(size=64, channels=3, latent_dim=100, width=128)
        D = Discriminator(size=64, channels=3, width=128)
    for network in (G, D):
        for layer in network.layers:
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                layer.register_forward_hook(lambda _layer, _x, y: shapes.append(tuple(y.shape[1:])))
    D(G(torch.randn(1, 100, device="meta")))
    drawn = [(512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    judged = [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (1, 1, 1)]
    assert shapes == drawn + judged


@pytest.mark.parametrize("size", [0, 8, 28, 48, 512])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels; set data\.size to 16, 32, 64, 128 or 256"):
        generator(size)
    with pytest.raises(gz.UsageError, match=rf"images of {size} pixels"):
        discriminator(size)


def test_a_width_of_zero_and_an_unknown_norm_are_refused() -> None:
    with pytest.raises(gz.UsageError, match=r"model\.width is 0"):
        discriminator(width=0)
    with pytest.raises(gz.UsageError, match=r"model\.norm is 'group'; set it to batch, layer or none"):
        generator(norm="group")


def test_the_rules_of_the_paper() -> None:
    G, D = generator(64, width=4), discriminator(64, width=4)
    kinds_g = [type(layer) for layer in G.layers]
    level_g = [nn.BatchNorm2d, nn.ReLU, nn.ConvTranspose2d]
    assert kinds_g == [*level_g * 4, nn.Tanh]  # no batch norm between the last convolution and tanh
    level_d = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert [type(layer) for layer in D.layers] == [nn.Conv2d, nn.LeakyReLU, *level_d * 3, nn.Conv2d]
    for network in (G, D):
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                assert layer.bias is None
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.kernel_size == (4, 4)
    x = torch.linspace(-2, 2, 9)
    assert torch.equal(D.layers[1](x), torch.maximum(x, 0.2 * x))


def test_weights_begin_as_the_paper_says() -> None:
    for network in (generator(64, width=32), discriminator(64, width=32)):
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                mean, std = 0.0, 0.02
            elif isinstance(layer, nn.BatchNorm2d):
                mean, std = 1.0, 0.02
                assert layer.bias.count_nonzero() == 0, name
            else:
                continue
            weight = layer.weight.detach().double().flatten()
            noise = 5 / math.sqrt(len(weight))  # five standard errors
            assert abs(weight.mean().item() - mean) < noise * std, name
            assert abs(weight.std().item() / std - 1) < noise, name


def test_projecting_and_reshaping_is_a_transposed_convolution_on_one_pixel() -> None:
    """The original writes the first layer so; the numbers and the count of weights are the same."""
    G = generator(width=8)
    z = torch.randn(5, 100)
    weight = G.project.weight.reshape(4, 4, 32, 100).permute(3, 2, 0, 1)  # [latent,C,H,W]
    expected = G.layers(F.conv_transpose2d(z[:, :, None, None], weight))
    torch.testing.assert_close(G(z), expected, rtol=1e-4, atol=1e-6)


def test_a_score_is_what_plain_functions_give() -> None:
    D = discriminator(16, channels=3, width=2)
    x = torch.randn(4, 3, 16, 16)
    w = [p.detach() for p in D.parameters()]
    h = F.conv2d(x, w[0], stride=2, padding=1)
    h = torch.maximum(h, 0.2 * h)
    h = F.conv2d(h, w[1], stride=2, padding=1)
    mean, variance = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, unbiased=False)
    h = (h - mean) / (variance + 1e-5).sqrt() * w[2][:, None, None] + w[3][:, None, None]
    h = torch.maximum(h, 0.2 * h)
    expected = (h * w[4]).sum((1, 2, 3))
    torch.testing.assert_close(D(x), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_without_batch_norm_a_score_depends_on_its_own_image_only(norm: str) -> None:
    D = discriminator(norm=norm)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in D.modules())
    x = torch.randn(4, 1, 32, 32)
    torch.testing.assert_close(D(x)[:1], D(x[:1]), rtol=1e-4, atol=1e-6)


def test_with_batch_norm_a_score_depends_on_the_batch() -> None:
    D = discriminator()
    x = torch.randn(4, 1, 32, 32)
    assert not torch.allclose(D(x)[:1], D(x[:1]), rtol=1e-2)


def test_layer_norm_takes_channels_and_pixels_together() -> None:
    layer = next(layer for layer in discriminator(norm="layer").layers if isinstance(layer, nn.GroupNorm))
    y = layer(3 + 7 * torch.randn(2, 16, 8, 8)) / layer.weight[:, None, None]
    torch.testing.assert_close(y.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(y.var((1, 2, 3), unbiased=False), torch.ones(2), atol=1e-3, rtol=0)


def test_without_a_normalisation_hidden_layers_have_a_bias_instead() -> None:
    hidden_g = [generator(norm="none").project, *generator(norm="none").layers]
    biases_g = [layer.bias is not None for layer in hidden_g if isinstance(layer, nn.Linear | nn.ConvTranspose2d)]
    assert biases_g == [True, True, True, False]
    biases_d = [layer.bias is not None for layer in discriminator(norm="none").layers if isinstance(layer, nn.Conv2d)]
    assert biases_d == [False, True, True, False]


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_gradient_penalty_reaches_every_weight_with_the_right_gradient(norm: str) -> None:
    """Second derivatives against central differences of the penalty, in double precision."""
    D = discriminator(16, width=2, norm=norm).double()
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64)

    def penalty() -> torch.Tensor:
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D(point).sum(), point, create_graph=True)
        return (1e3 * gradient).square().sum()

    weights = [p for name, p in D.named_parameters() if not name.endswith("bias")]
    gradients = torch.autograd.grad(penalty(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        at = int(gradient.abs().argmax())
        entry = weight.data.view(-1)[at : at + 1]
        kept, h = entry.clone(), 1e-6
        entry.copy_(kept + h)
        above = penalty().item()
        entry.copy_(kept - h)
        below = penalty().item()
        entry.copy_(kept)
        assert gradient.reshape(-1)[at].item() == pytest.approx((above - below) / (2 * h), rel=1e-3)


def test_channels_last_goes_through_both_networks_and_changes_no_value() -> None:
    z = torch.randn(4, 100)
    G, D = generator(channels=3), discriminator(channels=3)
    images = G(z)
    scores = D(images)
    G, D = (network.to(memory_format=torch.channels_last) for network in (G, D))
    images_last = G(z)
    assert images_last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images_last, images, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(D(images_last), scores, rtol=1e-4, atol=1e-6)
