"""The extractor `inception`: the Inception network of 2015 used for published scores, from torch-fidelity."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ganzoo_core as gz

if TYPE_CHECKING:
    import torch

# Images per forward. On a CPU the largest layers, 5.5 MB an image, should not outgrow the caches by far.
BATCHES = {"cpu": 16, "cuda": 64}
COUNTER_SUFFIX = ".num_batches_tracked"
RESIZER = "bilinear as TensorFlow 1 has it, to 299×299, by torch-fidelity"


@gz.hookimpl
def extractor(name: str, say: Callable[[str], None], options: gz.Options) -> gz.Extractor:
    """Features: the 2,048 of the last pooling; logits: the 1,008 without bias. Grey images are repeated to RGB.

    Raises:
        DataError: if its weights cannot be downloaded or read.
    """
    return _Extractor(_load_tensors(options["weights"], name, say))


def _load_tensors(weights_file: str, name: str, say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """The weights by name, from the user's file or else the published one."""
    from ganzoo_scores import inception_weights

    if not weights_file:
        return unpickle(inception_weights.fetch_weights(say))
    try:
        path = Path(weights_file).expanduser()
        if path.suffix == ".safetensors":
            return read_safetensors(path.resolve())  # the user's file may be a link
        return unpickle(inception_weights.read_verified(path))
    except inception_weights.WrongFile as error:
        reason = f"{error}, since any other such file could run code when it is opened"
    except OSError as error:
        reason = error.strerror or str(error)
    except (gz.UsageError, RuntimeError, ValueError) as error:  # ~user without such a user; a NUL in the name
        reason = str(error)
    raise gz.DataError(
        f"{weights_file} cannot be read as {name}'s weights: {reason}; name the published file, or its tensors as "
        f"safetensors, with --set extractor.{name}.weights=FILE"
    )


def unpickle(content: bytes) -> dict[str, np.ndarray]:
    """The tensors in the published file, whose SHA-256 `fetch_weights` has checked."""
    import torch

    # The only pickle that ganzoo opens. The pinned SHA-256 protects against other content, and so does `weights_only`.
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)  # noqa: TID251
    return {name: tensor.numpy() for name, tensor in state.items()}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read the same tensors from a safetensors file, checking names, dtypes and shapes before anything is allocated.

    Raises:
        UsageError: naming the first tensor that differs.
    """
    tensors = make_empty_network().state_dict()
    expected = {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in tensors.items()
    }
    return gz.read_tensors(path, expected, optional=[name for name in expected if name.endswith(COUNTER_SUFFIX)])


class _Extractor:
    """Inception with its weights; see `gz.Extractor`."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network, self.batch = make_network(tensors).to(self.device), BATCHES[self.device.type]
        self.facts: Mapping[str, Any] = {
            "weights": _hash_tensors(tensors),
            "resizer": RESIZER,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
        }

    def extract(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [N,H,W,C] -> features [N,2048] and logits [N,1008]."""
        import torch

        features, logits = [], []
        with torch.no_grad():
            for start in range(0, len(images), self.batch):
                chunk = torch.from_numpy(np.array(images[start : start + self.batch])).permute(0, 3, 1, 2)
                pooled, scores = self.network(chunk.expand(-1, 3, -1, -1).contiguous().to(self.device))
                features.append(pooled.cpu().numpy())
                logits.append(scores.cpu().numpy())
        return np.concatenate(features), np.concatenate(logits)


def make_network(tensors: Mapping[str, np.ndarray]) -> torch.nn.Module:
    """torch-fidelity's network with these weights.

    Raises:
        DataError: if they do not fit the network.
    """
    import torch

    network = make_empty_network()
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    # Batch norm's counters, which are not used, may be missing in converted files.
    state |= {
        name: torch.tensor(0) for name in network.state_dict() if name.endswith(COUNTER_SUFFIX) and name not in tensors
    }
    try:
        torch.nn.Module.load_state_dict(network, state, assign=True)
    except RuntimeError as error:
        raise gz.DataError(f"these are not Inception's weights: {' '.join(str(error).split())[:300]}") from None
    return network.requires_grad_(False).eval()


def make_empty_network() -> torch.nn.Module:
    """torch-fidelity's network without weights: tensors on the meta device, with names, shapes and dtypes."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    class Empty(theirs.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object, **__: object) -> None:
            """Do nothing: the constructor would load downloaded weights."""

    # Keep the constructor from downloading and opening a pickle.
    loader = theirs.load_state_dict_from_url
    theirs.load_state_dict_from_url = lambda *_, **__: {}
    try:
        with torch.device("meta"):
            return Empty("inception", ["2048", "logits_unbiased"])
    finally:
        theirs.load_state_dict_from_url = loader


def _hash_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of the weights, independent of the file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith(COUNTER_SUFFIX):
            digest.update(f"{name} {tensors[name].shape}".encode())
            digest.update(tensors[name].tobytes())
    return digest.hexdigest()
