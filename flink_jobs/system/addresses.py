"""What addresses look like, for job files and commands alike."""

from __future__ import annotations

_HOST = r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
# Without a user: credentials have keys of their own.
WEB_URL = rf"https?://{_HOST}(:[0-9]{{1,5}})?(/[A-Za-z0-9._~/-]{{0,500}})?"
HOST_AND_PORT = rf"{_HOST}:[0-9]{{1,5}}/?"
