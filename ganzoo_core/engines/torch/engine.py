"""The PyTorch engine: build networks, generate images, score images, read and load weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ganzoo_core.api import Images, Loss, Spec
from ganzoo_core.data import pixels
from ganzoo_core.data.conditions import Conditions, Rows
from ganzoo_core.engines import protocol, size_limits
from ganzoo_core.engines.loss_step import as_outputs
from ganzoo_core.engines.network_call import NetworkCall
from ganzoo_core.engines.plan import DRAW_BATCH_SIZE, Plan
from ganzoo_core.engines.torch import malloc, network_size
from ganzoo_core.engines.torch import precision as torch_precision
from ganzoo_core.engines.torch.compiled import CompiledStep, find_compiler_problem
from ganzoo_core.engines.torch.data import TrainingImages, to_resolution
from ganzoo_core.engines.torch.device import choose_rank_device, pick_device, to_device
from ganzoo_core.engines.torch.forward import as_keywords, call_network
from ganzoo_core.engines.torch.layer_table import make_layer_rows
from ganzoo_core.engines.torch.ops import TorchOps
from ganzoo_core.engines.torch.plain_step import PlainStep
from ganzoo_core.engines.torch.precision import check_precision
from ganzoo_core.engines.torch.protocol import TrainedNetworks
from ganzoo_core.engines.torch.trainer import Trainer
from ganzoo_core.randomness import seed_for

if TYPE_CHECKING:
    from ganzoo_core.distributed.launchers import Launch
    from ganzoo_core.engines.torch.process_group import TorchProcessGroup


class Engine:
    """PyTorch on one device. `protocol.Engine` documents the methods, `protocol.EngineFactory` the arguments.

    `channels_last` is faster on CPU and CUDA, and ignored on MPS. `precision` is that of the networks' forward and
    backward passes in training. See `compiled` for `compile`, and `malloc` for `keeps_memory`.
    """

    framework = "torch"
    notes: tuple[str, ...] = ()
    keeps_memory = False

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int = 1,
        channels_last: bool = True,
        precision: str = "float32",
        compile: bool = False,
        max_parameters: int = size_limits.DEFAULT_MAX_PARAMETERS,
        launch: Launch | None = None,
        timeout: float = 0.0,
    ) -> None:
        self.device = torch.device(pick_device(device))
        self.group: TorchProcessGroup | None = None
        if launch is not None:
            from ganzoo_core.engines.torch import process_group

            self.device = choose_rank_device(self.device, launch)
            self.group = process_group.TorchProcessGroup(launch, device=self.device, timeout=timeout)
        # MPS has slow paths for channels_last.
        self.memory_format = (
            torch.channels_last if channels_last and self.device.type != "mps" else torch.contiguous_format
        )
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        self.ops = TorchOps(self.device)
        self.precision, self.compile, self.max_parameters = precision, compile, max_parameters
        self.tell: Callable[[str], None] = lambda note: None

    def describe(self) -> dict[str, Any]:
        """Facts to record with a run: framework, version, device, threads, precision, compile."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        facts: dict[str, Any] = {
            "framework": self.framework,
            "version": torch.__version__,
            "device": self.device.type,
        }
        facts |= {"threads": torch.get_num_threads(), "precision": self.precision, "compile": self.compile}
        return {**facts, **({"device_name": name} if name else {})}

    def find_network_problem(self, network: object, call: NetworkCall | None = None) -> str:
        """What is wrong with the network that a hook built, in words; "" if nothing."""
        if not isinstance(network, torch.nn.Module):
            return f"a {type(network).__name__}; expected a torch.nn.Module"
        problem = "" if call is None else call.find_problem(network.forward)
        return problem and f"a {type(network).__name__} {problem}"

    def build(
        self, make: Callable[[], Any], *, spec: Spec, slot: str, seed: int, values: Mapping[str, float] | None = None
    ) -> torch.nn.Module:
        """Call `make` with weights drawn from (seed, slot), and move the network to the device."""

        resolution, full = int((values or {}).get("resolution", 0)), max(spec.height, spec.width)

        def build(resolution: int, known: Any = None) -> Any:
            with self.use_seed(seed, f"weights of the {slot}"):
                network = make()
            if resolution and network is not known:
                self._add_layers(network, resolution, slot=slot, seed=seed)
            return network

        network = size_limits.build_within_limit(
            self.max_parameters, slot, lambda: build(resolution), network_size.watch_construction
        )
        if hasattr(network, "grow") and 0 < resolution < full:
            grown = f"{slot}, fully grown,"
            size_limits.check_within_limit(
                self.max_parameters, grown, lambda: build(full, network), network_size.watch_construction
            )
        return self._move(network)

    def grow(self, network: Any, resolution: int, *, slot: str, seed: int) -> None:
        """Grow a network to this resolution, with new weights drawn from (seed, slot, resolution)."""
        self._add_layers(network, resolution, slot=slot, seed=seed)
        self._move(network)

    def _move(self, network: torch.nn.Module) -> torch.nn.Module:
        """Move a network to the device, and lay out its tensors of four axes in the memory format of the images.

        `Module.to(memory_format=…)` would do the same to tensors of five axes, which channels_last refuses. Not
        `contiguous`, which leaves the strides of an axis of length 1 as they are, and with them the order of sums.
        """
        network.to(self.device)
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.to(memory_format=self.memory_format)
        return network

    def _add_layers(self, network: Any, resolution: int, *, slot: str, seed: int) -> None:
        if hasattr(network, "grow"):
            with self.use_seed(seed, f"weights of the {slot}", resolution):
                network.grow(resolution)

    @contextlib.contextmanager
    def use_seed(self, seed: int, purpose: str, *indices: int) -> Iterator[None]:
        """Seed PyTorch's own random generators by (seed, purpose, indices); restore their state on exit."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            number = seed_for(seed, purpose, *indices)
            if self.device.type == "cpu":
                # `torch.manual_seed` keeps a stack trace for each kind of GPU that is not in use: 0.7 ms a step.
                torch.default_generator.manual_seed(number)
            else:
                torch.manual_seed(number)
            yield

    def create_trainer(
        self,
        G: Any,
        D: Any,
        loss: Loss,
        plan: Plan,
        images: Images,
        labels: np.ndarray | None,
        conditions: Mapping[str, Rows] | None = None,
    ) -> protocol.Trainer:
        """Create a trainer of these networks on these images (uint8 [N,H,W,C])."""
        check_precision(self.device, self.precision)
        if self.compile:
            several = "several processes train together, and what one compiled another might not have"
            problem = several if self.group else find_compiler_problem(self.device)
            if problem:
                self.tell(f"engine.compile is on, and nothing can be compiled here ({problem}); training runs without")
                self.compile = False
        self.keeps_memory = self.device.type == "cpu" and malloc.keep_freed_memory()
        return Trainer(self, G, D, loss, plan, images, labels, conditions)

    def step_functions(self, trainer: TrainedNetworks) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The functions a trainer calls for fake images and loss terms, compiled for its current networks if asked."""
        if self.precision != "float32":
            torch_precision.keep_parametrizations_in_float32(trainer.G)
            torch_precision.keep_parametrizations_in_float32(trainer.D)
        step = CompiledStep(trainer) if self.compile else PlainStep(trainer)
        return step.generate, step.compute_terms

    def forward(self, network: torch.nn.Module, x: Any, arguments: Mapping[str, Any]) -> Any:
        """Call a network in training; the result is float32, whatever the precision."""
        if self.precision == "float32":
            return call_network(network, x, arguments)
        return torch_precision.forward_in_bfloat16(network, self.device, x, arguments)

    def draw(
        self,
        G: torch.nn.Module,
        z: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        conditions: Conditions | None = None,
        alone: bool = False,
        noise_seed: int = 0,
        first: int = 0,
    ) -> np.ndarray:
        """Generate images in float32, whatever the training precision: in evaluation mode unless `alone`."""
        data = TrainingImages(np.zeros((len(z), 1, 1, 1), np.uint8), labels, self, conditions)
        was_training, size = G.training, 1 if alone else DRAW_BATCH_SIZE
        G.train(alone)
        try:
            with torch.no_grad(), self._keep_buffers(G) if alone else contextlib.nullcontext():
                chunks = []
                for start in range(0, len(z), size):
                    indices = np.arange(start, min(start + size, len(z)))
                    arguments = {**data.gather_given(indices), **as_keywords(values, self.device)}
                    seeded = self.use_seed(noise_seed, "drawing", first + start) if alone else contextlib.nullcontext()
                    with seeded:
                        out = call_network(G, to_device(z[indices], self.device), arguments)
                    chunks.append(pixels.deprocess(out.float().cpu().permute(0, 2, 3, 1).contiguous().numpy()))
        finally:
            G.train(was_training)
        return np.concatenate(chunks)

    @contextlib.contextmanager
    def _keep_buffers(self, network: torch.nn.Module) -> Iterator[None]:
        """Restore a network's buffers on exit, such as batch norm's running statistics."""
        before = [buffer.clone() for buffer in network.buffers()]
        try:
            yield
        finally:
            for buffer, former in zip(network.buffers(), before, strict=True):
                buffer.copy_(former)

    def score_images(
        self,
        D: torch.nn.Module,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
    ) -> np.ndarray:
        """D's scores of images in evaluation mode, where batch norm uses its running statistics."""
        D.eval()
        batches = self._score_batches(D, images, labels, values, takes, DRAW_BATCH_SIZE)
        return np.concatenate([scores.float().cpu().numpy() for scores in batches])

    def find_batch_norms(self, network: torch.nn.Module) -> list[Any]:
        """The batch norm layers."""
        # `_BatchNorm` rather than its base class, which instance norm shares.
        return [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]

    def recalibrate_batch_norm(
        self,
        D: torch.nn.Module,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        *,
        takes: Sequence[str] = (),
        batch_size: int,
    ) -> None:
        """Replace the running statistics of batch norm by those of these images, batch by batch."""
        norms = self.find_batch_norms(D.eval())
        former = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().reset_running_stats()
            norm.momentum = None  # cumulative average: all batches have equal weight
        for _ in self._score_batches(D, images, labels, values, takes, batch_size):
            pass
        for norm, momentum in zip(norms, former, strict=True):
            norm.eval().momentum = momentum

    def _score_batches(
        self,
        D: torch.nn.Module,
        images: np.ndarray,
        labels: np.ndarray | None,
        values: Mapping[str, float],
        takes: Sequence[str],
        batch_size: int,
    ) -> Iterator[torch.Tensor]:
        data = TrainingImages(images, labels, self)
        keywords = as_keywords({name: values[name] for name in takes if name in values}, self.device)
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                batch = data.gather(np.arange(start, min(start + batch_size, len(images))))
                x = to_resolution(batch.images, values)
                yield as_outputs(call_network(D, x, {**batch.given, **keywords}))["scores"]

    def read_weights(self, network: torch.nn.Module) -> dict[str, np.ndarray]:
        """All weights and buffers by name, contiguous, as numpy arrays."""
        state = network.state_dict()
        return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in state.items()}

    def describe_weights(self, network: torch.nn.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> dtype and shape of the tensors that `load_weights` expects."""
        return {
            name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in network.state_dict().items()
        }

    def load_weights(self, network: torch.nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
        """Load saved weights and buffers, whose names and shapes match `describe_weights`."""
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(torch.from_numpy(np.asarray(tensors[name], order="C")))

    def list_layers(
        self, network: torch.nn.Module, spec: Spec, *, is_generator: bool, values: Mapping[str, float]
    ) -> list[dict[str, Any]]:
        """See `layer_table.make_layer_rows`."""
        return make_layer_rows(network, spec, device=self.device, is_generator=is_generator, values=values)

    def count_parameters(self, network: torch.nn.Module) -> int:
        """The number of learnable parameters."""
        return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
