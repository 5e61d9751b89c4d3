"""The contract as a class of tests to inherit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ganzoo_core.testing import runner
from ganzoo_core.testing.runner import Case, Result


class Contract:
    """All that ganzoo holds a plugin to, as one test a check; its subclass names the plugin.

    Attributes:
        plugin: the distribution, as pip knows it. It must be installed; `pip install -e .` is enough.
        settings: laid over the smallest preset of what is trained, so that the tests are quick.
        arguments: by a dataset's name, what stands behind its colon; or a function that is given an empty folder,
            writes files there, and returns it.
        expected_failures: checks that are known to fail, and why: `{"my-gan saved": "reason"}`. The name is the one
            that pytest shows in brackets. One that passes after all is a failure too.

    Raises:
        TypeError: for a subclass that names no plugin, gives no reason, or takes a test away.
    """

    plugin: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, Any]] = {}
    arguments: ClassVar[Mapping[str, runner.Argument]] = {}
    expected_failures: ClassVar[Mapping[str, str]] = {}
    _results: ClassVar[dict[Case, Result] | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.plugin:
            raise TypeError(f'{cls.__name__} names no plugin; say plugin = "…", the distribution as pip knows it')
        for name in ("test_contract", "pytest_generate_tests"):
            if getattr(cls, name) is not getattr(Contract, name):
                raise TypeError(f"{cls.__name__} replaces {name}; name a check in expected_failures, with the reason")
        for name, reason in cls.expected_failures.items():
            if not isinstance(reason, str) or len(reason.split()) < 2:
                raise TypeError(f"{cls.__name__} expects {name!r} to fail and does not say why; give the reason")
        cls._results = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a check, of each part and framework."""
        found = runner.cases(self.plugin)
        if not any(case.part for case in found):
            raise pytest.UsageError(f"no part of {self.plugin} is installed; `pip install -e .` in its folder first")
        known = {str(case) for case in found}
        for name in self.expected_failures:
            if name not in known:
                raise pytest.UsageError(f"expected_failures names {name!r}, which is no check of {self.plugin}")
        metafunc.parametrize("case", found, ids=str)

    def test_contract(self, case: Case) -> None:
        """One check holds."""
        cls = type(self)
        if cls._results is None:  # the first test makes all the checks: a framework is imported once
            made = runner.run(self.plugin, settings=self.settings, arguments=self.arguments)
            cls._results = {result.case: result for result in made}
        result = cls._results[case]
        reason = self.expected_failures.get(str(case))
        if result.state == "skipped":
            pytest.skip(result.detail)
        elif result.state == "failed" and reason is not None:
            pytest.xfail(f"{reason} ({result.detail})")
        elif result.state == "failed":
            pytest.fail(f"{runner.describe_check(case.check)}: {result.detail}", pytrace=False)
        elif reason is not None:
            pytest.fail(f"{case} holds now; take it out of expected_failures", pytrace=False)
