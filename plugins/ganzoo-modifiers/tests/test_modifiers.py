"""What the loader asks of every modifier."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys


def test_a_wrapper_is_alone_in_its_module(cards):
    for card in cards.values():
        module = importlib.import_module(card["hooks"])
        impls = [value for value in vars(module).values() if hasattr(value, "ganzoo_impl")]
        assert impls
        for impl in impls:
            assert impl.ganzoo_impl["wrapper"]
            parameters = inspect.signature(impl).parameters.values()
            assert all(parameter.default is inspect.Parameter.empty for parameter in parameters)


def test_no_framework_is_imported_before_a_hook_runs(cards):
    modules = ", ".join(card["hooks"] for card in cards.values())
    program = f"import sys, {modules}; print({{'torch', 'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "set()"
