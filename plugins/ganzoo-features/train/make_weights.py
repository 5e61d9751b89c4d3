"""Make ganzoo_features/bundled.safetensors: train the network of `bundled` on pictures that may be passed on.

    uv run --with-requirements plugins/ganzoo-features/train/requirements.txt \\
        python plugins/ganzoo-features/train/make_weights.py

Each picture is a class of its own (instance discrimination): the network learns to know it again among the others of
its batch when it is cropped, moved, turned a little and coloured, by the loss of SimCLR (arXiv:2002.05709, equation 1);
beside that it names the character of a glyph or handwritten digit. The same machine and versions give the same bytes.
`--random` keeps the weights of the start.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pictures
import safetensors.numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganzoo_features import bundled, torch_network

SEED = 20220127
THREADS = 1  # two add up in another order
STEPS, PAIRS = 700, 64
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.05
LABEL_SMOOTHING, TEMPERATURE, COMPARED = 0.1, 0.2, 128
SIDE = bundled.MIN_SIDE


@dataclass
class TrainingSet:
    """All pictures.

    Attributes:
        images: uint8 [N,64,64,3]; those in colour first, then `strokes`, white on black.
        strokes: how many are strokes: glyphs, digits, scribbles.
        characters: int64 [N], the place in `pictures.CHARACTERS`; -1 for what is no character.
    """

    images: Tensor
    strokes: int
    characters: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=bundled.WEIGHTS_FILE)
    parser.add_argument("--random", action="store_true", help="without training, to compare with")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    started = time.monotonic()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    data = draw_pictures()
    print(
        f"{len(data.images):,} pictures, {data.strokes:,} of them strokes; {time.monotonic() - started:.0f} s",
        flush=True,
    )
    network = Network()
    if not args.random:
        train(network, data, args.steps)
    tensors = calibrate(network.fold_batch_norm(), data)
    content = safetensors.numpy.save(tensors)
    args.out.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{args.out}: {len(content):,} bytes, SHA-256 {digest}; {time.monotonic() - started:.0f} s")


def draw_pictures() -> TrainingSet:
    colour = np.concatenate([draw() for draw in pictures.IN_COLOUR.values()])
    glyphs, characters = pictures.draw_glyphs()
    digits, values = pictures.read_digits()  # 0 to 9 are the first of CHARACTERS
    strokes = np.concatenate([glyphs, digits, pictures.draw_scribbles()])
    known = np.concatenate([np.full(len(colour), -1), characters, values])
    known = np.pad(known, (0, len(colour) + len(strokes) - len(known)), constant_values=-1)
    return TrainingSet(torch.from_numpy(np.concatenate([colour, strokes])), len(strokes), torch.from_numpy(known))


class Network(nn.Module):
    """The network of `bundled` with batch norm, as it is trained."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(width for width in bundled.WIDTHS for _ in range(2))]
        convs = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in itertools.pairwise(widths)]
        norms = [nn.BatchNorm2d(width) for width in widths[1:]]
        self.layers = list(zip(convs, norms, strict=True))
        self.registered = nn.ModuleList([*convs, *norms])
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images [N,3,H,W] in [-1, 1] -> the means of the last two stages, [N,288]."""
        means = []
        for place, (conv, norm) in enumerate(self.layers):
            x = F.relu(norm(conv(x)))
            if place % 2:
                means.append(x.mean((2, 3)))
                x = F.max_pool2d(x, 2)
        return torch.cat(means[-2:], 1)

    @torch.no_grad()
    def fold_batch_norm(self) -> dict[str, np.ndarray]:
        """Kernels in half precision and biases of the same function without batch norm, by `bundled`'s names."""
        tensors = {}
        for place, (conv, norm) in enumerate(self.layers):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            name = f"stage{place // 2}.conv{place % 2}"
            tensors[f"{name}.weight"] = (
                (conv.weight * scale[:, None, None, None]).contiguous().numpy().astype(np.float16)
            )
            tensors[f"{name}.bias"] = (norm.bias - norm.running_mean * scale).numpy().astype(np.float32)
        return tensors


