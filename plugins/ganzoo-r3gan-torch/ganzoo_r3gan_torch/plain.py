"""R3GAN (arXiv:2501.05441) from top to bottom, without ganzoo: `python plain.py`.

It learns to draw scikit-learn's handwritten digits in some minutes, prints both losses as it goes, and leaves 64 digits
in `r3gan-digits.png`. N is the batch, C channels, H height, W width.
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
from torch.optim import Adam

SEED = 0
IMAGES = 60_000  # real images shown in all: about 42 times through the 1,438 digits
BATCH = 32  # the paper has 512
LATENT = 20  # the length of z; enough for digits, the paper has 64
WIDTHS = (64, 48, 32)  # channels at 4x4, 8x8 and 16x16 pixels; the paper has 768 and blocks of another kind
GAMMA = 0.5  # of both gradient penalties; the paper goes from 0.05 to 0.005 on CIFAR-10
LR = 5e-4  # falls to 0 from START on; the paper goes from 2e-4 to 5e-5
START = 0.65
BETAS = (0.0, 0.99)  # no momentum, as in most GANs with penalties
EMA = 5_000  # half-life, in images, of the moving average of G's weights, which draws the samples
Losses = tuple[Tensor, Tensor]  # of D and of G


class Block(nn.Module):
    """x + 3x3, leaky ReLU, 3x3, whose last weights begin at 0: at first the identity, so no layer needs a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        # A leaky ReLU of slope 0.2 keeps (1 + 0.2²)/2 of the variance; the more blocks, the less each may add.
        begin(self.first.weight, math.sqrt(2 / 1.04) / math.sqrt(len(WIDTHS)))
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(F.leaky_relu(self.first(x), 0.2))


