"""Resources by the operator's and Kubernetes' own schemas, whoever named the job and wrote its file."""

from __future__ import annotations

import base64
import gzip
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.errors import InputError
from flink_jobs.kubernetes import Measured, Mode, as_yaml, memory_of, render
from flink_jobs.kubernetes.names import checked_bucket, checked_image, checked_label, resource_name
from flink_jobs.spec import JOB_NAME
from flink_jobs.system.data import PROJECT
from tests.helpers.examples import examples
from tests.helpers.kubernetes import deployment

CRDS = Path(__file__).with_name("crds")
VALIDATE = PROJECT / ".venv-tools" / "bin" / "kubernetes-validate"
MODES: tuple[Mode, ...] = ("application", "session", "blue_green")


@cache
def schemas() -> dict[str, Any]:
    """Kind to schema, of the operator's own definitions."""
    found = {}
    for path in sorted(CRDS.glob("*.yml.gz")):
        spec = yaml.load(gzip.decompress(path.read_bytes()), Loader=yaml.CSafeLoader)["spec"]
        found[spec["names"]["kind"]] = strict(spec["versions"][0]["schema"]["openAPIV3Schema"])
    return found


@cache
def validator(kind: str) -> Any:
    """Made once: reading such a schema takes seconds."""
    return jsonschema.Draft202012Validator({**schemas()[kind], "additionalProperties": True})


def strict(schema: Any) -> Any:
    """As an API server reads it: what is not known is pruned, so here it is an error."""
    if not isinstance(schema, dict):
        return schema
    made = {
        key: strict(value) if key in ("items", "additionalProperties") else value
        for key, value in schema.items()
    }
    if "properties" in schema:
        made["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
        made.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


def by_kind(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in resources}


@pytest.mark.parametrize("mode", MODES)
def test_the_operator_takes_its_resources(mode: Mode) -> None:
    found = by_kind(render(deployment(mode=mode, autoscale=True)))
    flink = next(each for kind, each in found.items() if kind in schemas())
    body = {key: flink[key] for key in ("spec",)}
    validator(flink["kind"]).validate(body)
    assert flink["apiVersion"] == "flink.apache.org/v1beta1"


def test_the_schemas_refuse_what_the_operator_would_drop() -> None:
    """The check itself: a key that is not there, a type that is wrong."""
    for wrong in ({"imag": "x"}, {"flinkVersion": "v9_9"}, {"job": {"parallelism": "2"}}):
        with pytest.raises(jsonschema.ValidationError):
            validator("FlinkDeployment").validate({"spec": wrong})


def test_kubernetes_takes_the_rest(tmp_path: Path) -> None:
    """Strictly, by the schemas of two versions of Kubernetes; the template's pod as a Pod of its own."""
    core = [
        each
        for each in render(deployment())
        if "flink" not in each["apiVersion"] and "coreos" not in each["apiVersion"]
    ]
    flink = by_kind(render(deployment()))["FlinkDeployment"]
    pod = flink["spec"]["podTemplate"]
    pod["spec"]["containers"][0]["image"] = "the-operators-to-set"
    assert {each["kind"] for each in core} == {
        *("ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap")
    }
    (tmp_path / "all.yaml").write_text(as_yaml([*core, pod]))
    for version in ("1.32", "1.37"):
        command = [str(VALIDATE), "--strict", "-k", version, str(tmp_path / "all.yaml")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", ["application", "blue_green"])
def test_a_pod_may_do_little_and_writes_only_what_is_its_own(mode: Mode) -> None:
    spec = next(each for each in render(deployment(mode=mode)) if each["kind"].startswith("Flink"))["spec"]
    spec = spec["template"]["spec"] if mode == "blue_green" else spec
    pod, container = spec["podTemplate"]["spec"], spec["podTemplate"]["spec"]["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    writable = {each["name"] for each in container["volumeMounts"] if not each.get("readOnly")}
    assert writable == {each["name"] for each in pod["volumes"] if "emptyDir" in each}
    options = spec["flinkConfiguration"]
    assert options["taskmanager.numberOfTaskSlots"] == "1"
    assert options["high-availability.type"] == "kubernetes"
    assert all(type(value) is str for value in options.values())
    places = [value for key, value in options.items() if key.endswith(("dir", "Dir"))]
    assert all(place.startswith("s3://bucket/tailrace/flight-delay/") for place in places)
    assert spec["job"]["upgradeMode"] == "savepoint"


def test_secrets_are_named_and_never_there() -> None:
    made = render(deployment(secret="kafka", variables={"KAFKA_PASSWORD": False, "LEVEL": True}))
    env = by_kind(made)["FlinkDeployment"]["spec"]["podTemplate"]["spec"]["containers"][0]["env"]
    references = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "valueFrom" in each}
    assert references == {
        "KAFKA_PASSWORD": {"name": "kafka", "key": "KAFKA_PASSWORD", "optional": False},
        "LEVEL": {"name": "kafka", "key": "LEVEL", "optional": True},
    }
    assert "Secret" not in by_kind(made)


def test_a_changed_file_is_another_config_map_so_that_the_operator_upgrades() -> None:
    before, after = (by_kind(render(deployment(files={"job.yaml": text}))) for text in ("a: 1\n", "a: 2\n"))
    assert before["ConfigMap"]["metadata"]["name"] != after["ConfigMap"]["metadata"]["name"]
    assert before["FlinkDeployment"]["spec"] != after["FlinkDeployment"]["spec"]
    again = by_kind(render(deployment(files={"job.yaml": "a: 1\n"})))
    assert again == before


def test_a_session_job_brings_its_file_along() -> None:
    text = "job: ünïcode\n"
    [job] = render(deployment(mode="session", files={"job.yaml": text}))
    word = job["spec"]["job"]["args"][-1]
    assert base64.b64decode(word.removeprefix("base64:")).decode() == text


def test_brokers_and_metrics_pass_the_network_policy() -> None:
    policy = by_kind(render(deployment(ports=(9093, 19093))))["NetworkPolicy"]["spec"]
    ports = {each["port"] for rule in policy["egress"] for each in rule.get("ports", [])}
    assert ports == {53, 443, 6443, 9093, 19093}
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_pods_that_selectors_mean_have_their_labels() -> None:
    found = by_kind(render(deployment()))
    labels = found["FlinkDeployment"]["spec"]["podTemplate"]["metadata"]["labels"] | {
        "component": "taskmanager"
    }
    for selector in (
        found["NetworkPolicy"]["spec"]["podSelector"],
        found["PodDisruptionBudget"]["spec"]["selector"],
        found["PodMonitor"]["spec"]["selector"],
    ):
        assert selector["matchLabels"].items() <= labels.items()


@settings(max_examples=examples(300), deadline=None)
@given(st.from_regex(JOB_NAME, fullmatch=True))
def test_any_job_name_becomes_a_name_that_kubernetes_takes(name: str) -> None:
    """RFC 1035 labels, at most 45 characters, as Flink's cluster ids are; and label values of at most 63."""
    made = resource_name(name)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,43}[a-z0-9])?", made)
    assert resource_name(name) == made
    for each in render(deployment(job=name)):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", each["metadata"]["name"])


