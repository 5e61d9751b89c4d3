"""The small network behind the extractor `classifier`, and how it is trained: the same bytes each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ganzoo_core as gz

FEATURES = 64
WIDTHS = (32, 64, 64)
MIN_SIDE = 4  # pixels: levels are added until the image is smaller than twice this
BATCH = 64
EPOCHS = 25
MAX_TRAINING_IMAGES = 240_000  # images in all, if that is fewer than so many epochs
LEARNING_RATE = 3e-3
MAX_SHIFT = 1 / 12  # of the height and width: images are moved by up to this much
LABEL_SMOOTHING = 0.05
SEED = 20140610
EVALUATION_BATCH = 500  # images at a time where nothing is learnt
MAX_SIDE = 64  # pixels of the longer side: larger images are made so small


class Classifier(nn.Module):
    """Convolutions, each halving the image, then 64 features and a score for each class.

    Args:
        shape: height, width and channels of the images.
        classes: K.

    Attributes:
        size: height and width of the images that it sees, of at most 64 pixels.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.size = height, width = _scale_size(shape[0], shape[1])
        channels = shape[2]
        levels: list[nn.Module] = []
        while not levels or min(height, width) >= 2 * MIN_SIDE:
            out = WIDTHS[min(len(levels) // 4, len(WIDTHS) - 1)]
            levels += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            levels += [nn.MaxPool2d(2) if min(height, width) >= 2 else nn.Identity()]
            channels, height, width = out, max(1, height // 2), max(1, width // 2)
        levels += [nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        self.levels = nn.Sequential(*levels)
        self.squeeze = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * height * width, FEATURES, bias=False), nn.BatchNorm1d(FEATURES)
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N,C,H,W] in [-1, 1] -> features [N,64], before their ReLU, and logits [N,K]."""
        features = self.squeeze(self.levels(images))
        return features, self.head(F.relu(features))


def _scale_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def describe_resizer(height: int, width: int) -> str:
    """How images of this size are resized, by name."""
    rows, columns = _scale_size(height, width)
    if (rows, columns) == (height, width):
        return "none"
    return f"bilinear with antialiasing, as PyTorch has it, to {columns}×{rows}"


def as_input(images: np.ndarray) -> Tensor:
    """uint8 [N,H,W,C] -> float32 [N,C,H,W] in [-1, 1], of at most 64 pixels."""
    found = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    size = _scale_size(images.shape[1], images.shape[2])
    if size == images.shape[1:3]:
        return found
    return F.interpolate(found, size=size, mode="bilinear", align_corners=False, antialias=True)


def pack(network: Classifier) -> bytes:
    """The weights as the bytes of a safetensors file."""
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})


def unpack(content: bytes, empty: Classifier) -> Classifier:
    """The classifier with these weights; raises an error where they are not its own."""
    try:
        empty.load_state_dict(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from None
    return empty.eval()


def train(
    images: gz.Images, labels: np.ndarray, classes: int, report_progress: Callable[[int, int], None]
) -> Classifier:
    """A classifier of these images, on the CPU with one thread.

    Args:
        images: uint8 [N,H,W,C].
        labels: int64 [N].
        classes: K.
        report_progress: is called with the images presented so far and in all.
    """
    height, width, channels = images.shape[1:]
    total = min(EPOCHS * len(images), MAX_TRAINING_IMAGES)
    steps = max(1, total // BATCH)
    random = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Classifier((height, width, channels), classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    warmup = 0.2 if steps != 5 else 0.4  # with a warm-up of exactly one step OneCycleLR divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=warmup)
    batches = _draw_batches(len(images), random)
    known = torch.from_numpy(np.array(labels))
    for step in range(steps):
        chosen = next(batches)
        shown = _shift_randomly(as_input(images[chosen.numpy()]), random)
        _, logits = network(shown)
        optimizer.zero_grad()
        F.cross_entropy(logits, known[chosen], label_smoothing=LABEL_SMOOTHING).backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            report_progress(step * BATCH, steps * BATCH)
    return network.eval()


def _draw_batches(count: int, random: torch.Generator) -> Iterator[Tensor]:
    """Whole batches of a new order each epoch; of a set smaller than a batch, all of it."""
    while True:
        order = torch.randperm(count, generator=random)
        yield from (order[start : start + BATCH] for start in range(0, max(1, count - BATCH + 1), BATCH))


def _shift_randomly(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image moved by a few pixels, its edge repeated."""
    _, _, height, width = images.shape
    most = max(1, round(min(height, width) * MAX_SHIFT))
    padded = F.pad(images, (most, most, most, most), mode="replicate")
    down, right = torch.randint(0, 2 * most + 1, (2, len(images)), generator=random)
    rows = (down[:, None] + torch.arange(height))[:, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, :]
    number = torch.arange(len(images))[:, None, None]
    return padded[number, :, rows, columns].permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def extract_features(
    network: Classifier, images: gz.Images, batch: int = EVALUATION_BATCH
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [N,H,W,C], `batch` at a time -> features [N,64] and logits [N,K], float32."""
    found = [network(as_input(images[start : start + batch])) for start in range(0, len(images), batch)]
    features, logits = zip(*found, strict=True)
    return torch.cat(features).numpy(), torch.cat(logits).numpy()
