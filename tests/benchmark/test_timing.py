"""Which calls the median is of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pointseg.benchmark import timing


def median_ms(
    monkeypatch: pytest.MonkeyPatch, samples: Sequence[tuple[float, int]], repeats: int
) -> tuple[float, int]:
    """The median of scripted (seconds, new pages), the first to warm up, and how many it took."""
    script = iter(samples)
    taken = []

    def sample(call: object) -> tuple[float, int]:
        taken.append(next(script))
        return taken[-1]

    monkeypatch.setattr(timing, "_sample", sample)
    return timing.median_ms(lambda: None, repeats), len(taken)


def test_median_is_of_calls_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [(0.9, 5000), (0.1, 0), (0.3, 999), (0.2, 0)]
    assert median_ms(monkeypatch, samples, 3) == (pytest.approx(200), 4)


def test_calls_that_got_new_memory_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [(0.9, 5000), (0.8, 5000), (0.1, 0), (0.8, 5000), (0.3, 0), (0.2, 0)]
    assert median_ms(monkeypatch, samples, 3) == (pytest.approx(200), 6)


def test_calls_that_always_get_new_memory_count(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [(0.9, 5000)] + [(0.5, 5000 + n) for n in range(3 + timing.MAX_EXTRA)]
    assert median_ms(monkeypatch, samples, 3) == (pytest.approx(500), len(samples))


def test_slow_calls_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert median_ms(monkeypatch, [(5.0, 0), (4.0, 0)], 9) == (pytest.approx(4000), 2)
    assert median_ms(monkeypatch, [(9.0, 0), (4.0, 9000), (3.0, 0)], 9) == (pytest.approx(3000), 3)
