"""A pickle that shows whether it was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Bomb:
    """Touches a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)
