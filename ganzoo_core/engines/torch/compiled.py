"""`engine.compile` in PyTorch: what the two networks compute, compiled, and tried against itself uncompiled first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ganzoo_core.engines.compile_check import ResultsAndGradients, describe_difference
from ganzoo_core.engines.loss_step import sum_terms
from ganzoo_core.engines.torch.device import as_scalar
from ganzoo_core.engines.torch.protocol import TrainedNetworks

_DOUBLE_BACKWARD = "double backward"  # torch's words where a loss differentiates D by its images


def find_compiler_problem(device: torch.device) -> str:
    """What is missing for torch.compile on this device, in words; "" where a small function can be compiled."""
    try:
        _compile(lambda x: torch.sin(x) + 1.0, device)(torch.ones(8, device=device))
    except Exception as error:  # inductor, its compiler, or what that needs
        return _describe_error(error)
    return ""


def _compile(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    # The usual random numbers rather than inductor's own, or the same seed would train another network.
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":
        options["triton.cudagraphs"] = True
    return torch.compile(function, options=options)


class CompiledStep:
    """A trainer's `_generate` and `_terms`, compiled for its networks as they are now.

    Each is tried when it is first called: its results and gradients are compared with those of the same function
    uncompiled, by norm. Where they differ by more than `compile_check.RTOL`, or where it cannot be compiled, it runs
    uncompiled from then on, and the engine tells so. A trial changes nothing: buffers, the loss's memory and the
    random numbers are put back.

    Args:
        trainer: whose functions these are. After it has grown a new `CompiledStep` is needed.
    """

    def __init__(self, trainer: TrainedNetworks) -> None:
        self.trainer = trainer
        self._functions: dict[str, Callable[..., Any]] = {}
        # Functions of another trainer, or of other layers, would count as failed guesses at this one's.
        torch.compiler.reset()
        # A step may go back twice through what was compiled: both losses of a simultaneous one do.
        torch._functorch.config.donated_buffer = False

    def generate(self, z: Any, labels: Any, values: Mapping[str, Any]) -> Any:
        """Images of G."""
        trainer = self.trainer

        def play(function: Callable[..., Any]) -> ResultsAndGradients:
            with torch.enable_grad():
                fake = function(z, labels, given)
                weights = torch.linspace(-1, 1, fake.numel(), device=fake.device).reshape(fake.shape)
                return _to_arrays([fake]), _compute_gradients([((fake * weights).sum(), trainer.g_params)])

        given = self._to_tensors(values)
        if trainer.engine.device.type == "cuda":
            # Whatever CUDA graphs gave before is used up when G is asked for new images.
            torch.compiler.cudagraph_mark_step_begin()
        return self._choose_function("G", lambda *args: trainer._generate(*args), play)(z, labels, given)

    def compute_terms(
        self, phases: tuple[str, ...], real: Any, fake: Any, labels: Any, z: Any, values: Mapping[str, Any]
    ) -> Any:
        """What the loss says in these phases, and D's scores."""
        trainer, given = self.trainer, self._to_tensors(values)
        moved = {"discriminator": trainer.d_params, "generator": []}

        def play(function: Callable[..., Any]) -> ResultsAndGradients:
            leaf = fake.detach().requires_grad_("generator" in phases)
            with self._freeze_unused_weights(phases):
                terms, scores = function(real, leaf, labels, z, given)
            asked = [(sum_terms(term), moved[phase] or [leaf]) for phase, term in zip(phases, terms, strict=True)]
            told = [value for term in terms for value in term.values()]
            return _to_arrays([*told, *scores.values()]), _compute_gradients(asked)

        chosen = self._choose_function(
            f"the step of {' and '.join(phase[0].upper() for phase in phases)}",
            lambda *args: trainer._compute_terms(phases, *args),
            play,
        )
        with self._freeze_unused_weights(phases):
            return chosen(real, fake, labels, z, given)

    def _to_tensors(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule's values as tensors, so that a new one needs no new compilation; `resolution` is structure."""
        device = self.trainer.engine.device
        return {name: value if name == "resolution" else as_scalar(value, device) for name, value in values.items()}

    @contextmanager
    def _freeze_unused_weights(self, phases: tuple[str, ...]) -> Iterator[None]:
        """In G's phase nothing is computed for D's weights, which compiled code would not see from `inputs` alone."""
        frozen = [] if "discriminator" in phases else self.trainer.d_params
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def _choose_function(
        self, what: str, function: Callable[..., Any], run: Callable[[Callable[..., Any]], ResultsAndGradients]
    ) -> Callable[..., Any]:
        if what not in self._functions:
            self._functions[what] = self._compile_and_compare(what, function, run)
        return self._functions[what]

    def _compile_and_compare(
        self, what: str, function: Callable[..., Any], run: Callable[[Callable[..., Any]], ResultsAndGradients]
    ) -> Callable[..., Any]:
        engine = self.trainer.engine
        with self._restore_after():
            expected = run(function)
        compiled = _compile(function, engine.device)
        try:
            with self._restore_after(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what torch.compile stumbles over is told below, if it matters
                found = run(compiled)
        except Exception as error:  # whatever torch.compile cannot do with a plugin's code
            engine.tell(f"engine.compile: {what} runs uncompiled ({_describe_error(error)})")
            return function
        why = describe_difference(found, expected, engine.precision)
        if why:
            engine.tell(f"engine.compile: {what} runs uncompiled ({why})")
            return function
        return compiled

    @contextmanager
    def _restore_after(self) -> Iterator[None]:
        """Put back what a trial moves: buffers, the loss's memory, the random numbers' state."""
        trainer, device = self.trainer, self.trainer.engine.device
        kept = [*trainer.G.buffers(), *trainer.D.buffers(), *trainer.memory.values()]
        before = [tensor.clone() for tensor in kept]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
        for tensor, former in zip(kept, before, strict=True):
            tensor.data.copy_(former)  # unseen by autograd, to which G's own graph would be out of date


def _compute_gradients(losses_and_inputs: Sequence[tuple[torch.Tensor, Sequence[torch.Tensor]]]) -> list[np.ndarray]:
    found: list[torch.Tensor] = []
    for loss, inputs in losses_and_inputs:
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
            found += [gradient for gradient in gradients if gradient is not None]
    return _to_arrays(found)


def _to_arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().float().cpu().numpy().copy() for tensor in tensors]


def _describe_error(error: Exception) -> str:
    if _DOUBLE_BACKWARD in str(error):
        return "its loss differentiates D by the images, and torch.compile cannot go back through that"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'without words'}"
