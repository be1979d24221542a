"""x"""

from flink_jobs.backtest.records import Backtest


def render(found: Backtest) -> str:
    return ""
