"""What a real Flink 2.3 answered at moments in the life of a job, whose TaskManager was killed.

Recorded from `tailrace up` with a job of two partitions: running, 1 s after the kill (unnoticed), 4 s
(restarting), 15 s and 100 s (alone, still alone). Lists of metrics are shortened.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from flink_jobs.run.cluster import JobInfo

_FILE = Path(__file__).parents[1] / "oracles" / "flink_answers.json"
MOMENTS: dict[str, dict[str, Any]] = json.loads(_FILE.read_text())


class RecordedCluster:
    """A cluster that answers as then."""

    url = "http://flink:8081"

    def __init__(self, moment: str) -> None:
        self.answers = MOMENTS[moment]

    def get(self, path: str) -> Any:
        if "/subtasks/metrics?get=" in path:
            return self.answers[path.partition("=")[0].removesuffix("get")]
        return self.answers[path]

    def jobs(self) -> list[JobInfo]:
        found = self.answers["/jobs/overview"]["jobs"]
        return [JobInfo(j["jid"], j["name"], j["state"], j["start-time"], j["duration"]) for j in found]

    def find(self, name: str) -> JobInfo:
        return next(job for job in self.jobs() if name in (job.name, job.id))

    def parameters(self, _job_id: str) -> dict[str, str]:
        return {}

    @property
    def now(self) -> int:
        """When it answered, in ms since the epoch."""
        job = next(value for path, value in self.answers.items() if re.fullmatch(r"/jobs/[0-9a-f]{32}", path))
        return int(job["now"])
