"""What losses may declare to remember, and how modifiers' memory comes beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ganzoo_core as gz
from ganzoo_core.discovery import catalog, loading
from ganzoo_core.engines.loss_memory import LossMemory, MemoryMerger, describe_memory, name_loss, read_initial_memory
from ganzoo_core.training.resuming import _check_ranks

from .conftest import Site


class Remembering:
    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        return {}

    generator = discriminator


class Passing:
    """A modifier's loss, which has of its inner one what it lacks itself."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def discriminator(self, step: gz.Step) -> dict[str, Any]:
        return {}

    generator = discriminator

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Beside(Passing):
    def __init__(self, inner: Any, memory: Any) -> None:
        super().__init__(inner)
        self.memory = memory


def merge(*losses: Any) -> Any:
    merger = MemoryMerger()
    for loss in losses:
        assert merger.check(loss) == ""
    return merger.merge(losses[-1])


@pytest.mark.parametrize(
    ("entry", "dtype", "shape", "across"),
    [
        (0.5, "float32", (), "mean"),
        (3, "float32", (), "mean"),
        (np.zeros(512, np.float32), "float32", (512,), "mean"),
        (np.zeros((2, 0, 3), np.uint8), "uint8", (2, 0, 3), "mean"),
        (np.float64(1), "float64", (), "mean"),
        (gz.Memory(np.zeros((5, 1), np.int64), across="rank"), "int64", (5, 1), "rank"),
        (gz.Memory(1.5, across="rank"), "float32", (), "rank"),
        (np.array(True), "bool", (), "mean"),
    ],
)
def test_what_may_be_declared(entry: Any, dtype: str, shape: tuple[int, ...], across: str) -> None:
    if type(entry) is np.float64:  # a number of numpy is a Python float too
        dtype = "float32"
    found = read_initial_memory(Remembering({"name": entry}))["name"]
    assert (found.initial.dtype.name, found.initial.shape, found.across) == (dtype, shape, across)


def test_a_declared_array_is_copied() -> None:
    array = np.zeros(3, np.float32)
    found = read_initial_memory(Remembering({"row": array}))["row"].initial
    found[:] = 1
    assert array.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ([1.0], "declares [1.0] as its memory"),
        ({3: 1.0}, "declares 3 as a name in its memory"),
        ({"": 1.0}, "as a name in its memory"),
        ({"mean": None}, "declares None as 'mean' in its memory"),
        ({"mean": "much"}, "declares 'much' as 'mean'"),
        ({"mean": [1.0, 2.0]}, "declares [1.0, 2.0] as 'mean'"),
        ({"mean": np.zeros(3, np.complex64)}, "as 'mean'"),
        ({"mean": gz.Memory(1.0, across="all")}, 'across \'all\' in its memory, not "mean" or "rank"'),  # type: ignore[arg-type]
    ],
)
def test_what_may_not_be_declared(memory: Any, words: str) -> None:
    with pytest.raises(gz.PluginError) as caught:
        read_initial_memory(Remembering(memory))
    assert words in str(caught.value)
    assert "the loss Remembering declares" in str(caught.value)
    assert "a numpy array of float16, float32, float64, int32, int64, uint8, bool, or gz.Memory of one" in str(
        caught.value
    )


def test_a_modifiers_memory_comes_beside_its_losses() -> None:
    inner = Remembering({"mean": 0.5})
    outer = Passing(Beside(Passing(inner), {"scale": np.ones(2, np.float32)}))
    merged = merge(inner, Passing(inner), outer.inner, outer)
    assert set(merged.memory) == {"mean", "scale"}
    assert name_loss(merged) == "Passing"
    assert merge(inner) is inner
    passing = Passing(inner)
    assert merge(inner, passing) is passing
    bare = Passing(Remembering({}))
    assert merge(bare.inner, bare) is bare


