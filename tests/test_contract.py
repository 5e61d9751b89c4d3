"""Each check of the contract can fail: a part that is broken in just that way is caught by it."""

from __future__ import annotations

import contextlib
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganzoo_core as gz
from ganzoo_core.discovery import catalog
from ganzoo_core.testing import CHECKS, Case, Contract, Result, runner

from .conftest import Site

pytest.importorskip("torch")

BROKEN = Path(__file__).parent / "broken"
SOUND = Path(__file__).parent / "sound"
CAUGHT = {  # check: what it says of the sample that bears its name
    "hooks": "gives loss the argument 'margin' a default",
    "light": "importing broken.heavy imports torch",
    "settings": "no loss is called 'no-such-loss'",
    "sizes": "at 16×16×1 G gives [4, 16, 16, 3]; expected [4, 16, 16, 1] as [N,H,W,C]",
    "bounds": 'output = "tanh" promises [-1, 1]',
    "labels": "G's images and D's scores do not depend on the labels",
    "conditions": "G's images and D's scores do not depend on `source`",
    "features": "D has batch norm, which the manifest must say",
    "gradients": "2 of the generator's parameters never move: forgotten.bias, forgotten.weight",
    "second-order": "gradient_penalty has no gradient in the discriminator",
    "terms": "discriminator/adversarial is inf",
    "rounds": "discriminator/drift is there in some rounds only",
    "memory": "the loss writes into step.memory['mean'] the shape []; it was declared with [3]",
    "needs": 'say needs = ["real_in_generator_step"]',
    "penalty": "gradient_penalty has no gradient in the discriminator",
    "decision": "where scores are right of 0.0",
    "agreement": "write it on step.ops alone",
    "effect": "is the same as one without",
    "learns": "the generator does not move",
    "finite": "no longer finite",
    "same-seed": "with the same seed",
    "global-state": "Python's random state is changed by a run",
    "resume": "after a resume",
    "saved": "unused is saved, and no image depends on it",
    "shipped": 'the manifest lists the generator "digits"',
    "pure": "said",
    "values": "lr_g is -",
    "gives": "write `gives.lr_g = true`",
    "images": "train and test have 16 and 4 images, and all has 16",
    "card": "the manifest says height = 28, and the images have 8",
    "same-images": "it gives other images",
    "watches": "on_report raised ConnectionError: nobody listens",
    "own-folder": "mine.txt",
}
OF_DISTRIBUTIONS = {"manifest", "wheel", "readme"}
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n{readme}\n"


@contextlib.contextmanager
def installed(folder: Path, place: Path) -> Iterator[None]:
    """The parts in a folder, as an installed distribution of its name."""
    with pytest.MonkeyPatch.context() as patch:
        site = Site(place)
        site.add(folder.name, (folder / "ganzoo.toml").read_text(encoding="utf-8"))
        for path in folder.glob("*.py"):
            shutil.copy(path, site.path / folder.name / path.name)
        patch.syspath_prepend(site.path)
        catalog.clear_cache()
        yield
    catalog.clear_cache()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Result]:
    """All checks of the broken parts; each framework's process is started once."""
    with installed(BROKEN, tmp_path_factory.mktemp("site")):
        return {result.case: result for result in runner.run("broken")}


def test_every_check_has_a_sample() -> None:
    assert {check.name for check in CHECKS} == CAUGHT.keys() | OF_DISTRIBUTIONS


@pytest.mark.parametrize("check", CAUGHT)
def test_a_check_catches_what_it_is_for(results: dict[Case, Result], check: str) -> None:
    caught = [result for case, result in results.items() if case.check == check == case.part.rpartition("/")[2]]
    caught = [result for result in caught if "is not installed" not in result.detail]
    assert {result.state for result in caught} == {"failed"}
    assert CAUGHT[check] in caught[0].detail


@pytest.mark.parametrize(
    ("part", "check", "words"),
    [
        ("shared", "gradients", "the discriminator's step moves first."),
        ("mode", "global-state", "torch's deterministic mode is changed by a run"),
    ],
)
def test_a_check_catches_its_other_faults_too(results: dict[Case, Result], part: str, check: str, words: str) -> None:
    result = results[Case(f"models/{part}", check, "torch")]
    assert result.state == "failed"
    assert words in result.detail