def train(network: Network, data: TrainingSet, steps: int) -> None:
    """Learn to know each picture again, and characters by name."""
    norm = nn.BatchNorm1d(bundled.POOLED, affine=False)
    compared = nn.Linear(bundled.POOLED, COMPARED)
    characters = nn.Linear(bundled.POOLED, len(pictures.CHARACTERS))
    whole = nn.ModuleList([network, norm, compared, characters]).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(whole.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.15)
    started, colours, half = time.monotonic(), len(data.images) - data.strokes, PAIRS // 2
    for step in range(steps):
        chosen = torch.cat([torch.randint(colours, (half,)), colours + torch.randint(data.strokes, (half,))])
        images = data.images[chosen]
        views = [view for _ in range(2) for view in (show_colours(images[:half]), show_strokes(images[half:]))]
        with torch.autocast("cpu", torch.bfloat16):
            found = norm(network(torch.cat(views).contiguous(memory_format=torch.channels_last)))
            again, right = compare_views(compared(found).float())
            named = characters(found).float()
        known = data.characters[chosen].repeat(2)
        naming = F.cross_entropy(named, known, ignore_index=-1, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        (again + naming).backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            at = right.reshape(2, 2, half).mean((0, 2))
            print(
                f"step {step:5}: known again {at[0]:.2f} in colour, {at[1]:.2f} strokes; loss {again:.2f} + "
                f"{naming:.2f}; {time.monotonic() - started:.0f} s, {time.process_time():.0f} s of the processor",
                flush=True,
            )


def compare_views(found: Tensor) -> tuple[Tensor, Tensor]:
    """Two views of each picture [2·N,F], all first ones, then all second: the loss, and which find their twin [2·N]."""
    found = F.normalize(found)
    likeness = (found @ found.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    twins = torch.arange(len(found)).roll(len(found) // 2)
    return F.cross_entropy(likeness, twins), (likeness.argmax(1) == twins).float()


def show_colours(images: Tensor) -> Tensor:
    """Crops of uint8 [N,64,64,3], brighter or darker, with more or less contrast and tinted: [N,3,32,32] in [-1, 1]."""
    x = transform(images, smallest=0.35, largest=1.0, turn=0.1)
    contrast = _uniform(len(x), 1, 0.7, 1.2) * _uniform(len(x), 3, 0.9, 1.1)
    return (x * contrast + _uniform(len(x), 1, -0.2, 0.2)).clamp(-1, 1)


def show_strokes(images: Tensor) -> Tensor:
    """Strokes larger or smaller; half of them white on black, others inverted or in two colours: [N,3,32,32]."""
    ink = (transform(images, smallest=0.75, largest=1.25, turn=0.15) + 1) / 2
    count = len(ink)
    kind = torch.rand(count)[:, None, None, None]
    front, back = _uniform(count, 3, -1, 1), _uniform(count, 3, -1, 1)
    light, dark = _uniform(count, 1, 0.5, 1), _uniform(count, 1, -1, -0.8)
    front = torch.where(kind < 0.5, light, torch.where(kind < 0.7, dark, front))
    back = torch.where(kind < 0.5, -1.0, torch.where(kind < 0.7, light, back))
    return back + (front - back) * ink


def transform(images: Tensor, *, smallest: float, largest: float, turn: float) -> Tensor:
    """A random part of each image uint8 [N,64,64,3], from `smallest` to `largest` of its side: [N,3,32,32] in [-1, 1].

    Width and height differ by up to a fifth. `turn` is the largest angle, in radians.
    """
    count = len(images)
    size = torch.empty(count).uniform_(smallest, largest)
    wide = torch.empty(count).uniform_(-0.1, 0.1).exp()
    angle = torch.empty(count).uniform_(-turn, turn)
    room = (1 - size).abs()
    across, down = room * torch.empty(count).uniform_(-1, 1), room * torch.empty(count).uniform_(-1, 1)
    cos, sin = size * angle.cos(), size * angle.sin()
    rows = [torch.stack([cos * wide, -sin / wide, across], 1), torch.stack([sin * wide, cos / wide, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [count, 3, SIDE, SIDE], align_corners=False)
    x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _uniform(count: int, channels: int, low: float, high: float) -> Tensor:
    return torch.empty(count, channels, 1, 1).uniform_(low, high)


def calibrate(tensors: dict[str, np.ndarray], data: TrainingSet) -> dict[str, np.ndarray]:
    """Add `centre` and `projection`: onto the directions in which the means of these pictures vary most.

    The projected features have a variance of one on average.
    """
    forward = torch_network.make_forward(
        {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
        | {"centre": np.zeros(bundled.POOLED, np.float32), "projection": np.eye(bundled.POOLED, dtype=np.float32)}
    )
    means = bundled.extract_features(forward, data.images[:, ::2, ::2].numpy()).astype(np.float64)
    centre = means.mean(0)
    variances, directions = np.linalg.eigh(np.cov(means.T))  # the least first
    kept = slice(-1, -bundled.FEATURES - 1, -1)
    projection = directions[:, kept] / np.sqrt(variances[kept].mean())
    return {**tensors, "centre": centre.astype(np.float32), "projection": projection.astype(np.float32)}


if __name__ == "__main__":
    main()
