"""What a loop is worth on half a year of flights, as a Markdown table, or JSON: the demo's own measurement.

python -m tests.bench.loop --json loop.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from flink_jobs.demo.loop import measure, table
from flink_jobs.demo.loop_year import year


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    chosen = options.parse_args()
    found = measure(year())
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
