"""What no contract can know: the places of the pixels, what a pixel is, and the counts of the README."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import ganzoo_core as gz
from ganzoo_pixelwise_torch.networks import Discriminator, Generator, make_places


def generator(height: int, width: int, channels: int = 1) -> Generator:
    torch.manual_seed(0)
    return Generator(size=(height, width), channels=channels, latent_dim=5, width=4, waves=6)


def test_places_are_the_middles_of_the_pixels_row_by_row() -> None:
    expected = [(-0.5, -2 / 3), (-0.5, 0), (-0.5, 2 / 3), (0.5, -2 / 3), (0.5, 0), (0.5, 2 / 3)]
    torch.testing.assert_close(make_places(2, 3), torch.tensor(expected))


def test_a_pixel_is_what_a_loop_over_plain_numbers_gives() -> None:
    G, z = generator(3, 2, channels=3), torch.randn(2, 5)
    w = {name: value.detach().numpy().astype(float) for name, value in G.state_dict().items()}
    drawn = G(z).detach().numpy()
    for n, row, column in np.ndindex(2, 3, 2):
        h = [
            math.sin(a * ((2 * row + 1) / 3 - 1) + b * ((2 * column + 1) / 2 - 1) + bias)
            for (a, b), bias in zip(w["waves.weight"], w["waves.bias"], strict=True)
        ]
        for layer in range(3):
            style = w[f"styles.{layer}.weight"] @ z[n].numpy() + w[f"styles.{layer}.bias"]
            h = [
                total if total > 0 else 0.2 * total
                for total in w[f"hidden.{layer}.weight"] @ (h * (1 + style)) + w[f"hidden.{layer}.bias"]
            ]
        expected = np.tanh(w["colour.weight"] @ h + w["colour.bias"])
        np.testing.assert_allclose(drawn[n, :, row, column], expected, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9), (1, 3)])
def test_any_height_and_width_fit(height: int, width: int) -> None:
    images = generator(height, width, channels=3)(torch.randn(4, 5))
    assert images.shape == (4, 3, height, width)
    assert Discriminator(size=(height, width), channels=3, width=2)(images).shape == (4,)


def test_a_generator_of_another_size_takes_its_weights_and_draws_the_same_places() -> None:
    """A third of the size: the middle of each 3x3 pixels is that of the one pixel."""
    small, large, z = generator(4, 6), generator(12, 18), torch.randn(2, 5)
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(large(z)[..., 1::3, 1::3], small(z), rtol=1e-4, atol=1e-5)


def test_parameters_are_those_of_the_readme() -> None:
    """With F waves and w channels: 3F + 2(wF + …) written out layer by layer, for digits' 8x8 pixels."""
    G, D = gz.build("pixelwise-torch", data="digits")
    waves, width, z = 32, 64, 16
    styles = (z + 1) * (waves + width + width)
    expected_g = 3 * waves + styles + (waves + 1) * width + 2 * (width + 1) * width + (width + 1)
    expected_d = (9 + 1) * width + (9 * width + 1) * 2 * width + 2 * width * 4 + 1
    assert sum(p.numel() for p in G.parameters()) == expected_g == 13_313
    assert sum(p.numel() for p in D.parameters()) == expected_d == 75_009
