"""The process in which a plugin's checks are made, in one framework."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TextIO

from ganzoo_core.discovery import catalog
from ganzoo_core.errors import GanzooError
from ganzoo_core.terminal.text import to_one_line
from ganzoo_core.testing.checks import CHECKS, Broken, Check, NotApplicable
from ganzoo_core.testing.subject import Subject


def main(request: str, answers: TextIO) -> None:
    """Make the checks that `request`, JSON of `runner`, names, and answer each with a line of JSON."""
    wanted = json.loads(request)
    checks = {check.name: check for check in CHECKS}
    subjects: dict[str, Subject] = {}
    with tempfile.TemporaryDirectory(prefix="ganzoo-contract-") as folder:
        for name, check in wanted["cases"]:
            if name not in subjects:
                kind, _, bare = name.partition("/")
                qualified = f"{wanted['distribution']}/{bare}"
                subjects[name] = Subject(
                    distribution=wanted["distribution"],
                    part=catalog.scan().find(kind, qualified) if name else None,
                    framework=wanted["framework"],
                    settings=wanted["settings"],
                    argument=wanted["arguments"].get(bare, ""),
                    folder=Path(folder) / (name.replace("/", "-") or "distribution"),
                )
            state, detail = _run_check(checks[check], subjects[name])
            json.dump({"part": name, "check": check, "state": state, "detail": detail}, answers)
            answers.write("\n")
            answers.flush()


def _run_check(check: Check, subject: Subject) -> tuple[str, str]:
    """Make one check: its state, and in words why it is not ok."""
    try:
        check(subject)
    except Broken as error:
        return "failed", to_one_line(error)
    except NotApplicable as error:
        return "skipped", to_one_line(error)
    except GanzooError as error:
        return "failed", to_one_line(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plugin raises is its failure, not the end of the checks
        return "failed", to_one_line(f"{type(error).__name__}: {error}")
    return "ok", ""