def test_second_derivatives_that_tensorflow_drops_in_silence_are_caught(results: dict[Case, Result]) -> None:
    pytest.importorskip("tensorflow")
    result = results[Case("models/second-order-tf", "second-order", "tensorflow")]
    assert result.state == "failed"
    assert "a gradient penalty does not reach" in result.detail


def test_what_is_not_broken_passes(results: dict[Case, Result]) -> None:
    good = [result for case, result in results.items() if case.part == "models/good"]
    assert len(good) == len([check for check in CHECKS if "models" in check.kinds])
    assert {result.state for result in good} == {"ok"}, [result for result in good if result.state != "ok"]


def test_what_fails_because_of_an_earlier_failure_is_not_tried(results: dict[Case, Result]) -> None:
    """A model that cannot be resolved fails once: what is left says which check to look at."""
    found = {case.check: result for case, result in results.items() if case.part == "models/settings"}
    assert [check for check, result in found.items() if result.state == "failed"] == ["settings"]
    echoes = [result for result in found.values() if result.state == "not tried"]
    assert len(echoes) == 10  # also `bounds`, which tries the networks that `sizes` tries
    for echo in echoes:
        assert echo.detail.startswith("settings failed, and this could not be tried: ")
    # So does a part whose hooks cannot be used, though another process finds that.
    hooks = {case.check: result.state for case, result in results.items() if case.part == "losses/hooks"}
    assert hooks["terms"] == hooks["finite"] == hooks["resume"] == "not tried"
    assert [check for check, state in hooks.items() if state == "failed"] == ["hooks"]


def test_a_fault_that_a_later_check_finds_itself_is_told_beside_an_earlier_one(results: dict[Case, Result]) -> None:
    own = {case: result for case, result in results.items() if case.part == "losses/agreement"}
    found = {case.check: result.state for case, result in own.items() if case.framework == "torch"}
    assert found["agreement"] == "failed"
    assert found["finite"] == "ok"


SOUND_CHECKS = ("sizes", "features", "gradients", "second-order", "finite", "terms", "needs", "penalty", "decision",
                "agreement", "effect")  # fmt: skip


TIMED = ("losses/timed", "losses/pooled")


def check_sound() -> dict[str, Result]:
    """What these checks say of the sound parts in PyTorch, by the case's name."""
    cases = [case for case in runner.cases("sound") if case.framework == "torch" and case.check in SOUND_CHECKS]
    cases = [case for case in cases if case.part.startswith("models/") or case.check != "finite"]
    cases = [case for case in cases if case.part not in TIMED]
    return {str(result.case): result for result in runner.run("sound", only=cases)}


def test_sound_parts_pass(tmp_path: Path) -> None:
    with installed(SOUND, tmp_path):
        found = check_sound()
    agreement = {name for name in found if " agreement " in name}
    assert agreement == {"torch-only agreement torch", "torch-penalty agreement torch"}
    assert {found[name].state for name in agreement} == {"skipped"}
    assert "it is for torch alone" in found["torch-only agreement torch"].detail
    assert [result for name, result in found.items() if name not in agreement and result.state != "ok"] == []
    assert {
        f"{name} effect torch" for name in ("warm-rates", "late-rates", "late-loss", "negative", "still")
    } < found.keys()


