"""Count a network's parameters and layers while it is built; see `size_limits`."""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode

from ganzoo_core.engines.size_limits import BUILD_LOCK, SMALL_NETWORK, SizeCounter


@contextlib.contextmanager
def watch_construction(counter: SizeCounter, without_memory: bool) -> Iterator[None]:
    """Count the parameters, buffers and modules created in this context.

    Args:
        counter: counts each tensor before it is allocated, and raises above its limit.
        without_memory: create all tensors on the device `meta`, with shapes but no data.
    """
    known: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}

    def add(_module: Any, _name: str, tensor: torch.Tensor | None) -> None:
        # A lazy layer gets its shape later.
        if tensor is None or torch.nn.parameter.is_lazy(tensor):
            return
        key, size = id(tensor), tensor.numel()
        if key in known and known[key][0]() is tensor:
            return  # shared, or registered again under another name, as parametrizations do
        if key in known:
            forget()
        if counter.max_numbers is not None and counter.numbers + size > counter.max_numbers:
            forget()
        counter.add_numbers(size)
        known[key] = weakref.ref(tensor), size

    def forget() -> None:
        """Subtract freed tensors, such as weights that were replaced."""
        for gone in [key for key, (reference, _) in known.items() if reference() is None]:
            counter.numbers -= known.pop(gone)[1]

    stack = contextlib.ExitStack()
    stack.enter_context(BUILD_LOCK)
    plain = torch.nn.Module.__init__

    @functools.wraps(plain)
    def counting(module: torch.nn.Module, *args: Any, **keywords: Any) -> None:
        counter.add_layer()  # torch's registration hook would run too late for a list of 10^9 modules
        plain(module, *args, **keywords)

    with stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
        ):
            stack.callback(register(add).remove)
        torch.nn.Module.__init__ = counting  # type: ignore[method-assign, assignment]
        stack.callback(setattr, torch.nn.Module, "__init__", plain)
        stack.enter_context(_CountingMode(counter, without_memory=without_memory))
        if without_memory:
            stack.enter_context(torch.device("meta"))
        yield
        forget()


class _CountingMode(TorchDispatchMode):
    """Checks the size of each tensor that a factory function is about to allocate."""

    def __init__(self, counter: SizeCounter, *, without_memory: bool) -> None:
        super().__init__()
        self.counter, self.without_memory = counter, without_memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_factory_function(func) and str(kwargs.get("device")) != "meta":
            size = _count_elements(func, args, kwargs)
            self.counter.check_numbers(size)
            if self.without_memory and size > SMALL_NETWORK:
                raise MemoryError("a tensor that is to lie in memory whatever the device")
        return func(*args, **kwargs)


@functools.cache
def _is_factory_function(func: Any) -> bool:
    """Whether an operation creates a tensor of a requested size, such as `zeros`."""
    names = {argument.name for argument in func._schema.arguments}
    tensors = any(isinstance(argument.type, torch.TensorType) for argument in func._schema.arguments)
    return "device" in names and (not tensors or "size" in names)


def _count_elements(func: Any, args: Any, kwargs: Any) -> int:
    arguments = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
    if "size" in arguments:
        return math.prod(arguments["size"])
    # `eye`, `arange` and the like
    kwargs = {**kwargs, "device": "meta"}
    kwargs.pop("generator", None)
    return int(func(*args, **kwargs).numel())
