"""DiffAugment in PyTorch: a hook before the discriminator's forward.

Each transform takes images [N,C,H,W] in [-1, 1] and, for each image, random numbers from [0, 1). It is twice
differentiable with respect to the images, and its result may leave [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

RANDOM_COLUMNS = 7  # numbers per image: one each for brightness, saturation, contrast; two each for shift and cutout
POLICIES = ("color", "translation", "cutout")


def augment_inputs(network: nn.Module, *, policy: Sequence[str], chance: float) -> nn.Module:
    """Make the network augment its images in training mode; in eval mode they are unchanged. Returns the same network.

    The random numbers come from the generator of the images' device, new ones in each call.

    Args:
        network: a native discriminator, called with the images first.
        policy: the transforms to apply, of `POLICIES`, in this order.
        chance: of each of them for an image, 0 to 1; a schedule's value, passed as `augment`, overrides it.
    """

    def before(
        module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = dict(named)
        now = named.pop("augment", chance)
        if not module.training:
            return given, named
        images, *others = given
        draws = torch.rand(len(images), RANDOM_COLUMNS, device=images.device)
        always = isinstance(now, float) and now == 1.0
        applied = None if always else torch.rand(len(images), len(POLICIES), device=images.device) < now
        return (augment(images, draws, policy=policy, applied=applied), *others), named

    # A hook instead of a wrapper keeps the network's type, methods and names of weights.
    network.register_forward_pre_hook(before, with_kwargs=True)
    return network


def augment(images: Tensor, draws: Tensor, *, policy: Sequence[str], applied: Tensor | None = None) -> Tensor:
    """Images [N,C,H,W] and numbers [N,7] from [0, 1) -> images of the same shape.

    Each transform has its own columns, so that its random numbers do not depend on the rest of the policy.

    Args:
        images, draws: as above.
        policy: the transforms to apply, in this order.
        applied: booleans [N,3], whether each of `POLICIES` is applied to an image; None for all.
    """
    brightness_by, saturation_by, contrast_by, *places = draws.unbind(1)
    for name in policy:
        if name == "color":
            changed = change_contrast(
                change_saturation(change_brightness(images, brightness_by), saturation_by), contrast_by
            )
        elif name == "translation":
            changed = translate(images, places[0], places[1])
        else:
            changed = cut_out(images, places[2], places[3])
        if applied is not None:
            changed = torch.where(applied[:, POLICIES.index(name), None, None, None], changed, images)
        images = changed
    return images


def change_brightness(images: Tensor, u: Tensor) -> Tensor:
    """x + b, b from [-0.5, 0.5)."""
    return images + (u[:, None, None, None] - 0.5)


def change_saturation(images: Tensor, u: Tensor) -> Tensor:
    """m + s (x - m), m a pixel's mean over its channels and s from [0, 2); no change for one channel."""
    if images.shape[1] == 1:
        return images
    mean = images.mean(dim=1, keepdim=True)
    return mean + 2 * u[:, None, None, None] * (images - mean)


def change_contrast(images: Tensor, u: Tensor) -> Tensor:
    """m + c (x - m), m an image's mean over pixels and channels and c from [0.5, 1.5)."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (u[:, None, None, None] + 0.5) * (images - mean)


def translate(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift by whole pixels, up to 1/8 of the side in each direction; new pixels are 0, a mid grey."""
    height, width = images.shape[2:]
    rows, rows_inside = _find_sources(down, height)
    columns, columns_inside = _find_sources(right, width)
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    # Index both axes at once: gives [N,H,W,C], whose permuted view is channels_last.
    moved = images[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    inside = rows_inside[:, None, :, None] & columns_inside[:, None, None, :]
    return moved * inside.to(images.dtype)


def _find_sources(u: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """u [N] -> for each position on an axis, its source position [N,size], and whether that is inside the image."""
    most = size // 8
    shift = (u * (2 * most + 1)).floor().long() - most
    source = torch.arange(size, device=u.device) - shift[:, None]
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def cut_out(images: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Set a square of half the side to 0, a mid grey. Its centre is anywhere, so it may extend past the border."""
    height, width = images.shape[2:]
    inside = _find_covered(row, height)[:, None, :, None] & _find_covered(column, width)[:, None, None, :]
    return images * (~inside).to(images.dtype)


def _find_covered(u: Tensor, size: int) -> Tensor:
    """u [N] -> whether the square covers each position on an axis, [N,size]."""
    side = size // 2
    # The centre is one of the `size` pixels, or for an even side one of the `size + 1` edges between them.
    first = (u * (size + 1 - side % 2)).floor().long() - side // 2
    offset = torch.arange(size, device=u.device) - first[:, None]
    return (offset >= 0) & (offset < side)
