"""Writes PyTorch programs, which do not tell of their inputs and output."""

from __future__ import annotations

import io
from typing import Any

from flink_jobs.registry.formats.base import ClientFormat


def _dump(program: Any) -> bytes:
    # Start-up: optional and slow to load, not needed for programs given as bytes.
    import torch  # noqa: PLC0415

    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


FORMAT = ClientFormat(_dump)
