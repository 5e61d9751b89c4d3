"""Import TensorFlow with oneDNN, and hide its harmless messages from the user's terminal."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from ganzoo_core.errors import UsageError

ONEDNN_VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# Messages that TensorFlow writes to file descriptor 2 on a healthy machine. Lines of severity I are information.
_INFO_LINE = re.compile(r"^I\d{4} |^\S+ \S+: I ")
_HARMLESS_MESSAGES = re.compile(
    "|".join(
        (
            r"All log messages before absl::InitializeLog\(\) is called",
            r"^To enable the following instructions:",  # the second line of an information message
            r"failed call to cuInit:.*(UNKNOWN ERROR \(303\)|no CUDA-capable device)",  # no GPU
            r"Unable to register cu(FFT|DNN|BLAS) factory",
            r"computation placer already registered",
            r"TF-TRT Warning: Could not find TensorRT",
        )
    )
)
_notes: list[str] = []


def import_quietly() -> None:
    """Import TensorFlow and Keras, with oneDNN enabled and TensorFlow as Keras' backend.

    oneDNN is off by default on CPUs without AVX-512, where it speeds training up by about 50 %. It can only be enabled
    before TensorFlow is imported; if that is too late, `list_notes` says so.

    Raises:
        UsageError: if Keras was already imported with another backend.
    """
    if "tensorflow" in sys.modules and os.environ.get(ONEDNN_VARIABLE) != "1":
        _notes.append(
            f"TensorFlow was imported before ganzoo, so oneDNN could not be switched on, and training may be slower; "
            f"import it later, or set {ONEDNN_VARIABLE}=1 before Python starts"
        )
    os.environ.setdefault(ONEDNN_VARIABLE, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # hide information messages, but not warnings, for the whole run
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    with hide_noise():
        importlib.import_module("tensorflow")
        backend = importlib.import_module("keras").config.backend()
    if backend != "tensorflow":
        raise UsageError(
            f"Keras was imported on {backend} and cannot change; start Python anew, with KERAS_BACKEND=tensorflow"
        )


def list_notes() -> tuple[str, ...]:
    """Notes for the user on the import of TensorFlow."""
    return tuple(_notes)


def find_onednn_state() -> str:
    """Whether oneDNN is in use: `on`, `off`, or `unknown` if TensorFlow was imported before ganzoo."""
    return "unknown" if _notes else ("off" if os.environ.get(ONEDNN_VARIABLE) in ("0", "false") else "on")


@contextlib.contextmanager
def hide_noise() -> Iterator[None]:
    """Buffer output to file descriptor 2 within this context; on exit, write it without the known harmless lines."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # it is closed: nothing to hide
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            other_lines = "".join(
                line for line in held.read().decode(errors="replace").splitlines(True) if not is_noise(line)
            )
            if other_lines:
                os.write(2, other_lines.encode(errors="replace"))


def is_noise(line: str) -> bool:
    """Whether a line is a harmless message of TensorFlow."""
    return bool(_INFO_LINE.search(line) or _HARMLESS_MESSAGES.search(line))
