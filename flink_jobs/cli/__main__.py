"""`tailrace` for an interpreter that is not that of its script: python -m flink_jobs.cli."""

from __future__ import annotations

from flink_jobs.cli import main

if __name__ == "__main__":
    main()
