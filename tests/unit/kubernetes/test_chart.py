"""Charts by Helm's own engine and linter: they give what `render` gives, whatever the job file holds."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flink_jobs.errors import InputError
from flink_jobs.kubernetes import Deployment, Memory, render
from flink_jobs.kubernetes.chart import TEMPLATES, chart, chart_of_all, write_chart
from flink_jobs.system.data import PROJECT
from tests.helpers.kubernetes import deployment

HELM = [str(PROJECT / ".venv-tools" / "bin" / "python"), str(PROJECT / "tests" / "helpers" / "helm.py")]
MODULE = PROJECT / "conf" / "terraform"
# What Helm would take for a template, YAML for something else, and JSON escapes.
ODD = "job: flight-delay\n# {{ .Values.image }} {{- fail `x` }} 'é' <&> \\n yes: 1:30 ${A:-b}\n\tx\n\n"
FULL: dict[str, Any] = {
    "namespace": "ml",
    "files": {"job.yaml": ODD, "profiles.yaml": "default: prod\n"},
    "variables": {"KAFKA_PASSWORD": False, "LEVEL": True, "TAILRACE_PROFILE": True},
    "plain": {"TAILRACE_PROFILE": "prod", "ODD": '"yes": {{ x }}'},
    "secret": "kafka",
    "autoscale": True,
    "otlp": "http://collector:4318/v1/metrics",
    "ports": (9093, 4318),
    "cpu": 0.5,
    "parallelism": 4096,
    "memory": Memory(1_000_000, 1_001_408),
}
CASES: dict[str, dict[str, Any]] = {
    "least": {"variables": {}},
    "full": FULL,
    "blue_green": {**FULL, "mode": "blue_green"},
    "session": {**FULL, "mode": "session"},
    "odd_name": {"job": "fraud.cards_v2"},
}


def helm(folder: Path, namespace: str = "default", values: dict[str, Any] | None = None) -> dict[str, Any]:
    command = [*HELM, str(folder), namespace, json.dumps(values or {})]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def resources(manifests: dict[str, str]) -> list[dict[str, Any]]:
    parts = (yaml.safe_load_all(text) for path, text in manifests.items() if path.endswith(".yaml"))
    return by_place(each for part in parts for each in part if each)


def by_place(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda each: (each["metadata"]["name"], each["kind"]))


def written(folder: Path, each: Deployment) -> Path:
    write_chart(chart(each), folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_helm_gives_what_render_gives(case: str, tmp_path: Path) -> None:
    """All that a value can be, among it a job file that is full of what Helm takes for its own."""
    asked = deployment(**CASES[case])
    found = helm(written(tmp_path / "chart", asked), asked.namespace)
    assert [each for each in found["lint"] if "icon is recommended" not in each["error"]] == []
    assert resources(found["manifests"]) == by_place(render(asked))


def test_values_of_a_place_are_what_render_would_give_there(tmp_path: Path) -> None:
    """Another image, size, secret and collector, by values alone: what `helm -f staging.yaml` is for."""
    folder = written(tmp_path / "chart", deployment(files=FULL["files"]))
    values = {
        "image": "registry.example.org/other:2",
        "secret": "other",
        "parallelism": 7,
        "memory": {"python": 1024, "total": 2432},
        "autoscale": True,
        "otlp": "https://collector.example.org/v1/metrics",
        "ports": [443, 6443, 9094],
        "env": [{"name": "TAILRACE_PROFILE", "value": "staging"}],
    }
    wanted = deployment(
        files=FULL["files"],
        image="registry.example.org/other:2",
        secret="other",
        parallelism=7,
        memory=Memory(1024, 2432),
        autoscale=True,
        otlp="https://collector.example.org/v1/metrics",
        ports=(9094,),
        plain={"TAILRACE_PROFILE": "staging"},
        namespace="staging",
    )
    assert resources(helm(folder, "staging", values)["manifests"]) == by_place(render(wanted))


def test_a_file_that_is_changed_in_the_chart_is_another_config_map(tmp_path: Path) -> None:
    folder = written(tmp_path / "chart", deployment())
    (folder / "files" / "job.yaml").write_text(ODD)
    wanted = render(deployment(files={"job.yaml": ODD}))
    assert resources(helm(folder)["manifests"]) == by_place(wanted)


@pytest.mark.parametrize(
    "wrong",
    [{"imag": "x"}, {"parallelism": 0}, {"parallelism": "2"}, {"memory": {"python": 0}}, {"bucket": "/tmp"}],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    found = helm(written(tmp_path / "chart", deployment()), values=wrong)
    assert next(iter(wrong)) in found["error"]


def test_a_chart_of_all_jobs_has_each_as_it_is_alone(tmp_path: Path) -> None:
    jobs = [deployment(), deployment(job="fraud.cards", parallelism=3)]
    write_chart(chart_of_all("jobs", jobs), tmp_path / "jobs")
    found = helm(tmp_path / "jobs")
    assert [each for each in found["lint"] if "icon is recommended" not in each["error"]] == []
    assert resources(found["manifests"]) == by_place([*render(jobs[0]), *render(jobs[1])])
    image = "registry.example.org/newer:3"
    values = {"global": {"image": image}, "flight-delay": {"enabled": False}}
    newer = deployment(job="fraud.cards", parallelism=3, image=image)
    assert resources(helm(tmp_path / "jobs", values=values)["manifests"]) == by_place(render(newer))


def test_jobs_of_one_name_make_no_chart() -> None:
    with pytest.raises(InputError, match="must have names of their own; repeated: flight-delay"):
        chart_of_all("jobs", [deployment(), deployment()])


def test_a_chart_is_written_again_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    folder = written(tmp_path / "chart", deployment(files=FULL["files"]))
    (folder / "mine.yaml").write_text("parallelism: 3\n")
    written(folder, deployment())
    assert sorted(path.name for path in (folder / "files").iterdir()) == ["job.yaml"]
    assert (folder / "mine.yaml").read_text() == "parallelism: 3\n"
    other = tmp_path / "other"
    other.mkdir()
    (other / "Chart.yaml").write_text("name: another\n")
    with pytest.raises(InputError, match="must be empty, or hold a chart that tailrace"):
        written(other, deployment())
    assert (other / "Chart.yaml").read_text() == "name: another\n"


def test_all_templates_are_part_of_a_chart_and_of_a_wheel() -> None:
    there = {path.name for path in (PROJECT / "conf" / "helm" / "templates").iterdir()}
    assert there == set(TEMPLATES)
    for name in TEMPLATES:
        for file in ("setup.py", "MANIFEST.in"):
            assert f"conf/helm/templates/{name}" in (PROJECT / file).read_text()


def test_the_terraform_module_uses_what_it_declares() -> None:
    """By a parser of HCL: a variable that is a slip of the pen, or that nothing reads."""
    parser = [HELM[0], str(PROJECT / "tests" / "helpers" / "hcl.py"), str(MODULE)]
    files = json.loads(subprocess.run(parser, check=True, capture_output=True, text=True).stdout)
    declared = {
        name.strip('"'): each for entry in files["variables.tf"]["variable"] for name, each in entry.items()
    }
    assert all(each["type"] and each["description"] for each in declared.values())
    assert set(re.findall(r"\bvar\.(\w+)", json.dumps(files))) == declared.keys()
    [resource] = files["main.tf"]["resource"]
    assert resource.keys() == {'"helm_release"'}
    # Those of the resource in both versions of the provider that versions.tf takes.
    known = {"name", "chart", "namespace", "create_namespace", "timeout", "lint", "max_history", "values"}
    assert resource['"helm_release"']['"jobs"'].keys() - {"__is_block__"} == known


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not here")
def test_what_terraform_gives_to_helm_is_the_job_and_changes_with_it(tmp_path: Path) -> None:
    """The adversary is Helm's provider, which does not look at the chart's files."""
    module, folder = tmp_path / "module", tmp_path / "chart"
    module.mkdir()
    shutil.copy(MODULE / "variables.tf", module)
    # Without the resource: its provider is on the net.
    (module / "main.tf").write_text((MODULE / "main.tf").read_text().partition("resource ")[0])

    def values() -> dict[str, Any]:
        given = 'values={parallelism=7,global={image="registry.example.org/newer:3"}}'
        variables = [f"chart={folder}", "release=r", "namespace=default", given]
        command = ["terraform", "console", *(word for each in variables for word in ("-var", each))]
        asked = "base64encode(jsonencode(merge(var.values, {global = local.global})))"
        env = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
        done = subprocess.run(command, input=asked, cwd=module, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(base64.b64decode(done.stdout.strip().strip('"')))
        return found

    written(folder, deployment())
    before = values()
    wanted = deployment(parallelism=7, image="registry.example.org/newer:3")
    assert resources(helm(folder, values=before)["manifests"]) == by_place(render(wanted))
    assert values() == before
    (folder / "files" / "job.yaml").write_text(ODD)
    assert values() != before
    assert subprocess.run(["terraform", "fmt", "-check", str(MODULE)], capture_output=True).returncode == 0
