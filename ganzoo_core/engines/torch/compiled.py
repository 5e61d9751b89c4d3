"""`engine.compile` in PyTorch: compile the training step, and check it against the uncompiled step first."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ganzoo_core.engines.compile_check import ResultsAndGradients, describe_difference
from ganzoo_core.engines.loss_services import Round
from ganzoo_core.engines.loss_step import sum_terms
from ganzoo_core.engines.torch.device import as_scalar
from ganzoo_core.engines.torch.plain_step import PlainStep
from ganzoo_core.engines.torch.protocol import TrainedNetworks

_DOUBLE_BACKWARD = "double backward"  # in torch's message if a loss differentiates D by its images


def find_compiler_problem(device: torch.device) -> str:
    """Try torch.compile on a small function: "" if it works on this device, else the error in words."""
    try:
        _compile(lambda x: torch.sin(x) + 1.0, device)(torch.ones(8, device=device))
    except Exception as error:  # from inductor, its C++ or Triton compiler, or their dependencies
        return _describe_error(error)
    return ""


def _compile(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    # Inductor's own random numbers would differ from eager mode's for the same seed.
    options: dict[str, Any] = {"fallback_random": True}
    if device.type == "cuda":
        options["triton.cudagraphs"] = True
    return torch.compile(function, options=options)


class CompiledStep:
    """A trainer's `PlainStep`, compiled for its current networks.

    On the first call of each, its results and gradients are compared with those of the uncompiled function, by norm. If
    they differ by more than `compile_check.RTOL`, or if compiling fails, the function runs uncompiled from then on, and
    the engine says so. Afterwards buffers, the loss's memory and the random state are restored.

    With lazy terms (`step.every`) a phase has code of its own for each set of terms that are due.

    Args:
        trainer: its functions are compiled. When its networks have grown, make a new `CompiledStep`.
    """

    def __init__(self, trainer: TrainedNetworks) -> None:
        self.trainer, self._plain = trainer, PlainStep(trainer)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._periods: dict[tuple[str, ...], tuple[int, ...]] = {}  # of the lazy terms, by phases
        # Code compiled for another trainer or other layers would count towards the recompilation limit.
        torch.compiler.reset()
        # A step may run backward through compiled code twice, as both losses of a simultaneous update do.
        if hasattr(torch._functorch.config, "donated_buffer"):  # before PyTorch 2.6 no buffer is reused in between
            torch._functorch.config.donated_buffer = False

    def generate(self, z: Any, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        """Generate images [N,C,H,W]."""
        trainer = self.trainer

        def play(function: Callable[..., Any]) -> ResultsAndGradients:
            with torch.enable_grad():
                fake = function(z, given, scalars)
                weights = torch.linspace(-1, 1, fake.numel(), device=fake.device).reshape(fake.shape)
                return _to_arrays([fake]), _compute_gradients([((fake * weights).sum(), trainer.g_params)])

        scalars = self._to_tensors(values)
        if trainer.engine.device.type == "cuda":
            # Earlier outputs of CUDA graphs are no longer needed: their memory may be reused.
            torch.compiler.cudagraph_mark_step_begin()
        return self._choose_function("G", lambda *args: self._plain.generate(*args), play)(z, given, scalars)

    def compute_terms(
        self,
        phases: tuple[str, ...],
        real: Any,
        fake: Any,
        given: Mapping[str, Any],
        z: Any,
        values: Mapping[str, Any],
        here: Round,
    ) -> Any:
        """The loss terms of each phase, and D's scores."""
        trainer, scalars = self.trainer, self._to_tensors(values)
        trained_params = {"discriminator": trainer.d_params, "generator": []}

        def play(function: Callable[..., Any]) -> ResultsAndGradients:
            leaf = fake.detach().requires_grad_("generator" in phases)
            with self._freeze_unused_weights(phases):
                terms, scores = function(real, leaf, given, z, scalars, here)
            self._periods[phases] = tuple(n for term in terms for n in term.periods)
            losses_and_inputs = [
                (sum_terms(term.terms), trained_params[phase] or [leaf])
                for phase, term in zip(phases, terms, strict=True)
            ]
            reported = [value for term in terms for value in term.make_report(turns=1).values()]
            return _to_arrays([*reported, *scores.values()]), _compute_gradients(losses_and_inputs)

        def compute(*args: Any) -> Any:
            return self._plain.compute_terms(phases, *args)

        if phases not in self._periods:
            with self._restore_after():
                play(compute)
        here = self._to_code(here, self._periods[phases])
        function_to_run = self._choose_function(_describe_phases(phases, here), compute, play)
        with self._freeze_unused_weights(phases):
            return function_to_run(real, fake, given, z, scalars, here)

    def _to_code(self, here: Round, periods: tuple[int, ...]) -> Round:
        """A round whose numbers are tensors, so that they need no recompilation, and that says what is due."""
        device, due = self.trainer.engine.device, {n: here.is_due(n) for n in sorted(set(periods))}
        step, images = (torch.full((), number, dtype=torch.int64, device=device) for number in (here.step, here.images))
        return replace(here, step=step, images=images, due=due)

    def _to_tensors(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The schedule's values as tensors, so that new values need no recompilation; `resolution` stays an int."""
        device = self.trainer.engine.device
        return {name: value if name == "resolution" else as_scalar(value, device) for name, value in values.items()}

    @contextmanager
    def _freeze_unused_weights(self, phases: tuple[str, ...]) -> Iterator[None]:
        """In G's phase, freeze D's weights: compiled code ignores `backward(inputs=…)` and computes their gradients."""
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
                warnings.simplefilter("ignore")  # a failure is reported below
                actual = run(compiled)
        except Exception as error:  # torch.compile may fail in any way on a plugin's code
            engine.tell(f"engine.compile: {what} runs uncompiled ({_describe_error(error)})")
            return function
        why = describe_difference(actual, expected, engine.precision)
        if why:
            engine.tell(f"engine.compile: {what} runs uncompiled ({why})")
            return function
        return compiled

    @contextmanager
    def _restore_after(self) -> Iterator[None]:
        """Restore buffers, the loss's memory and the random state on exit."""
        trainer, device = self.trainer, self.trainer.engine.device
        tensors = [*trainer.G.buffers(), *trainer.D.buffers(), *trainer.memory.values()]
        before = [tensor.clone() for tensor in tensors]
        try:
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                yield
        finally:  # compiled code may fail halfway, when it has changed some of them
            for tensor, former in zip(tensors, before, strict=True):
                tensor.data.copy_(former)  # hidden from autograd, which would refuse G's graph after an in-place change


def _describe_phases(phases: tuple[str, ...], here: Round) -> str:
    what = f"the step of {' and '.join(phase[0].upper() for phase in phases)}"
    if not here.due:
        return what
    due = [str(n) for n, is_due in here.due.items() if is_due]
    return f"{what} with what is due every {' and '.join(due)} rounds" if due else f"{what} without lazy terms"


def _compute_gradients(losses_and_inputs: Sequence[tuple[torch.Tensor, Sequence[torch.Tensor]]]) -> list[np.ndarray]:
    all_gradients: list[torch.Tensor] = []
    for loss, inputs in losses_and_inputs:
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
            all_gradients += [gradient for gradient in gradients if gradient is not None]
    return _to_arrays(all_gradients)


def _to_arrays(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    return [tensor.detach().float().cpu().numpy().copy() for tensor in tensors]


def _describe_error(error: Exception) -> str:
    if _DOUBLE_BACKWARD in str(error):
        return "its loss differentiates D by the images, and torch.compile cannot go back through that"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'without words'}"
