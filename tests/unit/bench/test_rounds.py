"""Sums over rounds, the streams that are read, and what may be asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from flink_jobs.system.jars import PROJECT
from tests.bench import contenders
from tests.bench.__main__ import DEFAULT, chosen, parser
from tests.bench.aims import aims
from tests.bench.data import ROWS_PER_KEY, Stream, backlog, skewed, usual
from tests.bench.measure import Run
from tests.bench.rounds import summary
from tests.bench.usage import Memory

START = 1_700_000_000_000
ROW = [0.5] * 10


def run(rate: float, cpu: float = 10.0) -> Run:
    return Run(20.0, 12.0, rate, cpu, 100.0, 1_000, Memory(400.0, 900.0))


def records(stream: Stream) -> list[dict[str, int]]:
    return [stream.record(i, START, ROW) for i in range(stream.records)]


def test_ratios_are_within_a_round() -> None:
    """A machine that others slow down in the second round does not change them."""
    bare, job = [run(100), run(50), run(100)], [run(150, 20), run(75, 20), run(160, 20)]
    measured = summary({"bare": bare, "stateless": job})["stateless"]
    assert measured["ratio_to_bare"] == {"median": 1.5, "min": 1.5, "max": 1.6}
    assert measured["cpu_ratio_to_bare"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert measured["records_per_s"] == {"median": 150, "min": 75, "max": 160}
    assert measured["cpu_s_per_million"]["median"] == 20


def test_aims_tell_what_was_missed() -> None:
    runs = {"bare": [run(100)], "stateless": [run(170)], "windowed": [run(120)], "windowed_100": [run(109)]}
    waits = {"stateless": {"p99_ms": 41.0}, "windowed": {"p99_ms": 1_059.0}}
    met = {aim.words: aim.met for aim in aims(runs, waits)}
    assert met == {
        "records a second of `windowed` to `bare`": True,
        "records a second of `windowed` to `stateless`": False,
        "records a second of `windowed_100` to `windowed`": True,
        "latency of `stateless`, 99 in 100": False,
        "latency of `windowed`, 99 in 100": True,
    }


def test_a_full_window_holds_as_many_rows_of_a_key_as_is_said() -> None:
    stream = usual(60_007)
    last = stream.record(60_006, START, ROW)["ts"]
    assert stream.record(40_000, START, ROW)["ts"] < last - 60_000 < stream.record(40_010, START, ROW)["ts"]
    window = [stream.record(i, START, ROW) for i in range(40_007, 60_007)]
    for key, expected in ROWS_PER_KEY.items():
        most = Counter(row[key] for row in window).most_common()
        assert most[0][1] == pytest.approx(expected, rel=0.15)
        assert len(most) == stream.keys[key]


def test_no_number_of_records_leaves_keys_out() -> None:
    """The keys come in steps of a prime: of as many keys as that, only the first would come."""
    stream = usual(7919 * 12 * 3)
    assert stream.keys["card"] == 7920
    assert len({stream.record(i, START, ROW)["card"] for i in range(7920)}) == 7920


def test_one_key_has_half_of_the_skewed_records() -> None:
    shops = Counter(row["shop"] for row in records(skewed(9_000)))
    assert shops[0] == pytest.approx(
        4_500 + 4_500 / 30, rel=0.02
    )  # half, and its own turns in the other half
    assert len(shops) == 30
    assert shops.most_common()[1][1] < 200


def test_a_backlog_is_two_hours_of_fifty_shops() -> None:
    rows = records(backlog(3_000))
    assert len(rows) == 6_000
    assert set(Counter(row["shop"] for row in rows).values()) == {120}
    assert rows[-1]["ts"] - rows[0]["ts"] == pytest.approx(7_200_000, rel=0.001)


def test_all_but_the_extra_contenders_run_unless_some_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "QUIX_PYTHON", Path(__file__))
    assert chosen(None) == (DEFAULT, [])
    assert len(DEFAULT) == 12
    names, missing = chosen(parser().parse_args(["--only", "backlog, stateless"]).only)
    assert names == ["bare", "stateless", "backlog"]
    assert len(missing) == 1
    assert missing[0].startswith("not asked for: `bare_transactions`, `quix`, ")


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "QUIX_PYTHON", Path("/nonexistent/python"))
    names, missing = chosen(None)
    assert "quix" not in names
    (reason,) = missing
    assert reason.startswith("`quix` is left out: ")
    assert "scripts/quix_env" in reason


@pytest.mark.parametrize("wrong", [["--only", "bare,spark"], ["--rounds", "0"], ["--records", "-5"]])
def test_wrong_options_are_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(wrong)
    assert "must be" in capsys.readouterr().err


def test_quix_reads_the_model_with_the_libraries_that_wrote_it() -> None:
    """A pickle of another version may predict something else, or not load."""
    pinned = dict(_pins("tests/bench/quix.txt"))
    ours = dict(_pins("conf/constraints.txt"))
    for name in ("scikit-learn", "numpy", "scipy", "joblib"):
        assert pinned[name] == ours[name]


def _pins(file: str) -> list[list[str]]:
    return [line.split("==") for line in (PROJECT / file).read_text().splitlines() if "==" in line]
