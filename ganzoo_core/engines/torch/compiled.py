"""`engine.compile` in PyTorch: what the two networks compute, compiled, and tried against itself uncompiled first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ganzoo_core.engines.compile_check import Played, disagreement
from ganzoo_core.engines.loss_step import total
from ganzoo_core.engines.torch.device import scalar
from ganzoo_core.engines.torch.protocol import TrainedNetworks

_TWICE = "double backward"  # torch's words where a loss differentiates D by its images


def find_compiler(device: torch.device) -> str:
    """What is missing for torch.compile on this device, in words; "" where a small function can be compiled."""
    try:
        _compiled(lambda x: torch.sin(x) + 1.0, device)(torch.ones(8, device=device))
    except Exception as error:  # inductor, its compiler, or what that needs
        return _words(error)
    return ""


def _compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    # The usual random numbers rather than inductor's own, or the same seed would train another network.
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":
        options["triton.cudagraphs"] = True
    return torch.compile(function, options=options)


class Compiled:
    """A trainer's `_generate` and `_terms`, compiled for its networks as they are now.

    Each is tried when it is first called: its results and gradients are compared with those of the same function
    uncompiled, by norm. Where they differ by more than `compile_check.RTOL`, or where it cannot be compiled, it runs
    uncompiled from then on, and the engine tells so. A trial changes nothing: buffers, the loss's memory and the
    random numbers are put back.

    Args:
        trainer: whose functions these are. After it has grown a new `Compiled` is needed.
    """

    def __init__(self, trainer: TrainedNetworks) -> None:
        self.trainer = trainer
        self._chosen: dict[str, Callable[..., Any]] = {}
        # Functions of another trainer, or of other layers, would count as failed guesses at this one's.
        torch.compiler.reset()
        # A step may go back twice through what was compiled: both losses of a simultaneous one do.
        torch._functorch.config.donated_buffer = False

    def generate(self, z: Any, labels: Any, values: Mapping[str, Any]) -> Any:
        """Images of G."""
        trainer = self.trainer

        def play(function: Callable[..., Any]) -> Played:
            with torch.enable_grad():
                fake = function(z, labels, given)
                weights = torch.linspace(-1, 1, fake.numel(), device=fake.device).reshape(fake.shape)
                return _arrays([fake]), _gradients([((fake * weights).sum(), trainer.g_params)])

        given = self._tensors(values)
        if trainer.engine.device.type == "cuda":
            # Whatever CUDA graphs gave before is used up when G is asked for new images.
            torch.compiler.cudagraph_mark_step_begin()
        return self._pick("G", lambda *args: trainer._generate(*args), play)(z, labels, given)

    def terms(
        self, phases: tuple[str, ...], real: Any, fake: Any, labels: Any, z: Any, values: Mapping[str, Any]
    ) -> Any:
        """What the loss says in these phases, and D's scores."""
        trainer, given = self.trainer, self._tensors(values)
        moved = {"discriminator": trainer.d_params, "generator": []}

        def play(function: Callable[..., Any]) -> Played:
            leaf = fake.detach().requires_grad_("generator" in phases)
            with self._only_for(phases):
                terms, scores = function(real, leaf, labels, z, given)
            asked = [(total(term), moved[phase] or [leaf]) for phase, term in zip(phases, terms, strict=True)]
            told = [value for term in terms for value in term.values()]
            return _arrays([*told, *scores.values()]), _gradients(asked)

        chosen = self._pick(
            f"the step of {' and '.join(phase[0].upper() for phase in phases)}",
            lambda *args: trainer._terms(phases, *args),
            play,
        )
        with self._only_for(phases):
            return chosen(real, fake, labels, z, given)

    def _tensors(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule's values as tensors, so that a new one needs no new compilation; `resolution` is structure."""
        device = self.trainer.engine.device
        return {name: value if name == "resolution" else scalar(value, device) for name, value in values.items()}

    @contextmanager
    def _only_for(self, phases: tuple[str, ...]) -> Iterator[None]:
        """In G's phase nothing is computed for D's weights, which compiled code would not see from `inputs` alone."""
        frozen = [] if "discriminator" in phases else self.trainer.d_params
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def _pick(
        self, what: str, function: Callable[..., Any], play: Callable[[Callable[..., Any]], Played]
    ) -> Callable[..., Any]:
        if what not in self._chosen:
            self._chosen[what] = self._tried(what, function, play)
        return self._chosen[what]

    def _tried(
        self, what: str, function: Callable[..., Any], play: Callable[[Callable[..., Any]], Played]
    ) -> Callable[..., Any]:
        engine = self.trainer.engine
        with self._undone():
            expected = play(function)
        compiled = _compiled(function, engine.device)
        try:
            with self._undone(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what torch.compile stumbles over is told below, if it matters
                found = play(compiled)
        except Exception as error:  # whatever torch.compile cannot do with a plugin's code
            engine.tell(f"engine.compile: {what} runs uncompiled ({_words(error)})")
            return function
        why = disagreement(found, expected, engine.precision)
        if why:
            engine.tell(f"engine.compile: {what} runs uncompiled ({why})")
            return function
        return compiled

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Put back what a trial moves: buffers, the loss's memory, the random numbers' state."""
        trainer, device = self.trainer, self.trainer.engine.device
        kept = [*trainer.G.buffers(), *trainer.D.buffers(), *trainer.memory.values()]
        before = [tensor.clone() for tensor in kept]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
        for tensor, former in zip(kept, before, strict=True):
            tensor.data.copy_(former)  # unseen by autograd, to which G's own graph would be out of date


def _gradients(asked: Sequence[tuple[torch.Tensor, Sequence[torch.Tensor]]]) -> list[np.ndarray]:
    found: list[torch.Tensor] = []
    for loss, inputs in asked:
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
            found += [gradient for gradient in gradients if gradient is not None]
    return _arrays(found)


def _arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().float().cpu().numpy().copy() for tensor in tensors]


def _words(error: Exception) -> str:
    if _TWICE in str(error):
        return "its loss differentiates D by the images, and torch.compile cannot go back through that"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'without words'}"
