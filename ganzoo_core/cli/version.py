"""`ganzoo --version`: versions and devices, found without importing a framework."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from pathlib import Path
from typing import Any

from ganzoo_core.engines import count_available_cores
from ganzoo_core.frameworks import FRAMEWORKS
from ganzoo_core.processes import ProcessTimeout, run_process
from ganzoo_core.terminal.text import write_json, write_line

SCHEMA = 1
NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")  # where the NVIDIA driver on Linux lists its GPUs
SMI_TIMEOUT = 10.0  # seconds that nvidia-smi may take


def collect_facts() -> dict[str, Any]:
    """Return versions, None for packages that are not installed, and devices with their names."""
    frameworks = {
        framework.name: {package: _find_version(package) for package in framework.distributions}
        for framework in FRAMEWORKS.values()
    }
    return {
        "schema": SCHEMA,
        "ganzoo": _find_version("ganzoo-core"),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "frameworks": frameworks,
        "devices": [{"kind": kind, "name": name} for kind, name in list_devices()],
    }


def print_versions(*, as_json: bool) -> None:
    """Print versions and devices; ganzoo's own version is the first line."""
    facts = collect_facts()
    if as_json:
        write_json(facts, indent=1)
        return
    write_line(f"ganzoo {facts['ganzoo']}")
    write_line(f"python {facts['python']} on {facts['system']}")
    for name, packages in facts["frameworks"].items():
        versions = [f"{package} {version}" for package, version in packages.items() if version]
        write_line(", ".join(versions) or f"{name} is not installed; {FRAMEWORKS[name].install_command}")
    for device in facts["devices"]:
        write_line(f"device {device['kind']}: {device['name']}")


def list_devices() -> list[tuple[str, str]]:
    """List devices that can be detected without a framework: kind, as in `--device`, and name."""
    cores = count_available_cores()
    devices = [("cpu", f"{cores} core{'s' if cores > 1 else ''}, {platform.machine()}")]
    devices += [("cuda", name) for name in _list_driver_gpus() or _list_smi_gpus()]
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        devices.append(("mps", "the Apple chip's own"))
    return devices


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _list_driver_gpus() -> list[str]:
    """The names of NVIDIA GPUs, from the driver's files."""
    names = []
    for path in sorted(NVIDIA_DRIVER.glob("*/information")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        lines = dict(line.partition(":")[::2] for line in text.splitlines())
        names.append(lines.get("Model", "an NVIDIA card").strip())
    return names


def _list_smi_gpus() -> list[str]:
    """The names of NVIDIA GPUs, from `nvidia-smi`, for systems without the driver's files."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = run_process(command, timeout=SMI_TIMEOUT)
    except (OSError, ProcessTimeout):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.exit_code == 0 else []
