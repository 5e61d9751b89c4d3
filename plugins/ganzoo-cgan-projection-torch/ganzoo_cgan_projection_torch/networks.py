"""The networks of the projection discriminator (Miyato, Koyama 2018, arXiv:1802.05637), for 16, 32 and 64 pixels.

SNGAN's ResNets for CIFAR-10 (Miyato et al. 2018, arXiv:1802.05957, table 4) with labels: in G each class has its own
scale and shift after batch norm, in D the score has an inner product with an embedding of the class. Shapes beside
the layers are for 32 pixels and `width` 128. N is the batch, C the image's channels (1 or 3), K the number of classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import ganzoo_core as gz


def count_doublings(size: int, width: int) -> int:
    """How often G doubles its 4x4 start: 3 times for 32 pixels. D halves once less and ends at 8x8.

    Raises:
        UsageError: `size` is not 16, 32 or 64, or `width` is less than 1.
    """
    if size not in (16, 32, 64):
        raise gz.UsageError(
            f"cgan-projection-torch was asked for images of {size} pixels; set data.size to 16, 32 or 64"
        )
    if width < 1:
        raise gz.UsageError(f"model.width is {width}; it counts channels, so set it to 1 or more")
    return size.bit_length() - 3


def initialise(network: nn.Module) -> None:
    """Glorot's uniform weights, with gain √2 for the 3x3 convolutions within blocks; biases 0.

    As in the authors' published code; the papers do not mention it.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            within = name.endswith(("conv1", "conv2"))
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(2) if within else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class ConditionalBatchNorm(nn.BatchNorm2d):
    """Batch norm [N,C,H,W] over all classes, then the scale and shift of each sample's class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, eps=1e-5, momentum=0.1, affine=False)
        self.scale = nn.Parameter(torch.ones(classes, channels))
        self.shift = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # labels, too
        scale, shift = F.embedding(labels, self.scale), F.embedding(labels, self.shift)  # [N,C]
        return super().forward(x) * scale[:, :, None, None] + shift[:, :, None, None]


def upsample(x: torch.Tensor) -> torch.Tensor:
    """[N,C,H,W] -> [N,C,2H,2W], nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class UpBlock(nn.Module):
    """A residual block of G that doubles height and width."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(channels, classes)
        self.norm2 = ConditionalBatchNorm(channels, classes)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        h = self.conv1(upsample(F.relu(self.norm1(x, labels))))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        # A 1x1 convolution commutes with the doubling; this order is four times cheaper.
        return h + upsample(self.shortcut(x))


class Generator(nn.Module):
    """z [N, latent_dim], labels int64 [N] -> images [N,C,H,W] in [-1, 1].

    Args:
        size: H and W in pixels: 16, 32 or 64.
        channels: C.
        classes: K.
        latent_dim: the length of z.
        width: half the channels of every layer, since G has twice as many as D.
    """

    def __init__(self, *, size: int, channels: int, classes: int, latent_dim: int, width: int) -> None:
        super().__init__()
        blocks, wide = count_doublings(size, width), 2 * width
        self.project = nn.Linear(latent_dim, 4 * 4 * wide)  # [N,4096], reshaped to [N,256,4,4]
        self.blocks = nn.ModuleList(UpBlock(wide, classes) for _ in range(blocks))  # 8x8, 16x16, 32x32
        self.norm = nn.BatchNorm2d(wide, eps=1e-5, momentum=0.1)
        self.image = nn.Conv2d(wide, channels, 3, padding=1)  # [N,C,32,32]
        initialise(self)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # Channels last in memory, which is fastest on a CPU; the shape stays [N,256,4,4].
        h = self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.image(F.relu(self.norm(h))))


class DownBlock(nn.Module):
    """A residual block of D.

    Args:
        inputs, outputs: channels.
        halve: whether to halve height and width, by 2x2 average pooling.
        first: whether its input is the image, to which no ReLU is applied.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if halve else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return h + self.shortcut(x)


class Discriminator(nn.Module):
    """Images [N,C,H,W] in [-1, 1], labels int64 [N] -> raw scores [N].

    With φ(x) [N,width], the features summed over all pixels, the score of `projection` is ψ(φ(x)) + ⟨v_y, φ(x)⟩: ψ is
    a linear layer, v_y an embedding of the class y (arXiv:1802.05637, equation 3).

    With `classes` the labels are ignored. The score is ψ(φ(x)), and another linear layer predicts the class (AC-GAN,
    arXiv:1610.09585): it returns {"scores": [N], "classes": logits [N,K]}.

    Args:
        size: H and W in pixels: 16, 32 or 64.
        channels: C.
        classes: K.
        width: channels of every layer.
        head: `projection` or `classes`.
        spectral_norm: divide each weight by its largest singular value (arXiv:1802.05957), estimated by one step of the
            power iteration in each training forward. The vectors of the iteration are buffers.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        classes: int,
        width: int,
        head: str = "projection",
        spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        halvings = count_doublings(size, width) - 1
        self.blocks = nn.Sequential(
            DownBlock(channels, width, halve=True, first=True),  # [N,128,16,16]
            *(DownBlock(width, width, halve=True) for _ in range(halvings - 1)),  # [N,128,8,8]
            DownBlock(width, width, halve=False),  # [N,128,8,8]
            DownBlock(width, width, halve=False),  # [N,128,8,8]
        )
        self.score = nn.Linear(width, 1)
        initialise(self)
        self.embedding: nn.Embedding | None = None
        self.classifier: nn.Linear | None = None
        if head == "projection":
            self.embedding = nn.Embedding(classes, width)
            nn.init.xavier_uniform_(self.embedding.weight)
        elif head == "classes":
            self.classifier = nn.Linear(width, classes)
            nn.init.xavier_uniform_(self.classifier.weight)
            nn.init.zeros_(self.classifier.bias)
        else:
            raise gz.UsageError(f"model.head is {head!r}; set it to projection or classes")
        if spectral_norm:
            for layer in [*self.modules()]:
                if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
                    parametrizations.spectral_norm(layer, n_power_iterations=1)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        features = F.relu(self.blocks(images)).sum((2, 3))  # φ(x) [N,128]
        scores = self.score(features).squeeze(1)  # ψ(φ(x)) [N]
        if self.embedding is not None:
            return scores + (self.embedding(labels) * features).sum(1)
        assert self.classifier is not None
        return {"scores": scores, "classes": self.classifier(features)}
