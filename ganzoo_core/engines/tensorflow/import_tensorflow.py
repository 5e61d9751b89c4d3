"""Imports TensorFlow with oneDNN, and keeps what it says of itself at the start off the user's terminal."""

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
# What TensorFlow writes to file descriptor 2 on a machine where all is well. Information is all lines of severity I.
_INFO_LINE = re.compile(r"^I\d{4} |^\S+ \S+: I ")
_HARMLESS_MESSAGES = re.compile(
    "|".join(
        (
            r"All log messages before absl::InitializeLog\(\) is called",
            r"^To enable the following instructions:",  # the second line of one of severity I
            r"failed call to cuInit:.*(UNKNOWN ERROR \(303\)|no CUDA-capable device)",  # no GPU is here
            r"Unable to register cu(FFT|DNN|BLAS) factory",
            r"computation placer already registered",
            r"TF-TRT Warning: Could not find TensorRT",
        )
    )
)
_notes: list[str] = []


def import_quietly() -> None:
    """Import TensorFlow and Keras, with oneDNN switched on and Keras on TensorFlow.

    oneDNN is off by default on CPUs without AVX-512, where it makes training half as fast again. It is chosen when
    TensorFlow is imported: where that was done already, `list_notes` tells so.

    Raises:
        UsageError: if Keras runs on another backend already.
    """
    if "tensorflow" in sys.modules and os.environ.get(ONEDNN_VARIABLE) != "1":
        _notes.append(
            f"TensorFlow was imported before ganzoo, so oneDNN could not be switched on, and training may be slower; "
            f"import it later, or set {ONEDNN_VARIABLE}=1 before Python starts"
        )
    os.environ.setdefault(ONEDNN_VARIABLE, "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no information, but warnings, later in the run as well
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
    """What the user should know of how TensorFlow was imported."""
    return tuple(_notes)


def find_onednn_state() -> str:
    """Whether oneDNN is in use: `on`, `off`, or `unknown` where TensorFlow was imported by others."""
    return "unknown" if _notes else ("off" if os.environ.get(ONEDNN_VARIABLE) in ("0", "false") else "on")


@contextlib.contextmanager
def hide_noise() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 meanwhile, and write it after, known lines left out."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # closed: there is no terminal to spare
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
            kept = "".join(line for line in held.read().decode(errors="replace").splitlines(True) if not is_noise(line))
            if kept:
                os.write(2, kept.encode(errors="replace"))


def is_noise(line: str) -> bool:
    """Whether a line on file descriptor 2 is one that TensorFlow writes where all is well."""
    return bool(_INFO_LINE.search(line) or _HARMLESS_MESSAGES.search(line))
