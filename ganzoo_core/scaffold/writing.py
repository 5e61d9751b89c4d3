"""Write the files of a new plugin."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from ganzoo_core.errors import GanzooError, UsageError
from ganzoo_core.frameworks import FRAMEWORKS, Framework
from ganzoo_core.scaffold import licences
from ganzoo_core.scaffold.names import to_package_name

TEMPLATES = Path(__file__).with_name("templates")
KINDS = {
    "model": "models", "loss": "losses", "schedule": "schedules", "dataset": "datasets", "modifier": "modifiers",
    "tracker": "trackers",
}  # fmt: skip
"""`KIND` in `ganzoo new KIND` -> kind of part."""
LIKES = {"model": ("image-to-image",)}
"""`KIND` -> what `--like` accepts, for kinds with further templates."""


@dataclass(frozen=True, kw_only=True)
class PluginPlan:
    """The plugin to write.

    Attributes:
        name: of the distribution and of its part.
        kind: one of `KINDS`.
        framework: the name of one of `list_frameworks()` for networks; "" if it has none, and for a modifier of losses.
        licence: one of `LICENCES`.
        author: a name, optionally followed by `<address>`.
        pick: the part on the command line: its name, or DISTRIBUTION/NAME if the name is taken.
        model: a model that readers of its README can install, or the word MODEL for them to replace.
        like: one of `LIKES[kind]`; "" for the plain templates.
    """

    name: str
    kind: str
    framework: str
    licence: str
    author: str
    pick: str
    model: str
    like: str = ""

    @property
    def about(self) -> Mapping[str, Any]:
        """The content of the kind's `about.toml`."""
        return tomllib.loads((self._kind_folder / "about.toml").read_text(encoding="utf-8"))

    def format_run_command(self, model: str) -> str:
        """The command that tries the plugin with a model."""
        return Template(self.about["run"]).substitute(model=model, pick=self.pick)

    @property
    def template_folders(self) -> list[Path]:
        """The folders whose templates are written."""
        return [TEMPLATES / "common", self._kind_folder]

    @property
    def _kind_folder(self) -> Path:
        with_framework = TEMPLATES / "-".join(filter(None, (self.kind, self.framework, self.like)))
        return with_framework if with_framework.is_dir() else TEMPLATES / self.kind


def list_frameworks() -> list[Framework]:
    """The frameworks that there are templates of networks for."""
    return [framework for framework in FRAMEWORKS.values() if (TEMPLATES / f"model-{framework.name}").is_dir()]


def make_files(plan: PluginPlan) -> dict[str, str]:
    """Return every file of the distribution: path, with slashes -> text."""
    words = _make_substitutions(plan)
    texts = {}
    for folder in plan.template_folders:
        for path in sorted(folder.rglob("*.txt")):
            relative = (
                path.relative_to(folder).with_suffix("").as_posix().replace("package/", f"{words['package']}/", 1)
            )
            texts[relative] = _fill_template(path, words)
    if plan.licence != "none":
        texts["LICENSE"] = _fill_template(TEMPLATES / "licences" / f"{plan.licence}.txt", words)
    return dict(sorted(texts.items()))


def write_plugin(plan: PluginPlan, folder: Path) -> list[str]:
    """Write the distribution into a new or empty folder, completely or not at all; return the paths of its files.

    Raises:
        UsageError: if the folder is not empty.
        GanzooError: if it cannot be written.
    """
    texts = make_files(plan)
    try:
        if folder.exists() and (not folder.is_dir() or next(_list_content(folder), None)):
            raise UsageError(f"{folder} is there already, and not empty; say --out with another folder")
        target = Path(os.path.realpath(folder))
        is_new = not target.exists()
        fresh = (target.parent if is_new else target) / f".{target.name}.{secrets.token_hex(4)}.new"
        try:
            for name, text in texts.items():
                path = fresh / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            if is_new:
                fresh.rename(target)
            else:
                for path in sorted(fresh.iterdir()):
                    path.rename(target / path.name)
                fresh.rmdir()
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    except OSError as error:
        raise GanzooError(
            f"{folder} cannot be written: {error.strerror or error}; make room, or say --out with another folder"
        ) from None
    return list(texts)


def _list_content(folder: Path) -> Iterator[Path]:
    """List a folder's content except `.git`, so that a repository may exist already."""
    return (path for path in folder.iterdir() if path.name != ".git")


def _fill_template(path: Path, substitutions: Mapping[str, str]) -> str:
    return Template(path.read_text(encoding="utf-8")).substitute(substitutions)


def _make_substitutions(plan: PluginPlan) -> dict[str, str]:
    """Return the replacement of each `$word`."""
    about, year = plan.about, datetime.date.today().year
    author, _ = licences.split_author(plan.author)
    extras = f"[{','.join(about['extras'])}]" if "extras" in about else ""
    release = ".".join(importlib.metadata.version("ganzoo-core").split(".")[:2])
    dependencies = [f"ganzoo-core{extras}>={release}", *about["dependencies"]]
    return {
        "name": plan.name,
        "package": to_package_name(plan.name),
        "pick": plan.pick,
        "run": plan.format_run_command(plan.model),
        "summary": about["summary"],
        "release": release,
        "dependencies": json.dumps(dependencies),
        "dev": json.dumps(sorted(["build>=1.2.1", "pytest>=8.2", *about["dev"]])),
        "author": author,
        "author_table": licences.format_author_table(plan.author),
        "licence_lines": licences.format_pyproject_lines(plan.licence),
        "licence_words": licences.format_readme_line(plan.licence, author=plan.author, year=year),
        "year": str(year),
    }
