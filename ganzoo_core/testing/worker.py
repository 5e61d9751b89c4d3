"""The child process that runs a plugin's checks in one framework."""

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
    """Run the checks in `request` (JSON from `runner`), and answer each with a line of JSON."""
    asked = json.loads(request)
    checks = {check.name: check for check in CHECKS}
    subjects: dict[str, Subject] = {}
    failed: dict[str, str] = asked["failed"]
    with tempfile.TemporaryDirectory(prefix="ganzoo-contract-") as folder:
        for name, check in asked["cases"]:
            if name not in subjects:
                kind, _, bare = name.partition("/")
                qualified = f"{asked['distribution']}/{bare}"
                subjects[name] = Subject(
                    distribution=asked["distribution"],
                    part=catalog.scan().find(kind, qualified) if name else None,
                    framework=asked["framework"],
                    settings=asked["settings"],
                    argument=asked["arguments"].get(bare, ""),
                    folder=Path(folder) / (name.replace("/", "-") or "distribution"),
                )
            state, detail = _run_check(checks[check], subjects[name])
            if state == "ended" and name in failed:
                state, detail = "not tried", f"{failed[name]} failed, and this could not be tried: {detail}"
            elif state in ("failed", "ended"):
                state = "failed"
                failed.setdefault(name, check)
            json.dump({"part": name, "check": check, "state": state, "detail": detail}, answers)
            answers.write("\n")
            answers.flush()


def _run_check(check: Check, subject: Subject) -> tuple[str, str]:
    """Run one check; return its state, and the reason if it is not ok.

    The state is `ended` if an error ended the check before it could tell: the part cannot be built or trained.
    """
    try:
        check(subject)
    except Broken as error:
        return "failed", to_one_line(error)
    except NotApplicable as error:
        return "skipped", to_one_line(error)
    except GanzooError as error:
        return "ended", to_one_line(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # any exception from a plugin fails its check but does not end the others
        return "ended", to_one_line(f"{type(error).__name__}: {error}")
    return "ok", ""
