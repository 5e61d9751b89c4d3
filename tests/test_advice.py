"""Every command that an error or a page advises exists: its options parse, its settings and parts are there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganzoo_core.cli import make_parser
from ganzoo_core.discovery import catalog
from ganzoo_core.errors import UsageError
from ganzoo_core.settings import CORE_SETTINGS

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("ganzoo_core/**/*.py", "plugins/*/ganzoo_*/**/*.py")
    for path in ROOT.glob(pattern)
    if "scaffold/templates" not in path.as_posix()
)
VALUE = "8"  # stands for what is put in: a number is a path, a name and a count
KINDS = {
    "extractor": "extractors", "metrics": "metrics", "with": "modifiers", "track": "trackers", "data": "datasets",
    "schedule": "schedules", "loss": "losses", "generator": "models",
}  # fmt: skip
# Of other programs: torchrun, pip, build and nvidia-smi.
FOREIGN_OPTIONS = {
    "--nproc-per-node", "--upgrade", "--wheel", "--no-isolation", "--outdir", "--query-gpu", "--format",
    "--distribution",
}  # fmt: skip

SCORING = re.compile(r"plugins/ganzoo-(scores|features)|ganzoo_core/evaluation/(choice|request|metrics|worker)")
QUOTED = r"(shlex\.quote|quote_path)\("


def read_texts(path: Path) -> Iterator[str]:
    """The texts in a file that may be printed, docstrings left out, with `VALUE` for what is put in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            parts = [part.value if isinstance(part, ast.Constant) else VALUE for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inner:
            yield node.value


TEXTS = {source: list(read_texts(ROOT / source)) for source in SOURCES}


def find_unquoted(path: Path) -> list[str]:
    """What is put into a command without quotes for the shell, but for numbers and options."""
    found, text = [], path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        inside = False
        for part in node.values if isinstance(node, ast.JoinedStr) else []:
            if isinstance(part, ast.Constant):
                marks = re.findall(r"`ganzoo |: ganzoo |^ganzoo |`", str(part.value))
                inside = marks[-1] != "`" if marks else inside
                continue
            value = ast.unparse(part.value)
            quoted = re.match(rf"{QUOTED}", value) or re.search(
                rf"^ +{re.escape(value)} = {QUOTED}", text, re.MULTILINE
            )
            if inside and not quoted and re.search(r"path|folder|\brun\b(?!\.)", value):
                found.append(f"{path.name}:{node.lineno}: {value}")
    return found


def find_commands(text: str) -> list[str]:
    """`ganzoo …` in backquotes, as a whole text, or after a colon; not where the command itself is put in."""
    found = re.findall(rf"`(ganzoo (?!{VALUE})[^`]+)`", text)
    return found + re.findall(rf"(?:^|: )(ganzoo (?!{VALUE})[^`]+)$", text)


COMMANDS = [(source, command) for source, texts in TEXTS.items() for text in texts for command in find_commands(text)]


@pytest.fixture(scope="module")
def parsers():
    return make_parser()


def parse(parsers, words):
    """The arguments, or None if the command refuses these words."""
    whole, _ = parsers
    try:
        args, unknown = whole.parse_known_args(words)
    except SystemExit:
        return None
    return args if not unknown and args.command else None


@pytest.mark.parametrize(("source", "command"), COMMANDS)
def test_a_command_that_is_advised_is_understood(source, command, parsers):
    words = [re.sub(r"^(N|IMAGES|COUNT)$", VALUE, word) for word in shlex.split(command)[1:] if word != "…"]
    # Words that are put in may be any number of options.
    args = parse(parsers, words) or parse(parsers, [word for word in words if word != VALUE])
    assert args is not None, f"{source}: {command}"
    for text in getattr(args, "set", None) or []:
        assert is_setting(text.partition("=")[0]), f"{source}: {command}"
    for option, kind in KINDS.items():
        check_parts(kind, getattr(args, option, None))


def test_many_are_found():
    assert len(COMMANDS) > 30
    assert {"evaluate", "resume", "run", "generate", "list", "doctor"} <= {
        command.split()[1] for _, command in COMMANDS
    }


def test_a_path_with_blanks_can_be_copied():
    assert [words for source in SOURCES for words in find_unquoted(ROOT / source)] == []


def test_an_option_that_is_named_exists(parsers):
    """Also outside of a command; in what evaluates, it must be one of `ganzoo evaluate`."""
    of_evaluate = {*parsers[1]["evaluate"]._option_string_actions}
    known = {option for parser in parsers[1].values() for option in parser._option_string_actions} | {"--version"}
    for source, texts in TEXTS.items():
        allowed = of_evaluate if SCORING.match(source) else known
        for text in texts:
            if text.startswith("#"):  # a line of a Slurm script
                continue
            bare = re.sub(r"`[^`]*`", "", text)
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*\w", bare))
            assert options <= allowed | FOREIGN_OPTIONS, f"{source}: {text}"
            for option, name in re.findall(r"(?:say|use|write|or) --(\w+)[ =]([a-z][\w./-]*)(?!\w)", text):
                check_parts(KINDS.get(option), name)
            for key in re.findall(r"--set ([a-z][\w.-]*)=(?!value)", text):
                assert is_setting(key), f"{source}: {text}"


def is_setting(key: str) -> bool:
    """Whether a part or the core has this setting, by its full key or an ending of it."""
    keys = [
        *CORE_SETTINGS,
        "use.schedule",
        "use.loss",
        *(key for part in catalog.scan().parts for key in part.defaults),
    ]
    shape = re.escape(key).replace(VALUE, r"[\w-]+")
    return any(re.fullmatch(rf"(.*\.)?{shape}", other) for other in keys)


def check_parts(kind: str | None, names: str | None) -> None:
    """Raise UsageError for a name, in lower case, that no part of this kind has."""
    for name in (names or "").split(",") if kind else ():
        if re.match(r"[a-z]", name):
            catalog.scan().find(kind, name.partition(":")[0])


def test_a_wrong_name_would_be_found(parsers):
    with pytest.raises(UsageError):
        check_parts("extractors", "seer")
    assert not is_setting("data.seize")
    assert parse(parsers, ["evaluate", "RUN", "--extractr", "x"]) is None
    assert find_commands("do it: ganzoo resume 8 --set a=b") == ["ganzoo resume 8 --set a=b"]
