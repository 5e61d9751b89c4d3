"""The one place where ganzoo starts a process, in four ways; each wait has an end.

- `run_process`: a program is run to its end, and its words are returned.
- `PrintingProcess`: its lines are read while it works.
- `BackgroundProcess`: it works on its own and writes a log.
- `Child` and `serve`: it works for this process: a line of JSON to it, a line of JSON back, arrays in files. It ends
  when its input ends: with its parent, however that ends. What it prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from ganzoo_core.errors import DataError, Diverged, GanzooError, PluginError, UsageError
from ganzoo_core.terminal.text import clean_interpreter_output, write_lines

EXIT_TIMEOUT = 60.0  # seconds between the end of what a process says and its own end
Say = Callable[[str], None]
_ERRORS_BY_NAME = {kind.__name__: kind for kind in (GanzooError, UsageError, DataError, PluginError, Diverged)}


class ChildEnded(GanzooError):
    """The process ended instead of answering."""


class ProcessTimeout(GanzooError):
    """The process did not end in its time, and was killed."""


@dataclass(frozen=True)
class ProcessResult:
    """A program that has ended: its exit code, and what it wrote to stdout and to stderr."""

    exit_code: int
    stdout: str
    stderr: str


def run_process(command: Sequence[str], *, timeout: float) -> ProcessResult:
    """Run a program to its end; it reads nothing.

    Args:
        command: its words.
        timeout: seconds that it may take.

    Raises:
        TookTooLong: if it takes longer; it was killed.
        OSError: if it cannot be started.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProcessTimeout(f"{command[0]} took over {timeout:.0f} s") from None
    return ProcessResult(done.returncode, done.stdout, done.stderr)


class PrintingProcess:
    """A program whose lines are read while it works; it reads nothing. As a context, it ends with its block.

    Args:
        command: its words.
        timeout: seconds that it may take; then it is killed.
        folder: where it works.
        environment: all of its variables.
        stderr: a file that takes what it writes to stderr.

    Attributes:
        timed_out: whether it was killed for taking too long.

    Raises:
        OSError: if it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, timeout: float, folder: Path, environment: Mapping[str, str], stderr: IO[bytes]
    ) -> None:
        self.timed_out = False
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
        )
        self._timer = threading.Timer(timeout, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        self.timed_out = True
        self._process.kill()

    def read_lines(self) -> Iterator[str]:
        """Each line that it prints, until it ends."""
        assert self._process.stdout is not None
        yield from self._process.stdout

    def finish(self) -> int:
        """Its exit code, once its lines are over."""
        return _wait_or_kill(self._process)

    def __enter__(self) -> PrintingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        _wait_or_kill(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()


class BackgroundProcess:
    """A program that works on its own. Its input is held open: it can tell when this process ends, however it ends.

    Args:
        command: its words.
        environment: all of its variables.
        log: a file that takes what it writes to stdout and stderr.

    Raises:
        OSError: if it cannot be started.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes]) -> None:
        # A session of its own: a terminal's Ctrl-C reaches it from here alone, and so just once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment
        )

    def poll(self) -> int | None:
        """Its exit code; None while it works."""
        code = self._process.poll()
        if code is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        return code

    def interrupt(self) -> None:
        """Hand a Ctrl-C on to it, if it still works."""
        if self._process.poll() is None:
            if os.name == "nt":  # which has no such signal for one process
                self._process.terminate()
            else:
                self._process.send_signal(signal.SIGINT)


def _wait_or_kill(process: subprocess.Popen[Any]) -> int:
    """The exit code of a process that is about to end; one that does not is killed."""
    try:
        return process.wait(EXIT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(EXIT_TIMEOUT)


class Child:
    """The parent's end of a process that answers.

    Args:
        module: what runs there; it calls `serve`.
        task: what it does, for a message: `draws the images`.
        interruptible: Ctrl-C is handed on to it, once, so that it may finish and answer.
    """

    def __init__(self, module: str, task: str, *, interruptible: bool = False) -> None:
        self.task, self._may_interrupt = task, interruptible
        # -P: a torch.py in the current folder is not what is meant.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=interruptible,  # a terminal's Ctrl-C reaches it from here alone
        )

    def ask(self, request: Mapping[str, Any], say: Say) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Args:
            request: what JSON can hold.
            say: told what takes long, in a sentence.

        Raises:
            ChildEnded: if it ended.
            GanzooError: as the child raised it.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: it was closed here
            self._raise_ended()
        while (line := self._read_line()).endswith(b"\n"):  # half a line is the last thing that a killed process says
            told: dict[str, Any] = json.loads(line)
            if "error" in told:
                raise _ERRORS_BY_NAME.get(told["kind"], GanzooError)(told["error"])
            if "answer" in told:
                return dict(told["answer"])
            say(told["say"])
        return self._raise_ended()

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        try:
            return self._process.stdout.readline()
        except KeyboardInterrupt:
            if not self._may_interrupt:
                raise
            self._may_interrupt = False
            self._process.send_signal(signal.SIGINT)
            return self._process.stdout.readline()

    def _raise_ended(self) -> NoReturn:
        code = _wait_or_kill(self._process)
        killed = code == -getattr(signal, "SIGKILL", 9)
        why = "out of memory, perhaps; try again with fewer images" if killed else "what it said stands above"
        raise ChildEnded(f"the process that {self.task} ended with {code}: {why}")

    def close(self) -> None:
        """End the child, whatever it does."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # a request that it did not read
                    stream.close()
        _wait_or_kill(self._process)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(handle_request: Callable[[dict[str, Any], Say], Mapping[str, Any]]) -> None:
    """The child's end: answer requests for as long as there is a parent.

    Args:
        handle_request: a request and where to say what takes long -> the answer.
    """
    clean_interpreter_output()
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: Mapping[str, Any]) -> None:
        told.write(json.dumps(message) + "\n")
        told.flush()

    requests: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the parent is gone: in the middle of work, too

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            tell({"answer": dict(handle_request(request, lambda text: tell({"say": text})))})
        except GanzooError as error:
            kind = next(name for name in (cls.__name__ for cls in type(error).__mro__) if name in _ERRORS_BY_NAME)
            tell({"error": str(error), "kind": kind})
        except MemoryError:
            tell({"error": "there is not enough memory for this; try again, with fewer images", "kind": "GanzooError"})
        except BaseException:
            write_lines(traceback.format_exc(), sys.stderr)
            # Not by the interpreter's own way out, on which the thread that holds stdin would end it with a signal.
            os._exit(1)