def test_names_that_look_alike_stay_apart() -> None:
    names = ["a.b", "a-b", "a_b", "a--b", "1", "job-1", "x" * 63, "x" * 62 + "y", "x" * 45]
    assert len({resource_name(name) for name in names}) == len(names)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)
LINES = st.lists(
    st.sampled_from(["a: 1", "  b", "", " ", "---", "...", "# no", "yes", "\t", "- x", "é", "'"])
).map("\n".join)
WORDS = st.sampled_from(
    ["yes", "off", "~", "1:30", "0o7", "1e3", "null", "", " x", "a: b", "# c", "{{ x }}", "2026-01-01"]
)


@settings(max_examples=examples(600), deadline=None)
@given(st.one_of(TEXTS, LINES, WORDS), st.one_of(TEXTS, WORDS))
def test_yaml_is_read_as_it_was_meant(text: str, other: str) -> None:
    """By a parser of YAML 1.1, as kubectl's is; a value never becomes a number, a key or another document."""
    document = {
        "kind": "ConfigMap",
        "data": {"job.yaml": text, "k": other},
        "list": [other, {"n": text, "m": 1}, []],
    }
    assert list(yaml.safe_load_all(as_yaml([document, {"other": True}]))) == [document, {"other": True}]


@settings(max_examples=examples(100), deadline=None)
@given(st.one_of(TEXTS, WORDS))
def test_odd_keys_stay_keys(key: str) -> None:
    assert yaml.safe_load(as_yaml([{"data": {key: "v"}}])) == {"data": {key: "v"}}


@pytest.mark.parametrize("wrong", ["", "A", "-a", "a-", "a.b", "a" * 64, "a\n", "a b", "$(x)"])
def test_names_that_are_given_must_be_names(wrong: str) -> None:
    with pytest.raises(InputError, match="--namespace must be"):
        checked_label(wrong, "--namespace")


@pytest.mark.parametrize("wrong", ["", "a b", "a\nb", "-x", "$(x)", "{{ x }}"])
def test_images_must_be_images(wrong: str) -> None:
    with pytest.raises(InputError, match="--image must be"):
        checked_image(wrong)


@pytest.mark.parametrize("wrong", ["/tmp/x", "file:///x", "https://x/y", "s3://", "s3://b/ c", "s3://b/\n"])
def test_a_bucket_is_a_place_that_all_reach(wrong: str) -> None:
    with pytest.raises(InputError, match="--bucket must be"):
        checked_bucket(wrong)
    assert checked_bucket("s3://bucket/a/") == "s3://bucket/a"


@pytest.mark.parametrize("mebibytes", [6_000, pytest.param(10, marks=pytest.mark.long)])
def test_flink_itself_can_divide_the_memory(tmp_path: Path, mebibytes: int) -> None:
    """By the program with which Flink's own scripts divide it, for a large and a small model."""
    import pyflink

    home = Path(pyflink.__file__).parent
    (tmp_path / "config.yaml").write_text("{}\n")
    memory = memory_of(Measured(300 * 2**20, (300 + mebibytes) * 2**20))
    given_options = {**memory.options(), "taskmanager.memory.process.size": f"{memory.total}m"}
    classes = f"{home}/bin/bash-java-utils.jar:" + ":".join(map(str, (home / "lib").glob("*.jar")))
    command = [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        classes,
        "org.apache.flink.runtime.util.bash.BashJavaUtils",
    ]
    words = [word for key, value in given_options.items() for word in ("-D", f"{key}={value}")]
    done = subprocess.run(
        [*command, "GET_TM_RESOURCE_PARAMS", "--configDir", str(tmp_path), *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    heap = int(re.findall(r"-Xmx(\d+)", done.stdout)[0]) / 2**20
    assert heap == 512 + 128
    managed = re.findall(r"taskmanager.memory.managed.size=(\d+)b", done.stdout)[0]
    assert int(managed) == memory.python * 2**20 >= (300 + 2 * mebibytes) * 2**20
