"""The HCL files of a folder as JSON: FOLDER; runs in .venv-tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import hcl2

print(
    json.dumps({path.name: hcl2.loads(path.read_text()) for path in sorted(Path(sys.argv[1]).glob("*.tf"))})
)
