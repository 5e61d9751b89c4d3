"""The contract as a class of tests to inherit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ganzoo_core.testing import runner
from ganzoo_core.testing.runner import Case, Result


class Contract:
    """The contract: one test per check. A subclass names the plugin.

    Attributes:
        plugin: the distribution, as pip knows it. It must be installed; `pip install -e .` is enough.
        settings: override the smallest preset of the trained model, so that the tests are quick.
        arguments: by a dataset's name, its argument, which follows the colon in `--data NAME:ARGUMENT`; or a function
            that takes an empty folder, writes files there, and returns the argument.
        expected_failures: checks that are known to fail, with the reason: `{"my-gan saved": "reason"}`. The name is
            the one that pytest shows in brackets. A check listed here that passes is a failure too.

    Raises:
        TypeError: for a subclass that names no plugin, gives no reason, or removes a test.
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
        """Parametrise one test per check, part and framework."""
        all_cases = runner.cases(self.plugin)
        if not any(case.part for case in all_cases):
            raise pytest.UsageError(f"no part of {self.plugin} is installed; `pip install -e .` in its folder first")
        known = {str(case) for case in all_cases}
        for name in self.expected_failures:
            if name not in known:
                raise pytest.UsageError(f"expected_failures names {name!r}, which is no check of {self.plugin}")
        metafunc.parametrize("case", all_cases, ids=str)

    def test_contract(self, case: Case) -> None:
        """The check passes."""
        cls = type(self)
        if cls._results is None:  # the first test runs all checks, so that each framework is imported once
            made = runner.run(self.plugin, settings=self.settings, arguments=self.arguments)
            cls._results = {result.case: result for result in made}
        result = cls._results[case]
        reason = self.expected_failures.get(str(case))
        if result.state in ("skipped", "not tried"):
            pytest.skip(result.detail)
        elif result.state == "failed" and reason is not None:
            pytest.xfail(f"{reason} ({result.detail})")
        elif result.state == "failed":
            pytest.fail(f"{runner.describe_check(case.check)}: {result.detail}", pytrace=False)
        elif reason is not None:
            pytest.fail(f"{case} holds now; take it out of expected_failures", pytrace=False)
