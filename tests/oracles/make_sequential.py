"""What ville 0.1.0 says of boundaries that hold at all times, as sequential.json.

    python -m venv oracle && oracle/bin/pip install ville==0.1.0
    oracle/bin/python tests/oracles/make_sequential.py

The boundary is of a sum with variance v, by Howard et al. (2021).
"""

from __future__ import annotations

import json
from pathlib import Path

from ville._boundaries import normal_mixture

CASES = [(v, alpha, rho) for v in (5.0, 100.0, 4_000.0) for alpha in (0.05, 0.0045) for rho in (25.0, 400.0)]


def main() -> None:
    rows = [
        {"v": v, "alpha": alpha, "rho": rho, "boundary": float(normal_mixture(v, alpha, rho, one_sided=True))}
        for v, alpha, rho in CASES
    ]
    Path(__file__).with_name("sequential.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
