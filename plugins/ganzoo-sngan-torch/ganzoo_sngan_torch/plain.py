"""SNGAN (arXiv:1802.05957) from top to bottom, without ganzoo: `python plain.py`.

In some minutes it learns to draw scikit-learn's handwritten digits, and leaves 64 of them in `sngan-digits.png`.
N is the batch, C channels, H height, W width, z noise.
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
LATENT = 20  # the length of z; enough for digits, the paper has 128
G_WIDTH, D_WIDTH = 32, 16  # channels of every layer; the paper has 256 and 128
LR_G, LR_D = 5e-4, 2e-3  # falling to 0; the paper has 2e-4 for both, and five cautious updates of D for one of G
BETAS = (0.0, 0.99)  # small batches make the squared gradients noisy: a longer mean than the paper's 0.9


class UpBlock(nn.Module):
    """[N,32,H,W] -> [N,32,2H,2W]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(G_WIDTH)
        self.conv1 = nn.Conv2d(G_WIDTH, G_WIDTH, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(G_WIDTH)
        self.conv2 = nn.Conv2d(G_WIDTH, G_WIDTH, 3, padding=1)
        self.shortcut = nn.Conv2d(G_WIDTH, G_WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2.0))
        return self.conv2(F.relu(self.norm2(h))) + F.interpolate(self.shortcut(x), scale_factor=2.0)


class Generator(nn.Module):
    """z [N,20] -> images [N,1,16,16] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(LATENT, 4 * 4 * G_WIDTH)
        self.blocks = nn.Sequential(UpBlock(), UpBlock())  # [N,32,8,8], [N,32,16,16]
        self.norm = nn.BatchNorm2d(G_WIDTH)
        self.image = nn.Conv2d(G_WIDTH, 1, 3, padding=1)
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks(self.project(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2))  # from [N,32,4,4]
        return torch.tanh(self.image(F.relu(self.norm(h))))


class DownBlock(nn.Module):
    """[N,inputs,H,W] -> [N,16,H,W]; the block that sees the image halves it, and does without the first ReLU."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, D_WIDTH, 3, padding=1)
        self.conv2 = nn.Conv2d(D_WIDTH, D_WIDTH, 3, padding=1)
        self.shortcut = nn.Conv2d(1, D_WIDTH, 1) if inputs == 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.shortcut, nn.Identity):
            return x + self.conv2(F.relu(self.conv1(F.relu(x))))
        return F.avg_pool2d(self.conv2(F.relu(self.conv1(x))), 2) + self.shortcut(F.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    """Images [N,1,16,16] -> scores [N]. Every weight W is used as W/σ(W), σ its largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DownBlock(inputs) for inputs in (1, D_WIDTH, D_WIDTH))
        self.score = nn.Linear(D_WIDTH, 1)
        initialise(self)
        for layer in [part for part in self.modules() if isinstance(part, nn.Conv2d | nn.Linear)]:
            spectral_norm(layer)  # one step of the power iteration each time D trains

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:  # [N,16,8,8] after each
            x = block(x)
        return self.score(F.relu(x).sum((2, 3))).squeeze(1)


def initialise(network: nn.Module) -> None:
    """Glorot's uniform weights, with a gain of √2 for the 3x3 convolutions within blocks; biases 0."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=2**0.5 if name.endswith(("conv1", "conv2")) else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def load_images() -> Tensor:
    """The digits as uint8 [1438,16,16,1]; a fixed fifth is held out, the same that ganzoo holds out."""
    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)  # [1797,8,8]; the originals go up to 16
    held_out = np.random.Generator(np.random.Philox(20140610)).permutation(len(small))[: len(small) // 5]
    small = np.delete(small, held_out, axis=0)
    large = [np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.LANCZOS)) for image in small]
    return torch.from_numpy(np.stack(large)[..., None])


def train_step(G: nn.Module, D: nn.Module, opt_g: Adam, opt_d: Adam, real: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """One update of D, then one of G against the new D. real [N,1,16,16] in [-1, 1], z [N,20]; returns both losses."""
    fake = G(z)
    d_loss = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake.detach())).mean()
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()

    g_loss = -D(fake).mean()
    opt_g.zero_grad()
    g_loss.backward(inputs=list(G.parameters()))  # D's own gradients are not needed here, and cost time
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


def main(total_images: int = IMAGES, path: str = "sngan-digits.png") -> None:
    torch.manual_seed(SEED)
    images = load_images()
    # Channels last is the order in memory, not in the shape: convolutions on a CPU are faster in it.
    G, D = (network.to(memory_format=torch.channels_last) for network in (Generator(), Discriminator()))
    opt_g, opt_d = Adam(G.parameters(), betas=BETAS, fused=True), Adam(D.parameters(), betas=BETAS, fused=True)
    steps = -(-total_images // BATCH)
    for step in range(steps):
        opt_g.param_groups[0]["lr"], opt_d.param_groups[0]["lr"] = (lr * (1 - step / steps) for lr in (LR_G, LR_D))
        chosen = torch.randint(len(images), (BATCH,))
        real = (images[chosen].float() / 127.5 - 1).permute(0, 3, 1, 2)  # [N,1,16,16] in [-1, 1], channels last
        d_loss, g_loss = train_step(G, D, opt_g, opt_d, real, torch.randn(BATCH, LATENT))
        if step % 250 == 249:
            print(f"step {step + 1} of {steps}   loss of D {d_loss:.3f}   loss of G {g_loss:.3f}", flush=True)
    with torch.no_grad():  # in eval, batch norm uses its running statistics
        drawn = G.eval()(torch.randn(64, LATENT))
    grid = drawn.reshape(8, 8, 16, 16).permute(0, 2, 1, 3).reshape(8 * 16, 8 * 16)
    Image.fromarray(((grid + 1) * 127.5).round().to(torch.uint8).numpy()).save(path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
