"""Networks that take whatever conditions their spec has, in PyTorch."""

from __future__ import annotations

from typing import Any

import ganzoo_core as gz


@gz.hookimpl
def build_generator(name: str, spec: gz.Spec, options: gz.Options) -> Any:
    from torch import nn

    width = options["width"]
    dropout = 0.5 if name.startswith("painter") else 0.0

    class Generator(nn.Module):
        """A picture's pixels, and everything else as planes beside them -> images [N,C,H,W]."""

        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Linear(_count_flat(spec), width)
            planes = width + sum(shape[2] for shape in spec.conditions.values() if len(shape) == 3)
            self.layers = nn.Sequential(
                nn.Conv2d(planes, 2 * width, 3, padding=1),
                nn.BatchNorm2d(2 * width),
                nn.Dropout(dropout),
                nn.ReLU(),
                nn.Conv2d(2 * width, spec.channels, 3, padding=1),
                nn.Tanh(),
            )

        def forward(self, z: Any, labels: Any = None, **conditions: Any) -> Any:
            return self.layers(_join(spec, self.flat, z, labels, conditions))

    assert spec.conditions
    assert set(spec.conditions) <= {"source", "vector", "index"}
    return Generator()


@gz.hookimpl
def build_discriminator(spec: gz.Spec, options: gz.Options) -> Any:
    from torch import nn

    width = options["width"]

    class Discriminator(nn.Module):
        """Images and their conditions -> scores [N]."""

        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Linear(_count_flat(spec) - spec.latent_dim, width)
            planes = width + spec.channels + sum(shape[2] for shape in spec.conditions.values() if len(shape) == 3)
            self.layers = nn.Sequential(
                nn.Conv2d(planes, width, 4, 4), nn.LeakyReLU(0.2), nn.Flatten(1),
                nn.Linear(width * (spec.height // 4) * (spec.width // 4), 1), nn.Flatten(0),
            )  # fmt: skip

        def forward(self, images: Any, labels: Any = None, **conditions: Any) -> Any:
            import torch

            beside = _join(spec, self.flat, images.new_zeros(len(images), 0), labels, conditions)
            return self.layers(torch.cat([images, beside], dim=1))

    return Discriminator()


def _count_flat(spec: gz.Spec) -> int:
    """How many numbers belong to an image beside pictures; at least the one that is always 1."""
    flat = sum(shape[0] if shape else 1 for shape in spec.conditions.values() if len(shape) < 2)
    return spec.latent_dim + bool(spec.classes) + flat + 1


def _join(spec: gz.Spec, layer: Any, z: Any, labels: Any, conditions: dict[str, Any]) -> Any:
    """Pictures and all other inputs as planes [N,planes,H,W]."""
    import torch

    assert conditions.keys() == spec.conditions.keys()
    flat = [z, z.new_ones(len(z), 1)]
    flat += [labels.float()[:, None]] if spec.classes else []
    flat += [rows.float().reshape(len(z), -1) for rows in conditions.values() if rows.ndim < 3]
    planes = layer(torch.cat(flat, dim=1))[:, :, None, None].expand(-1, -1, spec.height, spec.width)
    return torch.cat([planes, *(rows for rows in conditions.values() if rows.ndim == 4)], dim=1)
