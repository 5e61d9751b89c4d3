"""Damage files in many ways and read them: each must be read, or refused in a sentence.

    python tests/fuzz.py --count 50000
    python tests/fuzz.py --only card --case 123
    python tests/fuzz.py --framework tensorflow --count 2000

`--count` cases are spread over what a run, a user and a plugin write as JSON, YAML and TOML, and over run folders with
links and pipes in them; two for each five of these more over images, arrays, archives and tensors. Bytes are flipped,
cut, doubled and replaced; values are replaced by hostile ones. A fault is whatever raises something else than ganzoo's
own error of one line, blames a plugin, takes over ten seconds, ends the process, needs more than 2 GiB beyond what is
in use at the start, runs code, reaches a file outside of the case's folder, or writes what a terminal obeys.
Case N of a kind is the same at every call with the same seed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import functools
import importlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fuzzing import fixtures, folders, media, pool, records
from fuzzing.folders import FolderKind
from fuzzing.guard import Guard
from fuzzing.kinds import Kind
from fuzzing.pool import Case, Result

from ganzoo_core.errors import GanzooError
from ganzoo_core.terminal.text import to_one_line

sys.dont_write_bytecode = True
MAX_SENTENCE = 3000  # characters of a sentence
PROGRESS_SECONDS = 5.0  # seconds
TRAIN_SECONDS = 900  # seconds that the small runs may take
PRELOADED = {
    "torch": ("torch", "torch.optim", "safetensors.torch", "ganzoo_core.engines.torch", "sklearn.datasets"),
    "tensorflow": ("tensorflow", "keras", "ganzoo_core.engines.tensorflow"),
}
AnyKind = Kind | FolderKind


def preload(framework: str) -> None:
    """Import what workers need before they are forked; nothing computes."""
    for name in PRELOADED[framework]:
        importlib.import_module(name)


def train_runs(place: Path, framework: str) -> dict[str, dict[str, bytes]]:
    """Train the small runs in a process of its own: one that has computed must not fork."""
    ours, theirs = multiprocessing.Pipe()

    def train() -> None:
        with (place / "said").open("wb", buffering=0) as said:
            for standard in (1, 2):
                os.dup2(said.fileno(), standard)
        os.chdir(place)
        theirs.send((fixtures.train_runs(place, framework), list(sys.modules)))

    process = multiprocessing.get_context("fork").Process(target=train)
    process.start()
    theirs.close()
    try:
        if not ours.poll(TRAIN_SECONDS):
            raise EOFError
        found, modules = ours.recv()
    except EOFError:
        raise SystemExit((place / "said").read_text()) from None
    finally:
        process.join(timeout=5)
        process.kill()
    for name in modules:  # what it came to while it computed: importing it takes seconds
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    runs: dict[str, dict[str, bytes]] = found
    return runs


def list_kinds(runs: dict[str, dict[str, bytes]], framework: str) -> tuple[list[AnyKind], list[AnyKind]]:
    """The kinds of records and folders, and those of images and tensors."""
    made = records.list_records(runs)
    if framework == "tensorflow":
        return [kind for kind in made if kind.name in ("card", "card with classes", "generator's weights")], []
    return [*made, *media.list_cache_kinds(runs["cache"]), *folders.list_folders(runs["run"])], media.list_media_kinds()


def start_worker(kinds: dict[str, AnyKind], victim: dict[str, bytes], seed: int, root: Path) -> pool.Work:
    """What a worker does with a case, once its process is ready."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    guard = Guard(root, victim)

    def work(case: Case) -> Result:
        since = time.monotonic()
        rng = None if case.number < 0 else random.Random(f"{seed}/{case.kind}/{case.number}")
        folder = guard.begin(case.number)
        given, read = kinds[case.kind].prepare(folder, rng)
        guard.watch()
        result = try_to_read(read)
        broken = guard.end()
        if broken and result.outcome != "fault":
            result = Result("fault", broken[0].partition(": ")[0], "\n".join(broken))
        is_broken = bool(broken) or "MemoryError" in result.group
        return dataclasses.replace(result, input=given, is_broken=is_broken, seconds=time.monotonic() - since)

    return work


def try_to_read(read: Callable[[], object]) -> Result:
    """Read, and judge what is raised."""
    try:
        read()
    except GanzooError as error:
        return judge_refusal(error)
    except BaseException as error:  # SystemExit and KeyboardInterrupt are faults too
        return Result("fault", f"{type(error).__name__} at {find_place(error)}", traceback.format_exc(limit=-12))
    return Result("read")


def judge_refusal(error: GanzooError) -> Result:
    """A refusal: one line, of the file and no plugin, and harmless once it is shown."""
    said, shown = str(error), to_one_line(error)
    wrong = ""
    if error.exit_code not in (1, 2):
        wrong = f"exit code {error.exit_code}"
    elif not said.strip() or len(said) > MAX_SENTENCE:
        wrong = f"a sentence of {len(said):,} characters"
    elif len(said.splitlines()) > 1:
        wrong = "a sentence of several lines"
    elif not shown.isprintable():
        wrong = "a sentence that a terminal obeys"
    if not wrong:
        return Result("refused", detail=said)
    return Result(
        "fault", f"{wrong} at {find_place(error)}", f"{said[:1500]!r}\n{traceback.format_exc(limit=-8)[-3000:]}"
    )


