"""Options that a person may put secrets into, hidden where a job is shown."""

from __future__ import annotations

import re
from typing import Any

from pydantic import PlainSerializer

_SECRET_OPTION = re.compile("password|secret|jaas|token|credential|access.?key", re.IGNORECASE)


def _without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    return {k: "**********" if _SECRET_OPTION.search(k) else v for k, v in options.items()}


HIDDEN_IN_JSON = PlainSerializer(_without_secrets, when_used="json")
