"""The network of `bundled` in PyTorch, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional as F

from ganzoo_features.bundled import WIDTHS, Forward


def make_forward(tensors: Mapping[str, np.ndarray]) -> Forward:
    """Images float32 [N,H,W,3] in [-1, 1] -> features float32 [N,F]; the tensors are `bundled.describe_tensors`'."""
    weights = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    weights |= {
        name: tensor.contiguous(memory_format=torch.channels_last)
        for name, tensor in weights.items()
        if tensor.ndim == 4
    }

    def forward(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            x = torch.from_numpy(images).permute(0, 3, 1, 2)  # [N,3,H,W], channels last in memory
            means = []
            for stage in range(len(WIDTHS)):
                for conv in (f"stage{stage}.conv0", f"stage{stage}.conv1"):
                    x = F.conv2d(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=1).relu_()
                means.append(x.mean((2, 3)))
                x = F.max_pool2d(x, 2)  # halves each side, rounding down
            pooled = torch.cat(means[-2:], 1)
            features: np.ndarray = ((pooled - weights["centre"]) @ weights["projection"]).numpy()
            return features

    return forward
