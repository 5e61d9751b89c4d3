"""Extract features: run an extractor, check what it returns, and take those of real images from the cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ganzoo_core.api import Images
from ganzoo_core.data import lazy
from ganzoo_core.data.fingerprint import ImageDigests, read_or_digest_images
from ganzoo_core.discovery import loading
from ganzoo_core.errors import GanzooError, PluginError
from ganzoo_core.evaluation import feature_cache
from ganzoo_core.evaluation.choice import Choice
from ganzoo_core.evaluation.feature_cache import Extracted
from ganzoo_core.evaluation.protocol import describe_arithmetic
from ganzoo_core.messages import pluralise
from ganzoo_core.processes import Say
from ganzoo_core.runs.facts import digest_plugins


class FeatureExtractor:
    """The extractor of a score request.

    Args:
        choice: the extractor, its card and its settings.
        say: receives progress messages.

    Attributes:
        batch: see `api.Extractor`; 0 if the extractor does not say.
    """

    def __init__(self, choice: Choice, say: Say) -> None:
        self.choice, self.say = choice, say
        self.batch: int = getattr(choice.extractor, "batch", 0)

    def extract(self, pictures: Images) -> Extracted:
        """Extract the features of images uint8 [N,H,W,C], at once, or 64 MiB at a time if they do not fit into memory.

        Raises:
            PluginError: if the extractor is faulty.
        """
        if _fits_in_memory(pictures):
            return self._call(np.ascontiguousarray(pictures))
        parts = []
        for first, some in lazy.iterate_chunks(pictures, batch=self.batch or 1):
            self.say(f"looking at {len(pictures):,} images, of which {first:,} are done")
            parts.append(self._call(some))
        return join_features(parts)

    def extract_real(self, pictures: Images, digests: ImageDigests | None = None) -> Extracted:
        """As `extract`, for images that are looked at again and again: their features are cached.

        Args:
            pictures: the images.
            digests: of these, if they are known.
        """
        key = self._make_key(pictures, digests or read_or_digest_images(pictures, self.say))
        return feature_cache.load_or_extract(key, len(pictures), lambda: self.extract(pictures), self.say)

    def _make_key(self, pictures: Images, digests: ImageDigests) -> dict[str, Any]:
        """All that the features depend on, to the last bit."""
        part = self.choice.part
        is_chunked = not self.batch and not _fits_in_memory(pictures)
        return {
            "images": [digests.count, *digests.size, digests.sha256],
            "extractor": [part.qualified_name, part.version, dict(self.choice.candidate.options)],
            "facts": dict(self.choice.extractor.facts),
            "code": digest_plugins([part]),
            "batch": self.batch,
            "chunk_bytes": lazy.CHUNK_BYTES if is_chunked else None,
            "arithmetic": describe_arithmetic(part.distribution),
        }

    def _call(self, pictures: np.ndarray) -> Extracted:
        part = self.choice.part
        try:
            features, logits = self.choice.extractor.extract(pictures)
        except (GanzooError, KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            raise loading.make_plugin_error(part, "extract raised", error) from error
        shape: tuple[int, ...] = getattr(features, "shape", ())
        if len(shape) != 2 or shape[0] != len(pictures):
            returned = f"{type(features).__name__} {list(shape)}"
            raise PluginError(
                f"{part.label}: extract returned {returned} for {pluralise(len(pictures), 'image')}; expected an "
                "array [N,F]; its author must mend it"
            )
        return Extracted(
            np.ascontiguousarray(features, np.float32), None if logits is None else np.ascontiguousarray(logits)
        )


def join_features(parts: list[Extracted]) -> Extracted:
    """The features of parts of a set, in order, as those of the whole; logits if every part has them."""
    with_logits = [part.logits for part in parts if part.logits is not None]
    return Extracted(
        np.concatenate([part.features for part in parts]),
        np.concatenate(with_logits) if len(with_logits) == len(parts) else None,
    )


def _fits_in_memory(pictures: Images) -> bool:
    return lazy.should_hold_in_memory(math.prod(pictures.shape), in_file=lazy.is_in_file(pictures))