@pytest.mark.parametrize("framework", ["torch", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_losses_that_remember_and_rest_pass(tmp_path: Path, framework: str) -> None:
    """Every check of a loss."""
    pytest.importorskip(framework)
    untrained = {check.name for check in CHECKS if check.module == "losses"} - {"penalty"}
    with installed(SOUND, tmp_path):
        cases = [case for case in runner.cases("sound") if case.part in TIMED and case.framework == framework]
        results = list(runner.run("sound", only=cases))
    found = {str(result.case): result for result in results}
    assert {f"{name} {check} {framework}" for name in ("timed", "pooled") for check in untrained} <= found.keys()
    assert [result for result in results if result.state != "ok"] == []


def test_a_loss_of_one_framework_is_not_evaluated_in_another(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with installed(SOUND, tmp_path):
        loss = gz.loss("torch-only")
        with pytest.raises(
            gz.UsageError, match="torch-only is for torch, and these are of numpy; give tensors of torch"
        ):
            loss.on([1.0, 2.0], [0.0, -1.0])
        terms = loss.on(torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0]))
    assert terms["discriminator"]["hinge"] == pytest.approx(0.0 + 0.5)


@pytest.mark.slow
def test_settings_reach_the_part_that_has_them(tmp_path: Path) -> None:
    """Also where the plugin has other parts, and runs without the part are made; as text, as doctor gives them."""
    settings = {"with.late-loss.steps": "5", "exponent": "3", "width": "4"}
    with installed(SOUND, tmp_path):
        cases = [Case(f"modifiers/{name}", "effect", "torch") for name in ("late-loss", "late-exponent", "warm-rates")]
        cases += [Case("models/axes", "sizes", "torch"), Case("losses/torch-only", "terms", "torch")]
        found = list(runner.run("sound", settings=settings, only=cases))
        assert [result for result in found if result.state != "ok"] == []
        late = {"with.late-loss.steps": 500}
        (result,) = runner.run("sound", settings=late, only=cases[:1])
        assert result.state == "failed"
        assert "If its effect begins after more than 80 images, say a setting" in result.detail
        (result,) = runner.run("sound", settings={"with.late-loss.stpes": 5}, only=cases[:1])
        assert "there is no setting 'with.late-loss.stpes'" in result.detail


def told(site: Site, name: str, check: str) -> Result:
    """What one check says of a whole distribution."""
    return next(iter(runner.run(name, only=[Case("", check)])))


def test_a_manifest_with_a_fault_is_caught(here: Site) -> None:
    here.add("faulty", here.loss("faulty", "faulty") + '[losses.second]\ntitle = 3\nhooks = "faulty.hooks"\n')
    assert "losses/second bad-manifest" in told(here, "faulty", "manifest").detail
    here.add("misspelt", here.loss("misspelt", "misspelt", "papper = 'x'\n"))
    assert "losses/misspelt: its manifest has 'papper', which " in told(here, "misspelt", "manifest").detail
    here.add("stray", "pappers = 'x'\n" + here.loss("stray", "stray"))
    assert "its manifest has 'pappers', which " in told(here, "stray", "manifest").detail


def test_a_wheel_without_the_manifest_is_caught(here: Site) -> None:
    here.add("bare", here.loss("bare", "bare"))
    record = here.path / "bare-1.0.dist-info" / "RECORD"
    record.write_text("bare/__init__.py,,\n", encoding="utf-8")
    assert "what pip installed holds no bare/ganzoo.toml" in told(here, "bare", "wheel").detail
    record.write_text("bare/__init__.py,,\nbare/ganzoo.toml,,\n", encoding="utf-8")
    assert told(here, "bare", "wheel").state == "ok"


@pytest.mark.parametrize(
    ("readme", "words"),
    [
        ("", "no README"),
        ("A model.", "does not name arXiv:1511.06434"),
        ("A model after arXiv:1511.06434.", "does not name deep"),
        ("deep, after arXiv:1511.06434.", "does not say what differs"),
        ("deep, after arXiv:1511.06434. It differs in nothing.", ""),
    ],
)
def test_a_readme_that_says_too_little_is_caught(here: Site, readme: str, words: str) -> None:
    manifest = 'api = 1\n[models.deep]\ntitle = "M"\nframework = "torch"\nhooks = "deep.hooks"\n'
    manifest += 'paper = "arXiv:1511.06434"\n'
    here.add("deep", manifest, metadata=METADATA.format(name="deep", readme=readme))
    result = told(here, "deep", "readme")
    assert result.state == ("failed" if words else "ok")
    assert words in result.detail


SCHEDULE = 'api = 1\n[schedules.{0}]\ntitle = "S"\nhooks = "{0}.hooks"\n'


def test_a_part_that_ends_the_process_fails_all_that_was_left(here: Site) -> None:
    code = "import os, ganzoo_core as gz\n@gz.hookimpl\ndef schedule():\n    os._exit(7)\n"
    here.add("gone", SCHEDULE.format("gone"), files={"__init__.py": "", "hooks.py": code})
    found = {result.case.check: result for result in runner.run("gone")}
    assert found["hooks"].state == "ok"
    assert (found["pure"].state, found["values"].state) == ("failed", "not tried")
    assert "ended with 7" in found["pure"].detail
    assert found["values"].detail.startswith("in gone pure the process of the checks ended with 7")


def test_checks_that_take_too_long_fail(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TIMEOUT", 5.0)
    code = "import time, ganzoo_core as gz\n@gz.hookimpl\ndef schedule():\n    time.sleep(600)\n"
    here.add("slow", SCHEDULE.format("slow"), files={"__init__.py": "", "hooks.py": code})
    found = {result.case.check: result for result in runner.run("slow")}
    assert (found["pure"].state, found["values"].state) == ("failed", "not tried")
    assert "checks took over 5 s" in found["pure"].detail


def test_a_contract_cannot_be_thinned_out() -> None:
    with pytest.raises(TypeError, match="names no plugin"):
        type("Nameless", (Contract,), {})
    with pytest.raises(TypeError, match="replaces test_contract"):
        type("Empty", (Contract,), {"plugin": "ganzoo-losses", "test_contract": None})
    with pytest.raises(TypeError, match="does not say why"):
        type("Silent", (Contract,), {"plugin": "ganzoo-losses", "expected_failures": {"hinge terms torch": ""}})


INNER = """
from ganzoo_core.testing import Contract

class TestContract(Contract):
    plugin = "odd"
    expected_failures = {expected}
"""


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        ({}, "1 failed"),
        ({"odd pure": "it counts its calls by design"}, "1 xfailed"),
        ({"odd pure": "it counts its calls", "odd hooks": "not true at all"}, "take it out of expected_failures"),
        ({"odd sizes": "there is no such check"}, "is no check of odd"),
    ],
)
def test_a_failure_may_be_expected_with_a_reason_only(site: Site, expected: dict[str, str], outcome: str) -> None:
    site.add(
        "odd",
        'api = 1\n[schedules.odd]\ntitle = "S"\nhooks = "odd.hooks"\n',
        files={"__init__.py": "", "hooks.py": COUNTING},
        metadata=METADATA.format(name="odd", readme="odd"),
    )
    record = site.path / "odd-1.0.dist-info" / "RECORD"
    record.write_text("odd/ganzoo.toml,,\n", encoding="utf-8")
    (site.path / "test_odd.py").write_text(INNER.format(expected=expected), encoding="utf-8")
    done = site.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_odd.py")
    assert outcome in done.stdout, done.stdout


COUNTING = """
import itertools
import ganzoo_core as gz

@gz.hookimpl
def schedule():
    calls = itertools.count()
    return lambda images: {"lr_g": 1.0 / (1 + next(calls))}
"""


@pytest.mark.parametrize(
    "plugin", ["datasets", "modifiers", "convgan-tf", "pix2pix-torch", "r3gan-torch", "sngan-torch", "cgan-torch"]
)
def test_plugins_whose_whole_contract_is_slow_pass_what_trains_nothing(plugin: str) -> None:
    name = f"ganzoo-{plugin}"
    cases = [case for case in runner.cases(name) if case.check in ("manifest", "readme", "hooks")]
    assert {case.check for case in cases} == {"manifest", "readme", "hooks"}
    assert [result for result in runner.run(name, only=cases) if result.state != "ok"] == []


def test_the_page_of_checks_is_up_to_date() -> None:
    page = runpy.run_path(str(BROKEN.parents[1] / "docs" / "contract.py"))["page"]
    written = (BROKEN.parents[1] / "docs" / "contract.md").read_text(encoding="utf-8")
    assert written == page(), "run `python docs/contract.py`"
