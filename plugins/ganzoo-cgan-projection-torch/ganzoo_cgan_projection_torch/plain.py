"""The projection discriminator (arXiv:1802.05637) from top to bottom, without ganzoo: `python plain.py`.

In some minutes it learns to draw scikit-learn's handwritten digits by name, and leaves eight of each, one row a class,
in `cgan-projection-digits.png`. N is the batch, C channels, H height, W width, z noise and y labels.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam

SEED = 0
IMAGES = 80_000  # real images shown in all: about 56 times through the 1,438 digits
BATCH = 16  # small, for more updates from few images; the paper has 64
CLASSES = 10
LATENT = 20  # the length of z; enough for digits, the paper has 128
G_WIDTH, D_WIDTH = 32, 16  # channels of every layer; the paper has 256 and 128
LR_G, LR_D = 5e-4, 2e-3  # falling to 0; the paper has 2e-4 for both, and five cautious updates of D for one of G
BETAS = (0.0, 0.99)  # small batches make the squared gradients noisy: a longer mean than the paper's 0.9
Losses = tuple[Tensor, Tensor]  # of D and of G


class ConditionalBatchNorm(nn.BatchNorm2d):
    """Batch norm over all classes together, then the scale and the shift of a sample's own class."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.scale = nn.Parameter(torch.ones(CLASSES, channels))
        self.shift = nn.Parameter(torch.zeros(CLASSES, channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        scale, shift = F.embedding(y, self.scale), F.embedding(y, self.shift)
        return super().forward(x) * scale[:, :, None, None] + shift[:, :, None, None]


class UpBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalBatchNorm(G_WIDTH), ConditionalBatchNorm(G_WIDTH)
        self.conv1, self.conv2 = (nn.Conv2d(G_WIDTH, G_WIDTH, 3, padding=1) for _ in range(2))
        self.shortcut = nn.Conv2d(G_WIDTH, G_WIDTH, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, y)), scale_factor=2.0))  # [N,32,2H,2W]
        return self.conv2(F.relu(self.norm2(h, y))) + F.interpolate(self.shortcut(x), scale_factor=2.0)


class Generator(nn.Module):
    """z [N,20], y [N] -> images [N,1,16,16] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(LATENT, 4 * 4 * G_WIDTH)
        self.blocks = nn.ModuleList(UpBlock() for _ in range(2))  # [N,32,8,8], [N,32,16,16]
        self.norm = nn.BatchNorm2d(G_WIDTH)
        self.image = nn.Conv2d(G_WIDTH, 1, 3, padding=1)
        initialise(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # [N,32,4,4]
        for block in self.blocks:
            h = block(h, y)
        return torch.tanh(self.image(F.relu(self.norm(h))))


class Discriminator(nn.Module):
    """Images [N,1,16,16], y [N] -> scores [N]: ψ(φ(x)) + ⟨v_y, φ(x)⟩ with the features φ(x) [N,16]."""

    def __init__(self) -> None:
        super().__init__()
        convs = [[nn.Conv2d(c, D_WIDTH, 3, padding=1) for c in (inputs, D_WIDTH)] for inputs in (1, D_WIDTH, D_WIDTH)]
        self.blocks = nn.ModuleList(nn.ModuleDict(zip(("conv1", "conv2"), pair, strict=True)) for pair in convs)
        self.blocks[0]["shortcut"] = nn.Conv2d(1, D_WIDTH, 1)
        self.score = nn.Linear(D_WIDTH, 1)
        initialise(self)
        self.embedding = nn.Embedding(CLASSES, D_WIDTH)
        nn.init.xavier_uniform_(self.embedding.weight)
        for layer in [part for part in self.modules() if isinstance(part, nn.Conv2d | nn.Linear | nn.Embedding)]:
            spectral_norm(layer)  # W/σ(W); one step of the power iteration each time D trains

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first, *flat = self.blocks
        h = F.avg_pool2d(first.conv2(F.relu(first.conv1(x))), 2) + first.shortcut(F.avg_pool2d(x, 2))  # [N,16,8,8]
        for block in flat:
            h = h + block.conv2(F.relu(block.conv1(F.relu(h))))
        features = F.relu(h).sum((2, 3))
        return self.score(features).squeeze(1) + (self.embedding(y) * features).sum(1)


def initialise(network: nn.Module) -> None:
    """Glorot's uniform weights, with a gain of √2 for the 3x3 convolutions within blocks; biases 0."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5 if name.endswith(("conv1", "conv2")) else 1.0)
            nn.init.zeros_(layer.bias)


def load_images() -> tuple[Tensor, Tensor]:
    """The digits, uint8 [1438,16,16,1], and labels [1438], without the fixed fifth that ganzoo holds out."""
    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    small, labels = np.delete(small, held_out, axis=0), np.delete(digits.target, held_out)
    large = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.LANCZOS)) for image in small]
    return torch.from_numpy(np.stack(large)[..., None]), torch.from_numpy(labels)


def train_step(G: nn.Module, D: nn.Module, opt_g: Adam, opt_d: Adam, real: Tensor, y: Tensor, z: Tensor) -> Losses:
    """An update of D, then one of G against the new D; real [N,1,16,16] in [-1, 1] has the classes y; both losses."""
    fake = G(z, y)
    d_loss = F.relu(1 - D(real, y)).mean() + F.relu(1 + D(fake.detach(), y)).mean()
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()
    g_loss = -D(fake, y).mean()
    opt_g.zero_grad()
    g_loss.backward(inputs=list(G.parameters()))  # D's own gradients are not needed here, and cost time
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


def main(total_images: int = IMAGES, path: str = "cgan-projection-digits.png") -> None:
    torch.manual_seed(SEED)
    images, labels = load_images()
    # Channels last is the order in memory, not in the shape: convolutions on a CPU are faster in it.
    G, D = (network.to(memory_format=torch.channels_last) for network in (Generator(), Discriminator()))
    opt_g, opt_d = Adam(G.parameters(), betas=BETAS, fused=True), Adam(D.parameters(), betas=BETAS, fused=True)
    steps = -(-total_images // BATCH)
    for step in range(steps):
        opt_g.param_groups[0]["lr"], opt_d.param_groups[0]["lr"] = (lr * (1 - step / steps) for lr in (LR_G, LR_D))
        chosen = torch.randint(len(images), (BATCH,))
        real = (images[chosen].float() / 127.5 - 1).permute(0, 3, 1, 2)  # [N,1,16,16] in [-1, 1], channels last
        d_loss, g_loss = train_step(G, D, opt_g, opt_d, real, labels[chosen], torch.randn(BATCH, LATENT))
        if step % 250 == 249:
            print(f"step {step + 1} of {steps}   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", flush=True)
    with torch.no_grad():  # in eval, batch norm uses its running statistics
        drawn = G.eval()(torch.randn(8 * CLASSES, LATENT), torch.arange(CLASSES).repeat_interleave(8))
    grid = drawn.reshape(CLASSES, 8, 16, 16).permute(0, 2, 1, 3).reshape(CLASSES * 16, 8 * 16)
    Image.fromarray(((grid + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
