"""A Helm chart of a job, or of several in one: the templates of conf/helm, and the jobs' values and files.

for path, text in chart(deployment).items(): ...

Templates are the same for all jobs. What they give for these values is what `render` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from flink_jobs.errors import InputError
from flink_jobs.kubernetes.around import reached_ports
from flink_jobs.kubernetes.deployment import Deployment
from flink_jobs.kubernetes.names import resource_name
from flink_jobs.kubernetes.yaml_text import as_yaml
from flink_jobs.system.data import data_file

TEMPLATES = ("_flink.tpl", "_names.tpl", "around.yaml", "flink.yaml", "rights.yaml")
CHART_FILE, VALUES_FILE = "Chart.yaml", "values.yaml"
# By which a folder is known for a chart that may be written again.
_MARK = "tailrace/chart"
_HEAD = "# Written by tailrace k8s chart, which writes it again: what is yours goes elsewhere (helm -f).\n"


def chart(deployment: Deployment) -> dict[str, str]:
    """Path to text of each file of the job's chart."""
    name = resource_name(deployment.job)
    folder = data_file("conf/helm")
    return {
        CHART_FILE: _text(_about(name, f"Job {deployment.job} of Tailrace")),
        VALUES_FILE: _HEAD + _text(values(deployment)),
        "values.schema.json": (folder / "values.schema.json").read_text(),
        **{f"templates/{each}": (folder / "templates" / each).read_text() for each in TEMPLATES},
        **{f"files/{each}": text for each, text in deployment.files.items()},
    }


def chart_of_all(name: str, deployments: Sequence[Deployment]) -> dict[str, str]:
    """A chart with one below it for each job; `NAME.enabled` leaves a job out, `global.image` is for all.

    Raises InputError for jobs of one name.
    """
    names = [resource_name(each.job) for each in deployments]
    if repeated := sorted({each for each in names if names.count(each) > 1}):
        raise InputError(f"the jobs of a chart must have names of their own; repeated: {', '.join(repeated)}")
    version = metadata.version("tailrace")
    below = [{"name": each, "version": version, "condition": f"{each}.enabled"} for each in names]
    own = {"global": {"image": ""}, **{each: {"enabled": True} for each in names}}
    files = {
        CHART_FILE: _text({**_about(name, "Jobs of Tailrace"), "dependencies": below}),
        VALUES_FILE: _HEAD + _text(own),
        "templates/NOTES.txt": f"Jobs of Tailrace: {', '.join(each.job for each in deployments)}\n",
    }
    for each, deployment in zip(names, deployments, strict=True):
        files |= {f"charts/{each}/{path}": text for path, text in chart(deployment).items()}
    return files


def values(deployment: Deployment) -> dict[str, Any]:
    """What may be another in each place; the memory is the measured model's."""
    return {
        "job": deployment.job,
        "name": resource_name(deployment.job),
        "mode": deployment.mode,
        "session": deployment.session,
        "image": deployment.image,
        "bucket": deployment.bucket,
        "secret": deployment.secret,
        "parallelism": deployment.parallelism,
        "cpu": deployment.cpu,
        "memory": {"python": deployment.memory.python, "total": deployment.memory.total},
        "autoscale": deployment.autoscale,
        "otlp": deployment.otlp,
        "podMonitor": True,
        "flinkVersion": deployment.flink_version,
        "ports": reached_ports(deployment),
        "env": [{"name": name, "value": value} for name, value in deployment.plain.items()],
        "variables": [
            {"name": name, "optional": optional} for name, optional in deployment.from_secret.items()
        ],
    }


def write_chart(files: Mapping[str, str], folder: Path) -> None:
    """Writes the files; of a chart that is there, what this one has not is removed.

    Raises InputError for a folder that holds something else.
    """
    about = folder / CHART_FILE
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} must be a folder, or not be there")
    if folder.is_dir() and any(folder.iterdir()) and not (about.is_file() and _MARK in about.read_text()):
        raise InputError(f"{folder} must be empty, or hold a chart that tailrace k8s chart has written")
    for path in [path for part in ("templates", "files", "charts") for path in (folder / part).rglob("*")]:
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _about(name: str, description: str) -> dict[str, Any]:
    version = metadata.version("tailrace")
    return {
        "apiVersion": "v2",
        "name": name,
        "description": description,
        "type": "application",
        "version": version,
        "appVersion": version,
        "annotations": {_MARK: "1"},
    }


def _text(document: Mapping[str, Any]) -> str:
    return as_yaml([document]).removeprefix("---\n")