class Resample(nn.Module):
    """[N,C,H,H] -> twice or half the size, by the filter [1,3,3,1]/8 in both directions, as products with a matrix."""

    def __init__(self, size: int, *, up: bool) -> None:
        super().__init__()
        large = 2 * size if up else size
        matrix = torch.zeros(large // 2, large + 2)  # halves; the two columns more are the zeros outside
        for row in range(large // 2):
            matrix[row, 2 * row : 2 * row + 4] = torch.tensor([1, 3, 3, 1]) / 8
        matrix = matrix[:, 1:-1].contiguous()
        self.register_buffer("matrix", 2 * matrix.T.contiguous() if up else matrix, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        (n, c, h, w), size = x.shape, len(self.matrix)
        rows = self.matrix @ x.permute(0, 2, 3, 1).reshape(n, h, w * c)
        return (self.matrix @ rows.reshape(n * size, w, c)).reshape(n, size, size, c).permute(0, 3, 1, 2)


class Generator(nn.Module):
    """z [N,20] -> images [N,1,16,16] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.basis = nn.Parameter(torch.randn(a, 4, 4))  # 64 learned pictures of 4x4 pixels, which z weighs
        self.project = begun(nn.Linear(LATENT, a, bias=False))
        self.layers = nn.Sequential(
            Block(a), begun(nn.Conv2d(a, b, 1, bias=False)), Resample(4, up=True),  # [N,48,8,8]
            Block(b), begun(nn.Conv2d(b, c, 1, bias=False)), Resample(8, up=True),  # [N,32,16,16]
            Block(c),
        )  # fmt: skip
        self.image = begun(nn.Conv2d(c, 1, 1, bias=False))

    def forward(self, z: Tensor) -> Tensor:
        # The paper ends without tanh. Here much is black, and tanh spares G from learning not to vary there.
        return torch.tanh(self.image(self.layers(self.basis * self.project(z)[:, :, None, None])))


class Discriminator(nn.Module):
    """Images [N,1,16,16] -> scores [N]; only the difference of two means something."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.image = begun(nn.Conv2d(1, c, 1, bias=False))
        self.layers = nn.Sequential(
            Block(c), Resample(16, up=False), begun(nn.Conv2d(c, b, 1, bias=False)),  # [N,48,8,8]
            Block(b), Resample(8, up=False), begun(nn.Conv2d(b, a, 1, bias=False)),  # [N,64,4,4]
            Block(a),
        )  # fmt: skip
        self.basis = nn.Parameter(torch.empty(a, 4, 4))
        begin(self.basis)
        self.score = begun(nn.Linear(a, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.score((self.layers(self.image(images)) * self.basis).sum((2, 3))).squeeze(1)


def begin(weight: Tensor, gain: float = 1.0) -> None:
    """Weights ~ N(0, gain/√fan-in), so that a signal keeps its scale."""
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))


def begun(layer: nn.Module) -> nn.Module:
    begin(layer.weight)
    return layer


def load_images() -> Tensor:
    """The digits as uint8 [1438,16,16,1]; a fixed fifth is held out, the same that ganzoo holds out."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    small = np.delete(small, held_out, axis=0)
    large = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.LANCZOS)) for image in small]
    return torch.from_numpy(np.stack(large)[..., None])


def score_and_slope(D: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [N], and the mean of the squared norm of their gradient by the images, to be differentiated again."""
    images = images.detach().requires_grad_()
    scores = D(images)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return scores, gradient.square().sum((1, 2, 3)).mean()


def train_step(G: nn.Module, D: nn.Module, opt_g: Adam, opt_d: Adam, reals: list[Tensor], z: Tensor) -> Losses:
    """One update of D, then one of G with real images of its own. reals two [N,C,H,W], z [N,latent].

    Each real image has a fake partner, and D learns which of the two is real: softplus of the wrong difference.
    """
    fake = G(z)
    real_score, r1 = score_and_slope(D, reals[0])
    fake_score, r2 = score_and_slope(D, fake)
    d_loss = F.softplus(fake_score - real_score).mean() + 0.5 * GAMMA * r1 + 0.5 * GAMMA * r2
    opt_d.zero_grad(set_to_none=True)
    d_loss.backward(inputs=list(D.parameters()))
    opt_d.step()

    g_loss = F.softplus(D(reals[1]) - D(fake)).mean()
    opt_g.zero_grad(set_to_none=True)
    g_loss.backward(inputs=list(G.parameters()))  # D's own gradients are not needed here, and cost time
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


def learning_rate(images: int, total_images: int) -> float:
    """LR at first, from START of the run on falling to 0 in a straight line."""
    return LR * (1 - max(0.0, (images / total_images - START) / (1 - START)))


@torch.no_grad()
def update_ema(ema: nn.Module, G: nn.Module, images: int) -> None:
    """Move the average towards G, with a shorter memory early on."""
    decay = 0.5 ** (BATCH / min(EMA, 0.05 * images))
    for mean, weight in zip(ema.parameters(), G.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def main(total_images: int = IMAGES, path: Path = Path("r3gan-digits.png")) -> None:
    torch.manual_seed(SEED)
    images = load_images()
    # Channels last is the order in memory, not in the shape: convolutions on a CPU are faster in it.
    G, D = (network.to(memory_format=torch.channels_last) for network in (Generator(), Discriminator()))
    opt_g, opt_d = (Adam(network.parameters(), lr=LR, betas=BETAS, fused=True) for network in (G, D))
    ema, fixed_z = copy.deepcopy(G), torch.randn(64, LATENT)
    for step in range(total_images // BATCH):
        chosen = torch.randint(len(images), (2, BATCH))
        reals = [(images[rows].float() / 127.5 - 1).permute(0, 3, 1, 2) for rows in chosen]  # [N,1,16,16] each
        for group in (*opt_g.param_groups, *opt_d.param_groups):
            group["lr"] = learning_rate(step * BATCH, total_images)
        d_loss, g_loss = train_step(G, D, opt_g, opt_d, reals, torch.randn(BATCH, LATENT))
        update_ema(ema, G, (step + 1) * BATCH)
        if step % 125 == 124:
            print(f"{(step + 1) * BATCH:6d} images   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", flush=True)
    with torch.no_grad():
        drawn = ((ema(fixed_z)[:, 0] + 1) * 127.5).round().to(torch.uint8)  # [64,16,16]
    Image.fromarray(drawn.reshape(8, 8, 16, 16).permute(0, 2, 1, 3).reshape(128, 128).numpy()).save(path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
