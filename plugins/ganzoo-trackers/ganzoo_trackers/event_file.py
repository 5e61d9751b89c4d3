"""Write TensorBoard event files."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Keep tensorboardX from importing PyTorch, which a TensorFlow run must not load."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # makes `import torch` raise ImportError
    try:
        yield
    finally:
        del sys.modules["torch"]


with _without_torch():
    from tensorboardX import RecordWriter, summary
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # PNG colour type -> channels


class EventFile:
    """A new event file in a folder; TensorBoard reads a folder's files in the order of their names as one run.

    Each record is flushed when its method returns. (tensorboardX's own writer uses a thread, which dies if the disk is
    full; the next write then blocks for ever.)

    Args:
        folder: created if it does not exist.

    Attributes:
        is_first: whether this is the folder's first event file.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = sum(not path.is_symlink() for path in folder.glob("events.out.tfevents.*"))
        self.is_first = number == 0
        while os.path.lexists(
            path := folder / f"events.out.tfevents.{number:05}"
        ):  # `lexists`, so as not to write through a link
            number += 1
        self._records = RecordWriter(str(path))
        self._step = 0
        self._write(Event(file_version="brain.Event:2"))

    def discard_from(self, step: int) -> None:
        """Make TensorBoard discard earlier records of this step and later ones."""
        self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        self._step = step - 1

    def add_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Write numbers by tag; the format stores float32."""
        self._add([Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()], step)

    def add_png(self, tag: str, png: bytes, step: int) -> None:
        """Write a PNG file unchanged."""
        width, height, _, colour = struct.unpack(">IIBB", png[16:26])
        image = Summary.Image(height=height, width=width, colorspace=_PNG_CHANNELS[colour], encoded_image_string=png)
        self._add([Summary.Value(tag=tag, image=image)], step)

    def add_text(self, tag: str, markdown: str, step: int) -> None:
        self._add(summary.text(tag, markdown).value, step)

    def add_hyperparameters(self, settings: Mapping[str, Any], tags: Sequence[str]) -> None:
        """Write the hyperparameters for the HPARAMS page.

        Args:
            settings: text, numbers and booleans.
            tags: of the scalars shown beside them.
        """
        experiment, start, _ = summary.hparams(dict(settings), dict.fromkeys(tags))
        self._add([*experiment.value, *start.value], self._step)

    def write_run_end(self, *, success: bool) -> None:
        """Write how the run ended, for the HPARAMS page."""
        status = Status.Value("STATUS_SUCCESS" if success else "STATUS_FAILURE")
        plugin_data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
        data = SummaryMetadata.PluginData(plugin_name="hparams", content=plugin_data.SerializeToString())
        metadata = SummaryMetadata(plugin_data=data)
        self._add([Summary.Value(tag="_hparams_/session_end_info", metadata=metadata)], self._step)

    def close(self) -> None:
        self._records.close()

    def _add(self, values: Sequence[Any], step: int) -> None:
        if step < self._step:  # the run diverged and was rolled back to a checkpoint
            self.discard_from(step)
        self._step = step
        self._write(Event(step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()
