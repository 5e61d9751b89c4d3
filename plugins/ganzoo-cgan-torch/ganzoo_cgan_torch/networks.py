"""The two networks of a class-conditional GAN (Mirza, Osindero 2014, arXiv:1411.1784), both convolutional.

Both get the label: in G its embedding is concatenated with z, in D it becomes one more channel of the image. A level
is one convolution with a 4x4 kernel that halves the image (or, in the generator, doubles it). Shapes beside the layers
are for `width` 128: 28 pixels (Fashion-MNIST, channels 256-128) and, after the bar, 32 pixels (CIFAR-10, 512-256-128).
N is the batch, C the image's channels, H and W its height and width, K the number of classes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

import ganzoo_core as gz


def choose_level_widths(size: int, width: int) -> tuple[int, list[int]]:
    """Return the side of the smallest feature map in pixels, and the channels of each level, nearest the image first.

    28 pixels -> 7 and [128, 256]; 32 pixels -> 4 and [128, 256, 512], at width 128. Channels double from level to
    level and stop at 8 times `width`.

    Raises:
        UsageError: `size` is not 4, 5, 6 or 7 halved at least twice, or `width` is less than 1.
    """
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    base, levels = size, 0
    while base > 7 and base % 2 == 0:
        base, levels = base // 2, levels + 1
    if not 4 <= base <= 7 or levels < 2:
        raise gz.UsageError(
            f"cgan-torch was asked for images of {size} pixels; it takes 4, 5, 6 or 7 times a power of two, "
            "so set data.size to 16, 28, 32 or 64, say"
        )
    return base, [width * min(2**level, 8) for level in range(levels)]


def make_normalisation(norm: str, channels: int) -> nn.Module:
    """The layer between a convolution of D and its activation: `batch` as in DCGAN, or `none`."""
    if norm == "batch":
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    if norm == "none":
        return nn.Identity()
    raise gz.UsageError(f"model.norm is {norm!r}; set it to batch or none")


def make_dropout(dropout: float) -> list[nn.Module]:
    """The layer after the activation of a level of D: dropout, or none if `dropout` is 0."""
    return [nn.Dropout(dropout)] if dropout else []


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), batch norm's scale ~ N(1, 0.02), shifts and biases 0: DCGAN's (arXiv:1511.06434).

    G's embedding is ~ N(0, 0.02) too. With PyTorch's N(0, 1), the label dominates z, so that G ignores z and each class
    collapses to a few images; the plugin's README has the figures.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        nn.init.zeros_(bias)


class Generator(nn.Module):
    """z [N, latent_dim] and labels [N] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels.
        channels: C.
        classes: K.
        latent_dim: the length of z.
        width: channels of the level nearest to the image; deeper levels have up to 8 times as many.
        embedding: length of the label's embedding.

    Differs from the paper: convolutions and batch norm, not two dense layers with dropout; tanh, not sigmoid.
    """

    def __init__(self, *, size: int, channels: int, classes: int, latent_dim: int, width: int, embedding: int) -> None:
        super().__init__()
        if embedding < 1:
            raise gz.UsageError(f"model.embedding is {embedding}; it is the length of a label's vector, 1 or more")
        self.base, widths = choose_level_widths(size, width)
        widths = widths[::-1]
        self.embedding = nn.Embedding(classes, embedding)  # [N,50]
        # [N,12544] | [N,8192], reshaped to [N,256,7,7] | [N,512,4,4]
        self.project = nn.Linear(latent_dim + embedding, widths[0] * self.base**2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0], eps=1e-5, momentum=0.1), nn.ReLU()]
        for deep, shallow in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(deep, shallow, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(shallow, eps=1e-5, momentum=0.1),
                nn.ReLU(),  # [N,128,14,14] | [N,256,8,8], [N,128,16,16]
            ]
        layers += [
            nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1),
            nn.Tanh(),  # [N,C,28,28] | [N,C,32,32]
        ]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([z, self.embedding(labels)], dim=1)
        # Channels last in memory, which is fastest on a CPU; the shape stays [N,C,H,W].
        return self.layers(self.project(joined).unflatten(1, (self.base, self.base, -1)).permute(0, 3, 1, 2))


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1] and labels [N] -> raw scores [N].

    The sigmoid of a score is the probability that the image is a real one of that class.

    Args:
        size: H and W in pixels.
        channels: C.
        classes: K.
        width: channels of the level nearest to the image; deeper levels have up to 8 times as many.
        norm: `batch` or `none`; the first level never has one, as in DCGAN.
        dropout: fraction of each level's activations that is set to zero in training.

    Differs from the paper: convolutions with LeakyReLU 0.2 instead of dense maxout layers.
    """

    def __init__(
        self, *, size: int, channels: int, classes: int, width: int, norm: str = "batch", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise gz.UsageError(f"model.dropout is {dropout}; it is a share, so set it to at least 0 and below 1")
        base, widths = choose_level_widths(size, width)
        self.plane = nn.Embedding(classes, size * size)  # [N,784] | [N,1024], one more channel of the image
        layers: list[nn.Module] = [
            nn.Conv2d(channels + 1, widths[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            *make_dropout(dropout),  # [N,128,14,14] | [N,128,16,16]
        ]
        for shallow, deep in pairwise(widths):
            layers += [
                nn.Conv2d(shallow, deep, 4, stride=2, padding=1, bias=norm == "none"),
                make_normalisation(norm, deep),
                nn.LeakyReLU(0.2),
                *make_dropout(dropout),  # [N,256,7,7] | [N,256,8,8], [N,512,4,4]
            ]
        layers += [nn.Conv2d(widths[-1], 1, base)]  # [N,1,1,1]: one score from the whole map
        self.layers = nn.Sequential(*layers)
        self.layers.apply(initialise)  # the embedding keeps N(0, 1), about the scale of an image

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        plane = self.plane(labels).view(-1, 1, *images.shape[2:])
        return self.layers(torch.cat([images, plane], dim=1)).squeeze((1, 2, 3))
