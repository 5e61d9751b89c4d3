"""A GAN told which digit to draw (arXiv:1411.1784), from top to bottom, without ganzoo: `python plain.py`.

It learns scikit-learn's handwritten digits in about two minutes on one core, prints both losses as it goes, and leaves
`cgan-digits.png`, one row a class. N is the batch, K = 10 the classes, C channels, H height, W width.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

SEED = 0
IMAGES = 200_000  # real images shown in all: about 139 times through the 1,438 digits
BATCH = 64
CLASSES = 10
LATENT = 100  # the length of z
EMBEDDING = 50  # numbers that stand for a label beside z
WIDTH = 32  # channels of the level nearest to the image; 128 for Fashion-MNIST and CIFAR-10
LR = 2e-4
BETAS = (0.5, 0.999)  # DCGAN's; Adam's usual 0.9 makes training swing


class Generator(nn.Module):
    """z [N,100] and labels [N] -> images [N,1,16,16] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, EMBEDDING)  # [N,50]
        self.project = nn.Linear(LATENT + EMBEDDING, 4 * 4 * 2 * WIDTH, bias=False)  # [N,1024], then [N,64,4,4]
        self.layers = nn.Sequential(
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, stride=2, padding=1, bias=False),  # [N,32,8,8]
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.ConvTranspose2d(WIDTH, 1, 4, stride=2, padding=1),  # [N,1,16,16]
            nn.Tanh(),
        )
        self.apply(initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        joined = torch.cat([z, self.embedding(labels)], dim=1)  # [N,150]
        return self.layers(self.project(joined).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))


class Discriminator(nn.Module):
    """Images [N,1,16,16] and labels [N] -> scores [N]: is this a real image of that class?"""

    def __init__(self) -> None:
        super().__init__()
        self.plane = nn.Embedding(CLASSES, 16 * 16)  # a label as one more channel of the image
        self.layers = nn.Sequential(
            nn.Conv2d(2, WIDTH, 4, stride=2, padding=1),  # [N,32,8,8]
            nn.LeakyReLU(0.2),
            nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1, bias=False),  # [N,64,4,4]
            nn.BatchNorm2d(2 * WIDTH),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * WIDTH, 1, 4),  # [N,1,1,1]
        )
        self.layers.apply(initialise)  # the planes keep N(0, 1), so that they are about as strong as an image

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        plane = self.plane(labels).view(-1, 1, 16, 16)
        return self.layers(torch.cat([images, plane], dim=1)).squeeze((1, 2, 3))


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), the scale of batch norm ~ N(1, 0.02), shifts and biases 0.

    G's embedding too begins that weak: at N(0, 1) the label is so loud that G stops listening to z, and each class
    shrinks to a few pictures.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)


def load_images() -> tuple[Tensor, Tensor]:
    """The digits, uint8 [1438,16,16,1], and labels [1438]; a fixed fifth, the same as ganzoo's, is held out."""
    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    kept = np.delete(np.arange(len(small)), held_out)
    large = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.LANCZOS)) for image in small[kept]]
    return torch.from_numpy(np.stack(large)[..., None]), torch.from_numpy(digits.target[kept].astype(np.int64))


def train_step(
    G: nn.Module, D: nn.Module, opt_g: torch.optim.Optimizer, opt_d: torch.optim.Optimizer,
    real: Tensor, labels: Tensor, z: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One update of D, then one of G against the new D. real [N,C,H,W] in [-1, 1], labels [N], z [N,latent].

    G draws the classes of the real batch. With scores s, -log sigmoid(s) = softplus(-s) and
    -log(1 - sigmoid(s)) = softplus(s): binary cross-entropy on logits. Returns both losses.
    """
    fake = G(z, labels)
    d_loss = F.softplus(-D(real, labels)).mean() + F.softplus(D(fake.detach(), labels)).mean()
    opt_d.zero_grad(set_to_none=True)
    d_loss.backward(inputs=list(D.parameters()))
    opt_d.step()

    g_loss = F.softplus(-D(fake, labels)).mean()
    opt_g.zero_grad(set_to_none=True)
    g_loss.backward(inputs=list(G.parameters()))  # D's own gradients are not needed here, and cost time
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


@torch.no_grad()
def save_samples(G: nn.Module, z: Tensor, path: Path) -> None:
    """Draw z [100,latent] as a grid, row k the class k; batch norm uses its running statistics."""
    G.eval()
    images = ((G(z, torch.arange(CLASSES).repeat_interleave(10))[:, 0] + 1) * 127.5).round().to(torch.uint8)
    G.train()
    grid = images.reshape(10, 10, 16, 16).permute(0, 2, 1, 3).reshape(160, 160)
    Image.fromarray(grid.numpy()).save(path)


def main(total_images: int = IMAGES, path: Path = Path("cgan-digits.png")) -> None:
    torch.manual_seed(SEED)
    images, labels = load_images()
    # Channels last is the order in memory, not in the shape: convolutions on a CPU are faster in it.
    G, D = (network.to(memory_format=torch.channels_last) for network in (Generator(), Discriminator()))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, eps=1e-8, fused=True) for net in (G, D))
    fixed_z = torch.randn(100, LATENT)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, total_images // BATCH + 1):
        if len(order) < BATCH:  # the next epoch begins inside a batch, so that none is short
            order = torch.cat([order, torch.randperm(len(images))])
        batch, order = order[:BATCH], order[BATCH:]
        real = (images[batch].float() / 127.5 - 1).permute(0, 3, 1, 2)  # [N,1,16,16] in [-1, 1], channels last
        d_loss, g_loss = train_step(G, D, opt_g, opt_d, real, labels[batch], torch.randn(BATCH, LATENT))
        if step % 250 == 0:
            print(f"{step * BATCH:6d} images   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", flush=True)
    save_samples(G, fixed_z, path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
