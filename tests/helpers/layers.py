"""The layers as the contracts of pyproject.toml name them, and as docs/contributing.md draws them.

>>> layers({"layers": ["demo", "cli | (testing)"]})
[['demo'], ['cli', 'testing']]
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from flink_jobs.system.jars import PROJECT as PROJECT

PYPROJECT = PROJECT / "pyproject.toml"


def contracts() -> dict[str, dict[str, Any]]:
    """Each contract by its id."""
    settings = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]
    return {contract["id"]: contract for contract in settings["contracts"]}


def layers(contract: dict[str, Any]) -> list[list[str]]:
    """The rooms of a contract, layer by layer from the top; `(room)` is one that need not exist."""
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


def drawing() -> str:
    """Mermaid: a box per layer, an arrow from each to the one below, and from the client to the workers."""
    chains = {
        package: layers(contract)
        for contract in reversed(contracts().values())
        if contract["type"] == "layers"
        for package in contract["containers"]
    }
    lines = ["flowchart TB"]
    for package, chain in chains.items():
        lines.append(f"  subgraph {package}")
        lines += [f'    {package}{i}["{" · ".join(rooms)}"]' for i, rooms in enumerate(chain)]
        lines.append("    " + " --> ".join(f"{package}{i}" for i in range(len(chain))))
        lines.append("  end")
    lines.append("  " + " --> ".join(chains))
    return "\n".join(lines) + "\n"
