"""The one place where ganzoo starts processes, in four ways. Every wait ends: by a timeout, or when the process does.

- `run_process`: run a program to its end and return its output.
- `PrintingProcess`: read a program's output line by line while it runs.
- `BackgroundProcess`: run a program in the background, with its output in a log file.
- `Child` and `serve`: a worker that answers requests: one line of JSON each way, arrays in files. It ends when its
  stdin ends, so always with its parent. What it prints goes to stderr.
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
from typing import IO, Any, NoReturn

from ganzoo_core.errors import DataError, Diverged, GanzooError, PluginError, UsageError
from ganzoo_core.terminal.text import clean_interpreter_output, mute_waiting, write_lines

EXIT_TIMEOUT = 60.0  # seconds that a process may take to exit after its output ended
Say = Callable[[str], None]
_ERRORS_BY_NAME = {kind.__name__: kind for kind in (GanzooError, UsageError, DataError, PluginError, Diverged)}


class ChildEnded(GanzooError):
    """The process ended instead of answering."""


class ProcessTimeout(GanzooError):
    """The process exceeded its timeout and was killed."""


@dataclass(frozen=True)
class ProcessResult:
    """The exit code and output of a program that has ended."""

    exit_code: int
    stdout: str
    stderr: str


def run_process(command: Sequence[str], *, timeout: float) -> ProcessResult:
    """Run a program to its end, with empty stdin.

    Args:
        command: the program and its arguments.
        timeout: seconds that it may take.

    Raises:
        ProcessTimeout: if it takes longer; it was killed.
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
    """A program whose output is read while it runs, with empty stdin. As a context manager it is killed on exit.

    Args:
        command: the program and its arguments.
        timeout: seconds that it may take; then it is killed.
        folder: its working directory.
        environment: all of its environment variables.
        stderr: a file for its stderr.

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
        """Yield each line of its stdout, until it ends."""
        assert self._process.stdout is not None
        yield from self._process.stdout

    def finish(self) -> int:
        """Wait for its exit and return the exit code; call after `read_lines` is exhausted."""
        return _wait_or_kill(self._process)

    def __enter__(self) -> PrintingProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()
        _wait_or_kill(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()


class BackgroundProcess:
    """A program that runs in the background. Its stdin ends when this process does, so it can detect that.

    Args:
        command: the program and its arguments.
        environment: all of its environment variables.
        log: a file for its stdout and stderr.

    Raises:
        OSError: if it cannot be started.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes]) -> None:
        # Its own session: a terminal's Ctrl-C reaches it only through `interrupt`, so just once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment
        )

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        code = self._process.poll()
        if code is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        return code

    def interrupt(self) -> None:
        """Send it SIGINT, as Ctrl-C does, if it still runs."""
        if self._process.poll() is None:
            if os.name == "nt":  # Windows cannot send SIGINT to a single process
                self._process.terminate()
            else:
                self._process.send_signal(signal.SIGINT)


def _wait_or_kill(process: subprocess.Popen[Any]) -> int:
    """Wait for a process that is about to end and return its exit code; kill it after `EXIT_TIMEOUT`."""
    try:
        return process.wait(EXIT_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(EXIT_TIMEOUT)


class Child:
    """The parent's side of a worker process that answers requests.

    Args:
        module: the module that it runs, which calls `serve`.
        task: what it does, for messages: `draws the images`.
        interruptible: pass the first Ctrl-C on to it, so that it can finish and answer.
        environment: all of its environment variables; None for those of this process.
    """

    def __init__(
        self, module: str, task: str, *, interruptible: bool = False, environment: Mapping[str, str] | None = None
    ) -> None:
        self.task, self._may_interrupt = task, interruptible
        # -P: do not import a torch.py from the current folder.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=interruptible,  # a terminal's Ctrl-C reaches it only through `_read_line`
        )

    def ask(self, request: Mapping[str, Any], say: Say) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Args:
            request: JSON values.
            say: receives the child's progress messages.

        Raises:
            ChildEnded: if the child ended instead of answering.
            GanzooError: the error that the child raised.
        """
        self.send(request)
        return self.receive(say)

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request without waiting; `receive` then takes its answer, before the next one is sent.

        Raises:
            ChildEnded: if the child has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: `close` was called before
            self._raise_ended()

    def receive(self, say: Say) -> dict[str, Any]:
        """Wait for the answer to the request that was sent; raises as `ask` does."""
        while (line := self._read_line()).endswith(b"\n"):  # a killed process may leave half a line
            message: dict[str, Any] = json.loads(line)
            if "error" in message:
                raise _ERRORS_BY_NAME.get(message["kind"], GanzooError)(message["error"])
            if "answer" in message:
                return dict(message["answer"])
            say(message["say"])
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
        """Kill the child and close its pipes."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # flushing a request that it did not read
                    stream.close()
        _wait_or_kill(self._process)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(handle_request: Callable[[dict[str, Any], Say], Mapping[str, Any]]) -> None:
    """The child's side: answer requests until the parent ends.

    Args:
        handle_request: (request, say) -> answer; `say` sends a progress message to the parent.
    """
    clean_interpreter_output()
    mute_waiting(True)  # the terminal is the parent's
    # Ctrl-C reaches every process of the terminal, and a scheduler may signal all of a job; only the parent acts on it.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: Mapping[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    requests: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the parent is gone: exit at once, even in the middle of a request

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
            # Not sys.exit: the thread that blocks on stdin would make the interpreter abort with a signal.
            os._exit(1)
