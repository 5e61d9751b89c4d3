"""What TensorFlow says at its start, and what reaches the user's terminal of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganzoo_core.engines.tensorflow import Engine, import_tensorflow
from ganzoo_core.errors import UsageError

# As TensorFlow 2.21 wrote them on machines with and without AVX-512 and a GPU.
NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795349476.006223    8325 port.cc:153] oneDNN custom operations are on. You may see slightly",
    "I0000 00:00:1795349476.006615    8325 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will",
    "I0000 00:00:1795349464.043604    8280 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the appropriate comp",
    "E0000 00:00:1795349474.209344    8280 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed "
    "call to cuInit: UNKNOWN ERROR (303)",
    "2026-01-01 00:00:00.000000: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.",
]
WORTH_KNOWING = [
    "W0000 00:00:1795349476.006223    8325 gpu_device.cc:2341] Cannot dlopen some GPU libraries.",
    "E0000 00:00:1795349474.209344    8280 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_OUT_OF_MEMORY",
    "2026-01-01 00:00:00.000000: W tensorflow/core/common_runtime/bfc_allocator.cc:311] Allocator ran out of memory",
    "FutureWarning: In the future `np.object` will be defined as the corresponding NumPy scalar.",
    "Segmentation fault",
]


@pytest.mark.parametrize("line", NOISE)
def test_noise_is_known(line: str) -> None:
    assert import_tensorflow.is_noise(line)


@pytest.mark.parametrize("line", WORTH_KNOWING)
def test_real_warnings_are_none(line: str) -> None:
    assert not import_tensorflow.is_noise(line)


def python(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "KERAS_"))}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**clean, **environment}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_a_start_is_silent_with_onednn_on(tmp_path: Path) -> None:
    """To the first operation, since TensorFlow speaks again when its runtime starts."""
    code = (
        "from ganzoo_core.engines.tensorflow import Engine\n"
        "import os, tensorflow as tf, keras\n"
        "engine = Engine(device='cpu', threads=2)\n"
        "assert float(tf.reduce_sum(tf.matmul(tf.ones((9, 9)), tf.ones((9, 9))))) == 729\n"
        "assert os.environ['TF_ENABLE_ONEDNN_OPTS'] == '1' and keras.config.backend() == 'tensorflow'\n"
        "facts = engine.describe()\n"
        "assert facts['onednn'] == 'on' and facts['threads'] == 2 and facts['device'] == 'cpu', facts\n"
        "assert engine.notes == ()\n"
    )
    done = python(code, tmp_path, KERAS_BACKEND="jax")  # a user's choice for other programs
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_not_noise_is_said_after(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from ganzoo_core.engines.tensorflow import import_tensorflow\n"
        "with import_tensorflow.hide_noise():\n"
        f"    os.write(2, {NOISE[1]!r}.encode() + b'\\n')\n"
        "    os.write(2, b'disk is failing\\n')\n"
        "    print('a warning of Python', file=sys.stderr)\n"
        "try:\n"
        "    with import_tensorflow.hide_noise():\n"
        "        os.write(2, b'before an error\\n')\n"
        "        raise ImportError('broken')\n"
        "except ImportError:\n"
        "    os.write(2, b'after it\\n')\n"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == ["disk is failing", "a warning of Python", "before an error", "after it"]


def test_a_closed_stderr_is_no_fault(tmp_path: Path) -> None:
    code = (
        "import os; os.close(2)\n"
        "from ganzoo_core.engines.tensorflow import import_tensorflow\n"
        "with import_tensorflow.hide_noise(): pass\n"
        "print('well')\n"
    )
    assert python(code, tmp_path).stdout == "well\n"


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Empty, as at the start of Python; TensorFlow itself is here by now."""
    found: list[str] = []
    monkeypatch.setattr(import_tensorflow, "_notes", found)
    return found


def test_tensorflow_in_use_before_is_told_and_recorded(tmp_path: Path) -> None:
    """In a process of its own: here, which test came first would decide what TensorFlow's threads are."""
    code = (
        "import tensorflow as tf\n"
        "tf.zeros(1)\n"
        "from ganzoo_core.engines.tensorflow import Engine\n"
        "engine = Engine(device='cpu', threads=2)\n"
        "assert (engine.describe()['threads'], engine.describe()['onednn']) == (0, 'unknown')\n"
        "print(*engine.notes, sep='\\n')\n"
    )
    first, second = python(code, tmp_path).stdout.splitlines()
    assert "imported before ganzoo" in first
    assert "TF_ENABLE_ONEDNN_OPTS=1" in first
    assert "keeps its own number of threads instead of 2" in second


def test_a_second_engine_keeps_the_first_ones_threads(tmp_path: Path) -> None:
    code = (
        "from ganzoo_core.engines.tensorflow import Engine\n"
        "assert Engine(device='cpu', threads=2).notes == ()\n"
        "engine = Engine(device='cpu', threads=3)\n"
        "assert engine.describe()['threads'] == 2\n"
        "print(*engine.notes, sep='\\n')\n"
    )
    assert "keeps 2 threads instead of 3" in python(code, tmp_path).stdout


def test_onednn_asked_for_before_needs_no_word(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    import_tensorflow.import_quietly()
    assert import_tensorflow.list_notes() == ()
    assert import_tensorflow.find_onednn_state() == "on"


def test_keras_on_another_backend_is_refused(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.config.backend", lambda: "torch")
    with pytest.raises(UsageError, match="Keras was imported on torch and cannot change"):
        import_tensorflow.import_quietly()


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="MPS is not available; devices on this machine: cpu"):
        Engine(device="mps")
