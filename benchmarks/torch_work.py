"""The work of PyTorch's matrix products and convolutions, and the memory of all tensors, counted as they are called."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

_BACKWARD = torch.ops.aten.convolution_backward


class FlopCounter(TorchDispatchMode):
    """Counts FLOP in a `with` block, two for each multiplication and addition, by PyTorch's own formulas.

    Differs from `torch.utils.flop_counter.FlopCounterMode` in two ways. The weight gradient of a grouped convolution
    is divided by the number of groups, since a filter meets the channels of its own group alone. And gradients may be
    taken with respect to inputs while it counts, as gradient penalties do.

    Attributes:
        flop: counted so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=out)
            if func.overloadpacket is _BACKWARD:
                self.flop -= _find_excess(args, out)
        return out


def _find_excess(args: Sequence[Any], out: Sequence[Any]) -> int:
    """What the formula of `convolution_backward` counts too much for a grouped convolution's weight gradient."""
    *before, groups, wanted = args
    if groups == 1 or not wanted[1]:
        return 0
    weights = flop_registry[_BACKWARD](*before, groups, [False, True, False], out_val=(None, out[1], None))
    return int(weights - weights // groups)


class MemoryCounter(TorchDispatchMode):
    """Follows the bytes of tensors that are made in a `with` block, until each is freed.

    Attributes:
        live: bytes now.
        peak: the most at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {id(tensor.untyped_storage()) for tensor in args if isinstance(tensor, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor) and id(tensor.untyped_storage()) not in given:
                self._follow(tensor.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        if storage not in self._seen:  # else a view of what is known
            self._seen[storage] = None
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.live -= size
