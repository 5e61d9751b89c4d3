"""The frameworks that networks can be written in: the only place that says what each is called, needs and refuses.

A further framework takes one entry here, a package with its engine (`engines/protocol.py` says what it must offer), a
module with the contract's tiny networks, and the manifests that name it. Nothing here imports a framework.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import Any

from ganzoo_core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework, and the engine that runs it.

    Attributes:
        name: as manifests, cards and `config.yaml` say it.
        title: as prose says it.
        suffix: of the names of models written in it, such as `my-gan-tf`; `ganzoo new --framework` accepts it too.
        network_class: the class of its networks, as users write it.
        modules: its top-level modules, whose classes are recognised as networks or tensors of this framework, and
            which a hooks module must not import. The framework counts as installed if the first can be found.
        distributions: what pip installs, with the versions that `--version` and `doctor` show; the main one first.
        requirement: what to `pip install` for the engine and the framework together.
        engine: the package that exports `Engine` (a `protocol.EngineFactory`) and `make_ops_like(tensor)`, which
            returns the `api.Ops` for the tensor's device.
        contract: the module with the contract's tiny networks, and functions that call and inspect networks.
        channels_first: whether its images are [N,C,H,W]; else [N,H,W,C].
        trains_in_several_processes: whether several processes may train a run. If not, torchrun, Slurm and TF_CONFIG
            with several tasks are refused.
        needs_all_addresses: whether these processes need each other's addresses before they can meet. torchrun tells
            them the first machine's only.
        unread_settings: settings of the core that its engine does not read.
        pythons: the first and the last Python version with wheels; None if it has wheels for every one.
    """

    name: str
    title: str
    suffix: str
    network_class: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    requirement: str
    engine: str
    contract: str
    channels_first: bool = False
    trains_in_several_processes: bool = False
    needs_all_addresses: bool = False
    unread_settings: tuple[str, ...] = ()
    pythons: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def install_command(self) -> str:
        """The command that installs it."""
        return f"pip install {self.requirement}"

    def is_installed(self) -> bool:
        """Whether it can be imported; imports nothing."""
        try:
            return importlib.util.find_spec(self.modules[0]) is not None
        except (ImportError, ValueError):  # ValueError: a module in `sys.modules` without a spec
            return False

    def is_imported(self) -> bool:
        """Whether this process has imported it."""
        return self.modules[0] in sys.modules

    def explain_missing_wheels(self, python: tuple[int, int] = sys.version_info[:2]) -> str:
        """A sentence if there are no wheels for this Python version, else ""."""
        if self.pythons is None or self.pythons[0] <= python <= self.pythons[1]:
            return ""
        first, last = (f"{major}.{minor}" for major, minor in self.pythons)
        return f"{self.title} has wheels for Python {first} to {last}, not {python[0]}.{python[1]}"

    def load_engine(self, name: str) -> Any:
        """Import the engine's package, and with it the framework, and return what it exports under this name.

        Raises:
            UsageError: if the framework is not installed, with the command that installs it.
        """
        if not self.is_installed():
            raise UsageError(f"this needs {self.name}, which is not installed; {self.install_command}")
        return getattr(importlib.import_module(self.engine), name)


FRAMEWORKS: dict[str, Framework] = {
    framework.name: framework
    for framework in (
        Framework(
            name="torch",
            title="PyTorch",
            suffix="torch",
            network_class="torch.nn.Module",
            modules=("torch", "torchvision"),
            distributions=("torch",),
            requirement="ganzoo-core[torch]",
            engine="ganzoo_core.engines.torch",
            contract="ganzoo_core.testing.native_torch",
            channels_first=True,
            trains_in_several_processes=True,
        ),
        Framework(
            name="tensorflow",
            title="TensorFlow",
            suffix="tf",
            network_class="keras.Model",
            modules=("tensorflow", "keras"),
            distributions=("tensorflow", "keras"),
            requirement="ganzoo-core[tf]",
            engine="ganzoo_core.engines.tensorflow",
            contract="ganzoo_core.testing.native_tensorflow",
            trains_in_several_processes=True,
            needs_all_addresses=True,
            unread_settings=("engine.channels_last",),
            pythons=((3, 11), (3, 13)),  # of TensorFlow 2.21
        ),
    )
}
"""By name, the framework to install if a user has none first."""


def get_framework(name: str) -> Framework:
    """The framework of this name; raises UsageError, naming those that there are."""
    if name not in FRAMEWORKS:
        raise UsageError(f"there is no framework {name!r}; ganzoo runs {' and '.join(FRAMEWORKS)}")
    return FRAMEWORKS[name]


def get_default_framework() -> Framework:
    """The framework to install if there is none."""
    return next(iter(FRAMEWORKS.values()))


def find_framework(kind: type) -> Framework | None:
    """The framework whose network or tensor this type is; None if it is of none."""
    roots = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((framework for framework in FRAMEWORKS.values() if roots & set(framework.modules)), None)


def name_distributed_frameworks() -> str:
    """The titles of those that train in several processes, for advice."""
    return " or ".join(each.title for each in FRAMEWORKS.values() if each.trains_in_several_processes)
