"""The picked part alone is imported and called; whatever goes wrong there is told as its fault, in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core import building, mix
from ganzoo_core.api import ImageSource
from ganzoo_core.discovery import answers, catalog, loading
from ganzoo_core.errors import PluginError

TOP = "import numpy as np\nimport ganzoo_core as gz\n"
GOOD = "@gz.hookimpl\ndef dataset(name, split):\n    return gz.ImageSource(np.zeros((2, 4, 4, 1), np.uint8))\n"
ARGUMENTS = {"name": "part", "argument": "", "root": Path(), "split": "train", "options": {}, "modifiers": {}}
KINDS = {"dataset": "datasets", "describe_dataset": "datasets", "loss": "losses", "schedule": "schedules"}
CHECKS = {
    "dataset": answers.check_source,
    "describe_dataset": answers.check_image_facts,
    "loss": answers.check_loss,
    "schedule": answers.check_schedule,
}


@pytest.fixture
def call(here, request):
    """Install parts with these hooks, and have the slot answer."""
    number = iter(range(100))

    def install(kind: str, name: str, source: str) -> None:
        package = f"loaded_{abs(hash(request.node.name))}_{next(number)}"
        manifest = f"api = 1\n[{kind}.{name}]\ntitle = 'T'\nhooks = '{package}.hooks'\n"
        here.add(name, manifest, package=package, files={"__init__.py": "", "hooks.py": TOP + source})

    def call(source: str, *modifiers: str, hook: str = "dataset", **arguments):
        install(KINDS[hook], "part", source)
        for place, text in enumerate(modifiers):
            install("modifiers", f"mod-{place}", text)
        found = catalog.scan()
        parts = tuple(found.find("modifiers", f"mod-{place}") for place in range(len(modifiers)))
        part = found.find(KINDS[hook], "part")
        return loading.call_hook(hook, part, CHECKS[hook], wrappers=parts, **(arguments or ARGUMENTS))

    return call


def fault(call, *sources: str, **more) -> str:
    with pytest.raises(PluginError) as caught:
        call(*sources, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BROKEN = {
    "a missing module": (
        "import nothing_like_it",
        "it needs nothing_like_it, which is not installed: pip install part",
    ),
    "its own missing module": ("from . import nothing_like_it", "raised ImportError"),
    "an exception": ("raise ValueError('two\\n  lines')", "raised ValueError: two lines ("),
    "an exit": ("raise SystemExit", "raised SystemExit"),
    "an exit with 0": ("import sys; sys.exit(0)", "raised SystemExit: 0"),
    "a syntax error": ("def (", "raised SyntaxError"),
    "an unprintable exception": (
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd",
        "raised Odd: (its message cannot be printed)",
    ),
    "no hook": ("", "has no hook dataset"),
    "an unmarked hook": ("def dataset(name):\n    pass", "defines dataset without @gz.hookimpl"),
    "a misspelt hook": (
        "@gz.hookimpl\ndef datset(name):\n    pass",
        "implements the hook 'datset', which ganzoo-core",
    ),
    "a strange hook": ("@gz.hookimpl\ndef xyz(name):\n    pass", "(it has build_discriminator, build_generator, "),
    "a misspelt, unmarked hook": ("def datasets(name):\n    pass", "is datasets, which lacks @gz.hookimpl too, meant"),
    "a default": ("@gz.hookimpl\ndef dataset(split='test'):\n    pass", "argument 'split' a default"),
    "any arguments": ("@gz.hookimpl\ndef dataset(*rest):\n    pass", "'*rest', which would never be filled"),
    "any keywords": ("@gz.hookimpl\ndef dataset(**rest):\n    pass", "'**rest', which would never be filled"),
    "a keyword only": ("@gz.hookimpl\ndef dataset(*, split):\n    pass", "'split', which would never be filled"),
    "an unknown argument": ("@gz.hookimpl\ndef dataset(splti):\n    pass", "splti"),
    "first": ("@gz.hookimpl(tryfirst=True)\ndef dataset(name):\n    pass", "with tryfirst; the order is the user's"),
    "last": ("@gz.hookimpl(trylast=True)\ndef dataset(name):\n    pass", "with trylast"),
    "another name": ("@gz.hookimpl(specname='dataset')\ndef dataset(name):\n    pass", "with specname"),
    "an old wrapper": ("@gz.hookimpl(hookwrapper=True)\ndef dataset(name):\n    yield", "with hookwrapper"),
    "a wrapper": (
        "@gz.hookimpl(wrapper=True)\ndef dataset(name):\n    return (yield)",
        "than @gz.hookimpl, which datasets",
    ),
    "nothing": ("@gz.hookimpl\ndef dataset(name):\n    pass", "dataset returned nothing"),
    "something else": ("@gz.hookimpl\ndef dataset(name):\n    return 3", "returned a int; expected a gz.ImageSource"),
    "a generator": ("@gz.hookimpl\ndef dataset(name):\n    yield 3", "returned a generator"),
    "a failure": (
        "@gz.hookimpl\ndef dataset(name):\n    return 1 / 0",
        "dataset raised ZeroDivisionError: division by",
    ),
    "a late exit": ("@gz.hookimpl\ndef dataset(name):\n    raise SystemExit(4)", "dataset raised SystemExit: 4"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_part_is_named_with_what_is_wrong(call, what):
    source, expected = BROKEN[what]
    said = fault(call, source)
    assert said.startswith("part (part 1.0): ")
    assert expected in said
    assert any(word in said for word in ("mend it", "tell its author", "pip install"))


def test_the_place_of_a_failure_is_told(call):
    assert f"hooks.py:{TOP.count(chr(10)) + 3})" in fault(
        call, "@gz.hookimpl\ndef dataset(name):\n    raise KeyError(1)\n"
    )


def test_a_good_part_is_called_with_what_it_takes(call):
    assert call(GOOD).images.shape == (2, 4, 4, 1)


@pytest.mark.parametrize("error", ["gz.DataError", "gz.UsageError", "KeyboardInterrupt"])
def test_what_a_part_tells_the_user_passes_as_it_is(call, error):
    expected = KeyboardInterrupt if error == "KeyboardInterrupt" else getattr(gz, error[3:])
    with pytest.raises(expected, match="as it is"):
        call(f"@gz.hookimpl\ndef dataset(name):\n    raise {error}('as it is')\n")


def test_what_a_part_prints_goes_to_stderr(call, capsys):
    call("print('imported')\n@gz.hookimpl\ndef dataset(name):\n    print('called')\n" + GOOD.splitlines()[-1])
    assert capsys.readouterr() == ("", "imported\ncalled\n")


def test_lazy_objects_in_a_module_are_left_alone(call):
    lazy = (
        "class Lazy:\n"
        "    def __getattr__(self, name):\n"
        "        raise RuntimeError('imported too early')\n"
        "lazy = Lazy()\n"
        "class Yes:\n"
        "    def __getattr__(self, name):\n"
        "        return {'wrapper': True}\n"
        "anything = Yes()\n"
    )
    assert call(lazy + GOOD).images.shape == (2, 4, 4, 1)


def wrapper(body: str) -> str:
    return "@gz.hookimpl(wrapper=True)\ndef dataset(name):\n" + body


def brighter(step: int) -> str:
    return wrapper(f"    source = yield\n    return gz.ImageSource(source.images * 10 + {step})\n")


def test_modifiers_wrap_the_part_the_first_innermost(call):
    source = GOOD.replace("np.zeros((2, 4, 4, 1)", "np.full((2, 4, 4, 1), 1")
    assert (call(source, brighter(2), brighter(3)).images == 123).all()


def test_a_modifier_of_another_slot_leaves_this_one_alone(call):
    other = "@gz.hookimpl(wrapper=True)\ndef loss(name):\n    return 1 / (yield)\n"
    assert isinstance(call(GOOD, other), ImageSource)


def test_a_modifier_of_the_data_reads_its_own_settings(here):
    """In `dataset`, and in `describe_dataset`, by which a dry run fits the networks."""
    hooks = (
        "import ganzoo_core as gz\nfrom dataclasses import replace\n"
        "@gz.hookimpl(wrapper=True)\ndef dataset(modifiers):\n    source = yield\n"
        "    return replace(source, images=source.images[:, : modifiers['crop']['rows']])\n"
        "@gz.hookimpl(wrapper=True)\ndef describe_dataset(modifiers):\n    facts = yield\n"
        "    return {**facts, 'height': modifiers['crop']['rows']}\n"
    )
    manifest = "api = 1\n[modifiers.crop]\ntitle = 'T'\nhooks = 'crop.hooks'\ndefaults.with.crop.rows = 16\n"
    here.add("crop", manifest, files={"__init__.py": "", "hooks.py": hooks})
    picks = {"model": "dcgan-torch", "data": "shapes"}
    small = {"with.crop.rows": "8", "data.count": "6", "data.size": "16"}
    resolved = mix.resolve(catalog.scan(), mix.Request(picks=picks, modifiers=["crop"], assigned=small))
    assert building.load_data(resolved).images.shape == (6, 8, 16, 1)
    fitted, _ = building.fit_to_description(resolved)
    assert fitted is not None
    assert fitted.framing.original_size == (8, 16)


@pytest.mark.parametrize("answer", ["{'height': 3}", "7", "dict(height=1, width=1, channels=1, classes='2')", "None"])
def test_what_describes_a_dataset_is_checked(call, answer):
    described = f"@gz.hookimpl\ndef describe_dataset(name):\n    return {answer}\n"
    expected = "returned nothing" if answer == "None" else "expected whole numbers for height"
    assert expected in fault(call, GOOD + described, **ARGUMENTS, hook="describe_dataset")


BROKEN_MODIFIERS = {
    "forgets to return": (wrapper("    yield\n"), "dataset returned nothing; a modifier must return the result"),
    "returns something else": (wrapper("    yield\n    return 3\n"), "dataset returned a int"),
    "does not yield": (wrapper("    return 3\n"), "mod-0"),
    "stops before its yield": (wrapper("    if name:\n        return 3\n    yield\n"), "did not yield"),
    "yields twice": (wrapper("    yield\n    yield\n"), "second yield"),
    "is not marked as a wrapper": (GOOD, "than @gz.hookimpl(wrapper=True), which modifiers need"),
    "wraps nothing": ("", "wraps no hook"),
    "is not marked at all": ("def dataset(name):\n    yield\n", "wraps no hook"),
    "raises": (wrapper("    yield\n    raise KeyError('mine')\n"), "dataset raised KeyError: 'mine'"),
    "takes a default": ("@gz.hookimpl(wrapper=True)\ndef dataset(name='x'):\n    yield\n", "argument 'name' a default"),
    "cannot be imported": ("raise SystemExit", "raised SystemExit"),
}


@pytest.mark.parametrize("what", BROKEN_MODIFIERS)
def test_a_broken_modifier_is_named_and_not_the_part(call, what):
    source, expected = BROKEN_MODIFIERS[what]
    said = fault(call, GOOD, source, brighter(3))
    assert said.startswith("mod-0 (mod-0 1.0): ")
    assert expected in said


def test_a_part_that_fails_inside_a_modifier_is_named_and_not_the_modifier(call):
    said = fault(call, "@gz.hookimpl\ndef dataset(name):\n    return 1 / 0\n", wrapper("    return (yield)\n"))
    assert said.startswith("part (part 1.0): dataset raised ZeroDivisionError")


def test_a_loss_is_an_object_with_two_methods(call):
    arguments = {"hook": "loss", "name": "part", "spec": None, "options": {}, "modifiers": {}}
    table = "class Mine:\n    def discriminator(self, step): ...\n    def generator(self, step): ...\n"
    hook = "@gz.hookimpl\ndef loss(name):\n    return "
    assert hasattr(call(table + hook + "Mine()\n", **arguments), "generator")


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("type('Mine', (), {'discriminator': 1, 'generator': 1})", "returned the class Mine; expected an object of it"),
        ("print", "without discriminator(step) and generator(step)"),
        ("{}", "a dict without discriminator"),
    ],
)
def test_a_loss_that_is_none(call, returned, expected):
    arguments = {"hook": "loss", "name": "part", "spec": None, "options": {}, "modifiers": {}}
    assert expected in fault(call, f"@gz.hookimpl\ndef loss(name):\n    return {returned}\n", **arguments)


SCHEDULE = {"hook": "schedule", "name": "part", "spec": None, "total_images": 9, "options": {}, "modifiers": {}}


def test_a_schedule_gives_named_numbers(call):
    text = "@gz.hookimpl\ndef schedule(total_images):\n"
    text += "    return lambda images: {'lr_g': np.float32(images), 'fade': images / total_images, 'resolution': 4}\n"
    assert call(text, **SCHEDULE)(3) == {"lr_g": np.float32(3), "fade": 3 / 9, "resolution": 4}


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("3", "a int; expected a function from images seen"),
        ("lambda images: 1 / images", "what schedule returned raised ZeroDivisionError"),
        ("lambda: {}", "what schedule returned raised TypeError"),
        ("lambda images: [1]", "gives [1] at 0 images; expected named numbers"),
        ("lambda images: {'lr_g': '1'}", "expected named numbers"),
        ("lambda images: {'lr_g': None}", "expected named numbers"),
    ],
)
def test_a_schedule_that_is_none(call, returned, expected):
    assert expected in fault(call, f"@gz.hookimpl\ndef schedule(name):\n    return {returned}\n", **SCHEDULE)


def test_nothing_but_the_picked_part_is_imported(here):
    manifest = "api = 1\n" + "".join(f"[losses.l{n}]\ntitle = 'T'\nhooks = 'three.h{n}'\n" for n in range(3))
    hook = TOP + "@gz.hookimpl\ndef loss(name):\n    pass\n"
    here.add("three", manifest, files={"__init__.py": "", **{f"h{number}.py": hook for number in range(3)}})
    found = catalog.scan()
    assert "three" not in sys.modules
    loading.import_hooks(found.find("losses", "l1"))
    assert {name for name in sys.modules if name.startswith("three")} == {"three", "three.h1"}
