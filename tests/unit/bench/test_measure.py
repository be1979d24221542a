"""The benchmark's own arithmetic: rates of outputs that come in bundles, and outputs that do not add up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.measure import WrongCountError, check, steady

IDS = np.arange(1_000)


class Cpu:
    """Two cores, always busy."""

    def cpu_seconds(self, at: float | None = None) -> float:
        return 20.0 if at is None else 2 * at


def test_an_even_stream_has_its_rate() -> None:
    times = np.arange(0, 60_000, 10, dtype=np.int64)
    assert steady(times, Cpu()) == pytest.approx((100.0, 20_000.0))


@pytest.mark.parametrize("bundle", [700, 1_000, 1_300])
def test_bundles_do_not_raise_the_rate(bundle: int) -> None:
    """One bundle a second, written in a tenth of it; the warm-up ends in the middle of one."""
    written = np.linspace(0, 100, bundle).astype(np.int64)
    times = np.concatenate([1_000 * i + written for i in range(13)])
    rate, cpu = steady(times, Cpu())
    assert rate == pytest.approx(bundle, rel=0.03)
    assert cpu == pytest.approx(2e6 / bundle, rel=0.05)


def test_a_slow_start_is_not_in_the_rate() -> None:
    slow, quick = np.arange(0, 20_000, 100), 20_000 + np.arange(1_000)
    assert steady(np.concatenate([slow, quick]), Cpu())[0] == pytest.approx(1_000, rel=0.01)


def test_outputs_that_come_all_at_once_have_numbers_too() -> None:
    """So few that no clock moved between them: CPU is then that of the whole run."""
    rate, cpu = steady(np.full(500, 1_000, dtype=np.int64), Cpu())
    assert rate == 400_000
    assert cpu == 20.0 / 500 * 1e6


def test_each_record_once_is_right() -> None:
    check(np.random.default_rng(1).permutation(IDS), {"late": 0}, 1_000)
    check(IDS[100:400], {"late": 0}, 300, some=True)


@pytest.mark.parametrize(
    ("ids", "refused"),
    [
        (IDS[:-1], {}),  # the last one is lost
        (np.append(IDS, 7), {}),  # one is doubled
        (np.append(IDS[:-1], 7), {}),  # the count is right, but one is lost and one is doubled
        (np.append(IDS[:-1], 5_000), {}),  # one is made up
        (IDS, {"late": 1}),
        (IDS[:-1], {"dead-letters": 1}),
        (IDS[:0], {}),
    ],
)
def test_outputs_that_do_not_add_up_are_refused(
    ids: np.ndarray[tuple[int], np.dtype[np.int64]], refused: dict[str, int]
) -> None:
    with pytest.raises(WrongCountError, match="record"):
        check(ids, refused, 1_000)


def test_a_part_must_add_up_too() -> None:
    with pytest.raises(WrongCountError, match="300 records must have one prediction; got 299 of 299"):
        check(IDS[:299], {}, 300, some=True)