def test_a_clash_of_names_is_refused(here: Site) -> None:
    """The sentence names the modifier, since the loss was there first."""
    source = "import ganzoo_core as gz\nclass Kept:\n    def __init__(self):\n        self.memory = {'mean': 0.0}\n"
    source += "    def discriminator(self, step): ...\n    def generator(self, step): ...\n"
    hook = "@gz.hookimpl\ndef loss():\n    return Kept()\n"
    wrapper = "@gz.hookimpl(wrapper=True)\ndef loss():\n    yield\n    return Kept()\n"
    here.add("kept", here.loss("kept", "kept"), files={"__init__.py": "", "hooks.py": source + hook})
    manifest = 'api = 1\n[modifiers.keeps]\ntitle = "M"\nhooks = "keeps.hooks"\n'
    here.add("keeps", manifest, files={"__init__.py": "", "hooks.py": source + wrapper})
    found = catalog.scan()
    spec = gz.Spec(height=8, width=8, channels=1, classes=0, latent_dim=2, framework="torch")
    wrappers = [found.find("modifiers", "keeps")]
    with pytest.raises(gz.PluginError, match=r"keeps.*remembers 'mean', as the loss that it wraps does.*another name"):
        loading.call_hook(
            "loss", found.find("losses", "kept"), MemoryMerger().check, wrappers=wrappers,
            name="kept", spec=spec, options={}, modifiers={},
        )  # fmt: skip


def test_memory_is_read_and_written_by_its_names_alone() -> None:
    kept: dict[str, Any] = {"row": np.zeros(2, np.float32)}
    memory = LossMemory(kept.__getitem__, kept.__setitem__, describe_memory(read_initial_memory(Remembering(kept))))
    memory["row"] = np.ones(2)
    assert (list(memory), len(memory), memory["row"].tolist()) == (["row"], 1, [1, 1])
    for act in (lambda: memory["rows"], lambda: memory.__setitem__("rows", 1.0)):
        with pytest.raises(gz.PluginError, match="asks for 'rows' of its memory, and declared row in"):
            act()
    with pytest.raises(gz.PluginError, match="cannot forget 'row'"):
        del memory["row"]


@pytest.mark.parametrize(
    ("declared", "value", "fits"),
    [
        (np.float32(0), 1, True), (np.float32(0), np.float64(1), True), (np.float32(0), np.bool_(True), True),
        (np.zeros((), np.int64), 2, True), (np.zeros((), np.int64), True, True), (np.zeros((), np.int64), 2.0, False),
        (np.zeros((), np.uint8), 2, False), (np.zeros((), np.uint8), np.uint8(2), True),
        (np.zeros((), bool), 1, False), (np.zeros((), np.int32), np.int64(1), True),
    ],
)  # fmt: skip
def test_types_are_converted_where_nothing_is_lost_but_precision(declared: Any, value: Any, fits: bool) -> None:
    kept: dict[str, Any] = {}
    shapes = describe_memory(read_initial_memory(Remembering({"x": declared})))
    memory = LossMemory(kept.__getitem__, kept.__setitem__, shapes)
    if fits:
        memory["x"] = value
        assert "x" in kept
        return
    with pytest.raises(gz.PluginError, match=r"writes into step\.memory\['x'\] \w+; it was declared as"):
        memory["x"] = value


def test_another_number_of_processes_is_refused_where_each_keeps_its_own() -> None:
    class Kept:
        declared_memory = read_initial_memory(Remembering({"mean": 0.0}))

    kept: Any = Kept()
    _check_ranks(kept, 2, 1)
    kept.declared_memory = read_initial_memory(Remembering({"pool": gz.Memory(np.zeros(3), across="rank")}))
    _check_ranks(kept, 2, 2)
    with pytest.raises(gz.UsageError, match=r"keeps pool in each process by itself.*of 2 processes, not of 1; resume"):
        _check_ranks(kept, 2, 1)
    with pytest.raises(gz.UsageError, match=r"of 1 process, not of 4; .*begin a new run with its weights"):
        _check_ranks(kept, 1, 4)


@pytest.mark.parametrize("entry", [float("nan"), np.array([0.0, np.inf])])
def test_a_memory_that_is_not_finite_is_refused_before_training(entry: Any) -> None:
    with pytest.raises(gz.PluginError, match="Remembering declares 'pool' in its memory, which is not finite"):
        read_initial_memory(Remembering({"pool": entry}))
