"""The metric `pairs`, for images that were drawn from the conditions of real ones: each beside its target.

PSNR and SSIM (Wang et al. 2004, doi:10.1109/TIP.2003.819861) are torchmetrics' and measure distortion. No method has
both the least distortion and images that look real (Blau, Michaeli 2018, arXiv:1711.06077): a generator that learnt by
the distance of pixels alone wins PSNR with blurred images. So the extractor's view of each pair stands beside them, and
`fid` and `kid` see how real the images look without their targets.
"""

from __future__ import annotations

import numpy as np

import ganzoo_core as gz

CHUNK = 256  # images at once
LEAST_SIDE = 6  # pixels: torchmetrics mirrors the image at its border, 5 pixels beyond it, for SSIM's window of 11
MAX_PSNR = 100.0  # dB, also where nothing differs


@gz.hookimpl
def metric() -> gz.Metric:
    """PSNR, SSIM and the distance in the extractor's features between images and their targets."""
    return score


def score(real: gz.Features, fake: gz.Features, seed: int) -> dict[str, float]:
    """`psnr` in dB, `ssim`, and `feature-distance`, the mean Euclidean distance of a pair's features.

    PSNR is that of the mean squared error over all images, so that a single image that is met exactly does not make it
    infinite; it is 100 dB at most. SSIM is the mean over images.

    Raises:
        UsageError: for images of fewer than 6 pixels a side, for which there is no SSIM.
    """
    targets = fake.targets
    assert targets is not None
    assert fake.images is not None
    assert targets.images is not None
    height, width = fake.images.shape[1:3]
    if min(height, width) < LEAST_SIDE:
        raise gz.UsageError(
            f"SSIM takes images of {LEAST_SIDE} pixels a side or more, and these have {width}×{height}; "
            "--metrics leaves pairs out"
        )
    psnr, ssim = compare_pixels(fake.images, targets.images)
    distances = np.linalg.norm(fake.features.astype(np.float64) - targets.features, axis=1)
    return {"psnr": psnr, "ssim": ssim, "feature-distance": float(distances.mean())}


def compare_pixels(images: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """PSNR in dB and SSIM of images and their targets, both uint8 [N,H,W,C]."""
    import torch
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    psnr, ssim = PeakSignalNoiseRatio(data_range=255.0), StructuralSimilarityIndexMeasure(data_range=255.0)
    for start in range(0, len(images), CHUNK):
        chosen = slice(start, start + CHUNK)
        pair = [torch.from_numpy(np.ascontiguousarray(of[chosen])).permute(0, 3, 1, 2) for of in (images, targets)]
        for measure in (psnr, ssim):
            measure.update(*(side.double() for side in pair))
    similarity = ssim.compute()
    assert isinstance(similarity, torch.Tensor)  # the means alone: no picture of them was asked for
    return min(MAX_PSNR, float(psnr.compute())), float(similarity)
