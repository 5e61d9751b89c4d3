"""pix2pix (arXiv:1611.07004) from top to bottom, without ganzoo: `python plain.py`.

It draws coloured shapes, learns to colour them from their grey values, prints the losses as it goes, and leaves
`pix2pix-shapes.png`: rows of grey, coloured, and as it was. N is the batch, C channels, H height, W width.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

SEED = 0
IMAGES = 12_000  # pairs shown in all: 12 times through 1,000 pictures
SIZE = 32  # pixels; the paper's networks have three more levels, for 256
BATCH = 8  # the paper has 1 to 10; instance norm looks at each picture alone
WIDTH = 24  # channels of the level nearest to the image; 64 in the paper
LR = 4e-4  # twice the paper's: the run is short
BETAS = (0.5, 0.999)
DROPOUT = 0.5  # G's only noise
L1_WEIGHT = 100.0  # how much each pixel's distance to the target counts beside D's judgement
COLOURS = {"disc": (220, 60, 50), "box": (60, 170, 80), "wedge": (70, 90, 220)}  # what its shape alone tells of a grey


class Generator(nn.Module):
    """Source [N,1,32,32] -> images [N,3,32,32] in [-1, 1]: a U-Net. Draw in training mode, for the sake of dropout."""

    def __init__(self) -> None:
        super().__init__()
        widths = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH, 8 * WIDTH]
        self.down = nn.ModuleList([nn.Conv2d(1, WIDTH, 4, stride=2, padding=1, bias=False)])  # [N,24,16,16]
        for level in range(1, 5):  # [N,48,8,8], [N,96,4,4], [N,192,2,2], [N,192,1,1]
            conv = nn.Conv2d(widths[level - 1], widths[level], 4, stride=2, padding=1, bias=False)
            norm = [nn.InstanceNorm2d(widths[level], affine=True)] if level < 4 else []
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), conv, *norm))
        self.up = nn.ModuleList()
        for level in range(4, 0, -1):  # [N,192,2,2], [N,96,4,4], [N,48,8,8], [N,24,16,16]
            joined = widths[level] if level == 4 else 2 * widths[level]  # with the features of the way down
            conv = nn.ConvTranspose2d(joined, widths[level - 1], 4, stride=2, padding=1, bias=False)
            norm = nn.InstanceNorm2d(widths[level - 1], affine=True)
            dropout = [nn.Dropout(DROPOUT)] if level > 1 else []
            self.up.append(nn.Sequential(nn.ReLU(), conv, norm, *dropout))
        self.to_image = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * WIDTH, 3, 4, stride=2, padding=1), nn.Tanh())
        self.apply(initialise)

    def forward(self, source: Tensor) -> Tensor:
        skips = [source]
        for layers in self.down:
            skips.append(layers(skips[-1]))
        features = skips.pop()
        for layers in self.up:
            features = torch.cat([layers(features), skips.pop()], dim=1)
        return self.to_image(features)


class Discriminator(nn.Module):
    """Images [N,3,32,32] and source [N,1,32,32] -> scores of patches [N,2,2]: is this the real image of that source?"""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1 + 3, WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]  # [N,24,16,16]
        for shallow, deep, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):  # [N,48,8,8], [N,96,4,4], [N,192,3,3]
            layers += [
                nn.Conv2d(shallow * WIDTH, deep * WIDTH, 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(deep * WIDTH, affine=True),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, padding=1))  # [N,1,2,2]
        self.apply(initialise)

    def forward(self, images: Tensor, source: Tensor) -> Tensor:
        return self.layers(torch.cat([source, images], dim=1)).squeeze(1)


def initialise(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), the scale of instance norm ~ N(1, 0.02), shifts and biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.InstanceNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def draw_shapes(count: int, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Grey pictures uint8 [N,32,32,1] and the coloured ones [N,32,32,3]: two shapes each, on one of many greys."""
    rng, pictures = np.random.default_rng(seed), []
    for _ in range(count):
        picture = Image.new("RGB", (SIZE, SIZE), (int(rng.integers(120, 256)),) * 3)
        pen = ImageDraw.Draw(picture)
        for kind in rng.choice(list(COLOURS), 2):
            x, y, r = rng.integers(6, 26), rng.integers(6, 26), rng.integers(4, 9)
            colour = tuple(int(value * rng.uniform(0.6, 1.1)) for value in COLOURS[kind])
            box = (int(x - r), int(y - r), int(x + r), int(y + r))
            if kind == "disc":
                pen.ellipse(box, colour)
            elif kind == "box":
                pen.rectangle(box, colour)
            else:
                pen.polygon([(int(x), box[1]), (box[0], box[3]), (box[2], box[3])], colour)
        pictures.append(np.asarray(picture))
    grey = np.rint(np.stack(pictures) @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
    return torch.from_numpy(grey), torch.from_numpy(np.stack(pictures))


def scale(pictures: Tensor) -> Tensor:
    """uint8 [N,H,W,C] -> [N,C,H,W] in [-1, 1], in memory channels last."""
    return (pictures.float() / 127.5 - 1).permute(0, 3, 1, 2)


def train_step(
    G: nn.Module, D: nn.Module, opt_g: torch.optim.Optimizer, opt_d: torch.optim.Optimizer, source: Tensor, real: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One update of D, then one of G for the same pairs [N,C,H,W]. Returns D's loss and both terms of G's.

    softplus(-s) = -log sigmoid(s), softplus(s) = -log(1 - sigmoid(s)): cross-entropy. Half of D's slows it down.
    """
    fake = G(source)
    d_loss = 0.5 * (F.softplus(-D(real, source)).mean() + F.softplus(D(fake.detach(), source)).mean())
    opt_d.zero_grad(set_to_none=True)
    d_loss.backward(inputs=list(D.parameters()))
    opt_d.step()

    g_loss, distance = F.softplus(-D(fake, source)).mean(), L1_WEIGHT * (real - fake).abs().mean()
    opt_g.zero_grad(set_to_none=True)
    (g_loss + distance).backward(inputs=list(G.parameters()))
    opt_g.step()
    return d_loss.detach(), g_loss.detach(), distance.detach()


def main(total_images: int = IMAGES, path: Path = Path("pix2pix-shapes.png")) -> None:
    torch.manual_seed(SEED)
    grey, images = draw_shapes(1_000)
    G, D = (network.to(memory_format=torch.channels_last) for network in (Generator(), Discriminator()))
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, eps=1e-8, fused=True) for net in (G, D))
    for step in range(1, total_images // BATCH + 1):
        batch = torch.randint(len(images), (BATCH,))
        losses = train_step(G, D, opt_g, opt_d, scale(grey[batch]), scale(images[batch]))
        if step % 100 == 0:
            print("{:6d} images   loss of D {:.3f}   of G {:.3f} + {:.3f}".format(step * BATCH, *losses), flush=True)
    grey, images = draw_shapes(8, SEED + 1)  # shapes that it has not seen
    with torch.no_grad():
        drawn = torch.stack([((G(scale(one[None]))[0] + 1) * 127.5).round().to(torch.uint8) for one in grey])
    rows = torch.cat([grey.expand(-1, -1, -1, 3), drawn.permute(0, 2, 3, 1), images])
    Image.fromarray(rows.reshape(3, 8, SIZE, SIZE, 3).transpose(1, 2).reshape(3 * SIZE, 8 * SIZE, 3).numpy()).save(path)
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
