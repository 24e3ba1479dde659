"""Hypothesis for the tests that also run on a machine with torch, numpy and pytest alone.

Without hypothesis the modules import, tests marked by ``given`` are skipped by name, and all others
run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError:
    Test = TypeVar("Test", bound=Callable[..., Any])

    class _Anything:
        """Stands in for strategies: whatever is asked of it or of its results is itself."""

        def __getattr__(self, name: str) -> _Anything:
            return self

        def __call__(self, *args: Any, **kwargs: Any) -> _Anything:
            return self

    class _Settings(_Anything):
        """Stands in for settings, which also decorate a test."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return lambda test: test

    HealthCheck = st = _Anything()
    settings = _Settings()

    def given(*args: Any, **kwargs: Any) -> Callable[[Test], Test]:
        return pytest.mark.skip(reason="hypothesis is not installed")


__all__ = ["HealthCheck", "given", "settings", "st"]