def find_place(error: BaseException) -> str:
    """The innermost line of ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "ganzoo" in frame.filename]
    own = [frame for frame in frames if "/tests/" not in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} {own[-1].name}" if own else "nowhere of ours"


def list_cases(kinds: Sequence[AnyKind], count: int) -> Iterator[Case]:
    """So many cases, by the shares of the kinds, those of all kinds in turn."""
    whole = sum(kind.share for kind in kinds)
    left = {kind.name: max(1, round(count * kind.share / whole)) for kind in kinds}
    numbers = collections.Counter[str]()
    while left:
        for name in list(left):
            yield Case(name, numbers[name])
            numbers[name] += 1
            if numbers[name] == left[name]:
                del left[name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=pool.MAX_SECONDS, help="after which a case is a fault")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="can be repeated")
    parser.add_argument("--case", type=int, metavar="N", help="of the kind that --only names")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="where to list them, with an input of each")
    parser.add_argument("--framework", choices=("torch", "tensorflow"), default="torch")
    args = parser.parse_args()
    os.environ |= {"GANZOO_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path.insert(0, "")  # as `python -m ganzoo_core` has it: the folder in which it is called
    preload(args.framework)
    with tempfile.TemporaryDirectory(prefix="ganzoo-fuzz-") as made:
        place = Path(made)
        runs = train_runs(place, args.framework)
        newer, older = list_kinds(runs, args.framework)
        kinds = {kind.name: kind for kind in (*newer, *older)}
        for name in args.only:
            if name not in kinds:
                parser.error(f"there is no kind {name!r}; there are {', '.join(kinds)}")
        newer, older = ([kind for kind in those if kind.name in (args.only or kinds)] for those in (newer, older))
        cases = [Case(kind.name, -1) for kind in (*newer, *older)]
        if args.case is not None:
            cases = [Case(name, args.case) for name in args.only]
        else:
            cases += [*list_cases(newer, args.count), *list_cases(older, args.count * 2 // 5)]
        victim = folders.make_victim(runs["run"])
        start = functools.partial(start_worker, kinds, victim, args.seed)
        results = pool.run_cases(iter(cases), start, place, workers=args.workers, seconds=args.seconds)
        return report_all(results, len(cases), args.faults)


def report_all(results: Iterator[tuple[Case, Result]], total: int, path: Path | None) -> int:
    """Tell of progress and of faults on stderr, and count on stdout; returns the exit code."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    groups: dict[tuple[str, str], list[tuple[Case, Result]]] = collections.defaultdict(list)
    taken = collections.Counter[str]()
    told = since = time.monotonic()
    for number, (case, result) in enumerate(results, 1):
        if case.number < 0 and result.outcome == "refused":
            result = Result("fault", "the undamaged one is refused", result.detail)
        if case.number >= 0 or result.outcome == "fault":
            counts[case.kind][result.outcome] += 1
        taken[case.kind] += result.seconds
        if result.outcome == "fault":
            group = groups[case.kind, result.group]
            group.append((case, result))
            if len(group) == 1:
                print(f"{case.kind} {case.number}: {result.group}\n{result.input}\n{result.detail}\n", file=sys.stderr)
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{number:,} of {total:,}, {told - since:.0f} s, {len(groups)} faults", file=sys.stderr)
    for (kind, what), found in sorted(groups.items(), key=lambda item: -len(item[1])):
        numbers = ", ".join(str(case.number) for case, _ in found[:5])
        print(f"{len(found)} times {kind}: {what}; cases {numbers}", file=sys.stderr)
    print(f"seconds: {', '.join(f'{kind} {spent:.0f}' for kind, spent in taken.most_common(12))}", file=sys.stderr)
    if path is not None:
        path.write_text("".join(map(describe, groups.values())), encoding="utf-8")
    whole = sum(counts.values(), collections.Counter[str]())
    summary = {"files": sum(whole.values()), "kinds": len(counts), "refused": whole["refused"], "read": whole["read"]}
    skipped = [] if folders.MAY_MAKE_DEVICES else ["devices: only root may make them"]
    by_kind = {kind: dict(found) for kind, found in counts.items()}
    print(json.dumps({**summary, "faults": whole["fault"], "skipped": skipped, "by kind": by_kind}))
    return 1 if whole["fault"] else 0


def describe(found: list[tuple[Case, Result]]) -> str:
    """Faults that have something in common, as Markdown, with the first of them in full."""
    case, result = found[0]
    numbers = ", ".join(str(other.number) for other, _ in found[:8])
    head = f"## {case.kind}: {result.group}\n\n{len(found)} times; cases {numbers}\n\n"
    return head + f"Input: {result.input}\n\n```\n{result.detail[-2500:]}\n```\n\n"


if __name__ == "__main__":
    sys.exit(main())
