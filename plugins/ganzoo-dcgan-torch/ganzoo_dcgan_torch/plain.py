"""DCGAN (arXiv:1511.06434) from top to bottom, without ganzoo: `python plain.py`.

It learns to draw scikit-learn's handwritten digits in about two minutes on two cores, prints both losses as it
goes, and leaves 64 digits in `dcgan-digits.png`. N is the batch, C channels, H height, W width.
"""

import copy
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

SEED = 0
IMAGES = 80_000  # real images shown in all: about 56 times through the 1,438 digits
BATCH = 16  # small, for more updates from few images; the paper has 128
LATENT = 20  # the length of z; enough for digits, the paper has 100
WIDTH = 32  # channels of the level nearest to the image; the paper's networks have 128
LR = 4e-4  # twice the paper's: the run is short; it falls to 0 along half a cosine (arXiv:1608.03983)
EMA = 5_000  # half-life, in images, of the moving average of G's weights, which draws the samples (arXiv:1806.04498)
BETAS = (0.5, 0.999)  # Adam's usual 0.9 made training swing, the paper found


class Generator(nn.Module):
    """z [N,20] -> images [N,1,32,32] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(LATENT, 4 * 4 * 4 * WIDTH, bias=False)  # [N,2048], reshaped to [N,128,4,4]
        self.layers = nn.Sequential(
            nn.BatchNorm2d(4 * WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * WIDTH, 2 * WIDTH, 4, stride=2, padding=1, bias=False),  # [N,64,8,8]
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, stride=2, padding=1, bias=False),  # [N,32,16,16]
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(WIDTH, 1, 4, stride=2, padding=1, bias=False),  # [N,1,32,32]
            nn.Tanh(),
        )
        self.apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))


class Discriminator(nn.Module):
    """Images [N,1,32,32] -> scores [N]; the sigmoid of a score is the probability that the image is real."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 4, stride=2, padding=1, bias=False),  # [N,32,16,16]
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1, bias=False),  # [N,64,8,8]
            nn.BatchNorm2d(2 * WIDTH),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * WIDTH, 4 * WIDTH, 4, stride=2, padding=1, bias=False),  # [N,128,4,4]
            nn.BatchNorm2d(4 * WIDTH),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * WIDTH, 1, 4, bias=False),  # [N,1,1,1]
        )
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze((1, 2, 3))


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), the scale of batch norm ~ N(1, 0.02), its shift 0."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def load_images() -> Tensor:
    """The digits as uint8 [1438,32,32,1]; a fixed fifth is held out, the same that ganzoo holds out."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    small = np.delete(small, held_out, axis=0)
    large = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS)) for image in small]
    return torch.from_numpy(np.stack(large)[..., None])


def train_step(
    G: nn.Module, D: nn.Module, opt_g: torch.optim.Optimizer, opt_d: torch.optim.Optimizer, real: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """One update of D, then one of G against the new D. real [N,C,H,W] in [-1, 1], z [N,latent]; returns both losses.

    With scores s, -log sigmoid(s) = softplus(-s) and -log(1 - sigmoid(s)) = softplus(s).
    """
    fake = G(z)

    # Real and fake go through D apart, so that batch norm sees one kind at a time.
    d_loss = F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()
    opt_d.zero_grad(set_to_none=True)
    d_loss.backward(inputs=list(D.parameters()))
    opt_d.step()

    # Not log(1 - D(G(z))), whose gradient vanishes while D is sure, but the non-saturating -log D(G(z)).
    g_loss = F.softplus(-D(fake)).mean()
    opt_g.zero_grad(set_to_none=True)
    g_loss.backward(inputs=list(G.parameters()))  # D's own gradients are not needed here, and cost time
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


def learning_rate(images: int, total_images: int) -> float:
    """LR at first, 0 at the end, along half a cosine."""
    return LR - LR * (0.5 * (1 - math.cos(math.pi * images / total_images)))


@torch.no_grad()
def update_ema(ema: nn.Module, G: nn.Module, images: int) -> None:
    """Move the average towards G, with a shorter memory early on; batch norm's statistics are G's own."""
    decay = 0.5 ** (BATCH / min(EMA, 0.05 * images))
    for mean, weight in zip(ema.parameters(), G.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)
    for mean, buffer in zip(ema.buffers(), G.buffers(), strict=True):
        mean.copy_(buffer)


@torch.no_grad()
def save_samples(G: nn.Module, z: Tensor, path: Path) -> None:
    """Draw z [64,latent] as a grid of 8x8 images; batch norm uses its running statistics, not this batch's."""
    G.eval()
    images = ((G(z)[:, 0] + 1) * 127.5).round().to(torch.uint8)  # [64,32,32]
    G.train()
    grid = images.reshape(8, 8, 32, 32).permute(0, 2, 1, 3).reshape(8 * 32, 8 * 32)
    Image.fromarray(grid.numpy()).save(path)


def main(total_images: int = IMAGES, path: Path = Path("dcgan-digits.png")) -> None:
    torch.manual_seed(SEED)
    images = load_images()
    # Channels last is the order in memory, not in the shape: convolutions on a CPU are faster in it.
    G = Generator().to(memory_format=torch.channels_last)
    D = Discriminator().to(memory_format=torch.channels_last)
    opt_g = torch.optim.Adam(G.parameters(), lr=LR, betas=BETAS, eps=1e-8, fused=True)
    opt_d = torch.optim.Adam(D.parameters(), lr=LR, betas=BETAS, eps=1e-8, fused=True)
    ema = copy.deepcopy(G)
    fixed_z = torch.randn(64, LATENT)

    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, total_images // BATCH + 1):
        if len(order) < BATCH:  # the next epoch begins inside a batch, so that none is short
            order = torch.cat([order, torch.randperm(len(images))])
        batch, order = order[:BATCH], order[BATCH:]
        real = (images[batch].float() / 127.5 - 1).permute(0, 3, 1, 2)  # [N,1,32,32] in [-1, 1], channels last
        for group in (*opt_g.param_groups, *opt_d.param_groups):
            group["lr"] = learning_rate((step - 1) * BATCH, total_images)
        d_loss, g_loss = train_step(G, D, opt_g, opt_d, real, torch.randn(BATCH, LATENT))
        update_ema(ema, G, step * BATCH)
        if step % 250 == 0:
            print(f"{step * BATCH:6d} images   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", flush=True)
    save_samples(ema, fixed_z, path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
