"""The extractor `inception`: the network of 2015 by which published scores are computed, as torch-fidelity has it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ganzoo_core as gz

if TYPE_CHECKING:
    import torch

BATCH = 50  # images at a time
RESIZER = "bilinear as TensorFlow 1 has it, to 299×299, by torch-fidelity"


@gz.hookimpl
def extractor(name: str, say: Callable[[str], None], options: gz.Options) -> gz.Extractor:
    """Features are the 2,048 of the last pooling, logits the 1,008 without their bias. Grey images are repeated to RGB.

    Raises:
        DataError: if its weights cannot be had or read.
    """
    from ganzoo_scores import fetch

    path = Path(options["weights"]).expanduser() if options["weights"] else fetch.weights(say)
    return _Extractor(read(path, name))


def read(path: Path, name: str = "inception") -> dict[str, np.ndarray]:
    """The tensors of a file of weights: as `torch.save` wrote it, or of safetensors.

    Raises:
        DataError: if it is neither.
    """
    import safetensors
    import safetensors.numpy

    from ganzoo_scores import statedict

    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.numpy.load_file(path))
        return statedict.read(path)
    except OSError as error:
        reason = error.strerror or str(error)
    except (statedict.NotTensors, safetensors.SafetensorError) as error:
        reason = str(error)
    raise gz.DataError(
        f"{path} cannot be read as {name}'s weights: {reason}; expected torch-fidelity's file, or its tensors as "
        "safetensors"
    )


class _Extractor:
    """Inception with its weights; see `gz.Extractor`."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network_of(tensors).to(self.device)
        self.facts: Mapping[str, Any] = {"weights": _digest(tensors), "resizer": RESIZER, "device": self.device.type}

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N,H,W,C] -> features [N,2048] and logits [N,1008]."""
        import torch

        features, logits = [], []
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                chunk = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2)
                pooled, scores = self.network(chunk.expand(-1, 3, -1, -1).contiguous().to(self.device))
                features.append(pooled.cpu().numpy())
                logits.append(scores.cpu().numpy())
        return np.concatenate(features), np.concatenate(logits)


def network_of(tensors: Mapping[str, np.ndarray]) -> torch.nn.Module:
    """torch-fidelity's network with these weights.

    Raises:
        DataError: if they are not its own.
    """
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as theirs  # type: ignore[import-untyped]

    given = {name: torch.from_numpy(array) for name, array in tensors.items()}
    # The counters of batch norm, which nothing reads here, may be missing from a conversion.
    counters = {name.removesuffix("running_mean") + "num_batches_tracked" for name in given if "running_mean" in name}
    given |= {name: torch.tensor(0) for name in counters - set(given)}
    # Its constructor downloads a pickle by PyTorch's own ways and runs it; what it asks for is handed to it instead.
    loader = theirs.load_state_dict_from_url
    theirs.load_state_dict_from_url = lambda *_, **__: given
    try:
        return theirs.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])
    except RuntimeError as error:
        raise gz.DataError(f"these are not Inception's weights: {' '.join(str(error).split())[:300]}") from None
    finally:
        theirs.load_state_dict_from_url = loader


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of the weights themselves, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tensors[name].shape}".encode())
            digest.update(tensors[name].tobytes())
    return digest.hexdigest()
