"""Call the trackers of a run. A tracker that fails is reported once and never stops the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy

from ganzoo_core import hookspecs
from ganzoo_core.api import Options, TrackedRun
from ganzoo_core.discovery import loading
from ganzoo_core.discovery.manifest import Part
from ganzoo_core.errors import GanzooError
from ganzoo_core.runs import layout
from ganzoo_core.storage import files
from ganzoo_core.terminal.progress import Reporter


class Trackers:
    """The trackers of one run.

    Args:
        parts: the trackers' manifest entries.
        options: `track.NAME.*` by the tracker's name.
        folder: of the run.
        settings: every resolved setting, flat.
        facts: the other facts in `config.yaml`.
        reporter: receives the warnings.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        options: Mapping[str, Options],
        folder: Path,
        settings: Mapping[str, Any],
        facts: Mapping[str, Any],
        reporter: Reporter,
    ) -> None:
        self.active = [_Tracker(part, options[part.name], reporter) for part in parts]
        self._folder, self._settings, self._facts = folder.absolute(), dict(settings), facts

    def start(self, images: int) -> None:
        """Call `on_run_start` of every tracker. If this hook raises, the tracker is disabled."""

        def make_tracked_run(tracker: _Tracker) -> TrackedRun:
            return TrackedRun(
                folder=self._folder,
                name=self._folder.name,
                settings=self._settings,
                facts=self._facts,
                images=images,
                own=self._folder / layout.TRACKERS / tracker.part.name,
            )

        self.active = [tracker for tracker in self.active if tracker.start(make_tracked_run(tracker))]

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call `on_report`, `on_samples`, `on_checkpoint` or `on_run_end` of every tracker."""
        for tracker in self.active:
            tracker.call(hook, **arguments)


class _Tracker:
    """One tracker; its errors become warnings."""

    def __init__(self, part: Part, options: Options, reporter: Reporter) -> None:
        self.part, self.options, self.reporter = part, options, reporter
        self.run: TrackedRun
        self.hooks: Any = None
        self.failed = False

    def start(self, run: TrackedRun) -> bool:
        """Import the tracker and call `on_run_start`; return False if that fails."""
        self.run = run
        try:
            files.check_folder(run.own.parent)
            files.check_folder(run.own)
            manager = pluggy.PluginManager("ganzoo")
            manager.add_hookspecs(hookspecs)
            loading.register(manager, self.part, loading.import_hooks(self.part))
        except GanzooError as error:
            self._warn_once(error)
            return False
        self.hooks = manager.hook
        return self.call("on_run_start")

    def call(self, hook: str, **arguments: Any) -> bool:
        """Call one of its hooks; return False if that fails."""
        try:
            with loading.stdout_to_stderr():
                getattr(self.hooks, hook)(name=self.part.name, run=self.run, options=self.options, **arguments)
        except KeyboardInterrupt:
            raise
        except GanzooError as error:
            self._warn_once(error)
            return False
        except BaseException as error:
            self._warn_once(loading.make_plugin_error(self.part, f"{hook} raised", error))
            return False
        return True

    def _warn_once(self, error: GanzooError) -> None:
        if not self.failed:
            self.reporter.warn(f"{error}; the run goes on, and this is said once")
        self.failed = True
