"""Job files and profiles as they are written, variables not filled in: for another machine to read.

>>> list(variables_in("a: ${HOST}:${PORT:-9092} # $${NOT}"))
[('HOST', False), ('PORT', True)]
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from flink_jobs.jobfile.project import left_out
from flink_jobs.jobfile.reader import VARIABLE


def variables_in(text: str) -> Iterator[tuple[str, bool]]:
    """Each variable that a file names, and whether it has a default."""
    for match in VARIABLE.finditer(text):
        if match[2]:
            yield match[2], match[3] is not None


def job_text(path: Path, project: Path | None) -> str:
    """A job file with what its project says in its place; as it is where there is nothing to add."""
    written = path.read_text()
    yaml = YAML()
    yaml.width = 10_000
    defaults = (
        (YAML(typ="safe", pure=True).load(project.read_text()) or {}).get("defaults") if project else None
    )
    data = yaml.load(written)
    added = list(left_out(data, defaults or {}))
    if not added:
        return written
    for section, key, value in added:
        if data.get(section) is None:
            data[section] = {}
        data[section][key] = value
    out = StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def profile_text(path: Path, name: str) -> str:
    """A file with that one profile of a file that is known to have it."""
    data = YAML(typ="safe", pure=True).load(path.read_text())
    out = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump({"default": name, "profiles": {name: data["profiles"][name]}}, out)
    return out.getvalue()
