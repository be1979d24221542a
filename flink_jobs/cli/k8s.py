"""`tailrace k8s render` and `chart`: a job as resources of the Flink Kubernetes operator, or a Helm chart."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from flink_jobs.cli.connection import environment
from flink_jobs.cli.sizing import sized
from flink_jobs.errors import InputError
from flink_jobs.jobfile import profiles
from flink_jobs.jobfile.project import project_of
from flink_jobs.jobfile.raw import job_text, profile_text, variables_in
from flink_jobs.kubernetes import Deployment, Measured, Mode, as_yaml, memory_of, render
from flink_jobs.kubernetes.chart import chart, chart_of_all, write_chart
from flink_jobs.kubernetes.names import checked_bucket, checked_image, checked_label
from flink_jobs.plan import Plan
from flink_jobs.plan.lookups import file_lookups
from flink_jobs.plan.validate import validated_plan
from flink_jobs.registry import Registry
from flink_jobs.registry.footprint import footprint
from flink_jobs.system.addresses import WEB_URL
from flink_jobs.system.terminal import say

k8s = typer.Typer(no_args_is_help=True, help="Kubernetes: a job for the Flink operator.")


@k8s.callback()
def _group() -> None:
    """Commands of Kubernetes."""


Image = Annotated[
    str, typer.Option(metavar="IMAGE", help="An image as of conf/docker/Dockerfile.", show_default=False)
]
Bucket = Annotated[
    str,
    typer.Option(
        metavar="URI", help="Where checkpoints, savepoints and leaders are kept.", show_default=False
    ),
]
Secret = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The Secret with the file's variables. Default: JOB-env.", show_default=False
    ),
]
Session = Annotated[
    str,
    typer.Option(metavar="NAME", help="A job for this session cluster, and no cluster.", show_default=False),
]
BlueGreen = Annotated[bool, typer.Option("--blue-green", help="Start the new job beside the old one.")]
Autoscale = Annotated[bool, typer.Option("--autoscale", help="Let the operator choose the parallelism.")]
Cpu = Annotated[float, typer.Option(min=0.1, max=64, help="Cores of each TaskManager.")]
Size = Annotated[
    float | None,
    typer.Option(
        min=0.001, help="Refuse a parallelism that is too low for so many records/s.", show_default=False
    ),
]
Otlp = Annotated[
    str,
    typer.Option(metavar="URL", help="Send metrics to this OpenTelemetry collector.", show_default=False),
]
InImage = Annotated[bool, typer.Option("--in-image", help="The image has what the job file names by path.")]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that all commands here have."""

    image: str
    bucket: str
    secret: str
    session: str
    blue_green: bool
    autoscale: bool
    cpu: float
    size: float | None
    otlp: str
    in_image: bool
    namespace: str = "default"


@k8s.command("render")
def _render(
    file: Annotated[Path, typer.Argument(help="The job file.", show_default=False)],
    image: Image,
    bucket: Bucket,
    namespace: Annotated[str, typer.Option(metavar="NAME", help="The namespace.")] = "default",
    secret: Secret = "",
    session: Session = "",
    blue_green: BlueGreen = False,
    autoscale: Autoscale = False,
    cpu: Cpu = 1.0,
    size: Size = None,
    otlp: Otlp = "",
    in_image: InImage = False,
) -> None:
    """Print the resources of the Flink Kubernetes operator that run a job; nothing is applied.

    Memory is that of the champion, which is loaded once to measure it. Variables of the job file become
    references to a Secret; their values are not looked at.

    [bold]Examples[/]

      tailrace k8s render job.yaml --image registry.example.org/tailrace:1 --bucket s3://bucket/tailrace

      tailrace --profile prod k8s render job.yaml --image … --bucket … | kubectl apply -f -
    """
    asked = Asked(
        image=image,
        bucket=bucket,
        namespace=namespace,
        secret=secret,
        session=session,
        blue_green=blue_green,
        autoscale=autoscale,
        cpu=cpu,
        size=size,
        otlp=otlp,
        in_image=in_image,
    )
    say(as_yaml(render(_deployment(file, asked))).rstrip("\n"))


@k8s.command("chart")
def _chart(
    files: Annotated[list[Path], typer.Argument(help="The job files.", show_default=False)],
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the chart is written.", show_default=False)
    ],
    image: Image,
    bucket: Bucket,
    secret: Secret = "",
    session: Session = "",
    blue_green: BlueGreen = False,
    autoscale: Autoscale = False,
    cpu: Cpu = 1.0,
    size: Size = None,
    otlp: Otlp = "",
    in_image: InImage = False,
) -> None:
    """Write a Helm chart that gives what [bold]k8s render[/] prints; of several jobs one chart with all.

    Options are its values, which helm changes for each place. A folder with such a chart is written again.

    [bold]Examples[/]

      tailrace k8s chart job.yaml --to chart --image registry.example.org/tailrace:1 --bucket s3://bucket/jobs

      helm upgrade --install flights chart --namespace ml --set parallelism=4
    """
    asked = Asked(
        image=image,
        bucket=bucket,
        secret=secret,
        session=session,
        blue_green=blue_green,
        autoscale=autoscale,
        cpu=cpu,
        size=size,
        otlp=otlp,
        in_image=in_image,
    )
    deployments = [_deployment(file, asked) for file in files]
    if len(deployments) == 1:
        written = chart(deployments[0])
    else:
        written = chart_of_all(checked_label(to.resolve().name, "--to"), deployments)
    write_chart(written, to)
    say(f"{to}: a chart of {', '.join(each.job for each in deployments)}")


def _deployment(file: Path, asked: Asked) -> Deployment:
    plan = validated_plan(file, environ=environment())
    mode: Mode = "session" if asked.session else "blue_green" if asked.blue_green else "application"
    _check(plan, mode, in_image=asked.in_image)
    image, bucket = checked_image(asked.image), checked_bucket(asked.bucket)
    for option, name in (("--session", asked.session), ("--secret", asked.secret)):
        if name:
            checked_label(name, option)
    namespace = checked_label(asked.namespace, "--namespace")
    memory = Measured(*footprint(_folder(plan)))
    _check_size(plan, asked.size, memory, asked.cpu)
    return Deployment(
        job=plan.job.job,
        files=_files(file),
        image=image,
        bucket=bucket,
        memory=memory_of(memory),
        flink_version="v" + "_".join(metadata.version("apache-flink").split(".")[:2]),
        parallelism=plan.job.runtime.parallelism,
        mode=mode,
        session=asked.session or "",
        namespace=namespace,
        secret=asked.secret or "",
        variables=_variables(file),
        plain=_plain(plan),
        ports=(*_ports(plan), *([_port(asked.otlp)] if asked.otlp else [])),
        autoscale=asked.autoscale,
        cpu=asked.cpu,
        otlp=asked.otlp,
    )


def _folder(plan: Plan) -> str:
    return Registry(plan.job.model.registry).location(plan.manifest.name, plan.manifest.version)


def _check(plan: Plan, mode: Mode, *, in_image: bool) -> None:
    """Raises InputError for what pods would not find, and for a mode that writes outputs twice."""
    job = plan.job
    local = {"model.registry": job.model.registry, "runtime.checkpoint.dir": job.runtime.checkpoint.dir}
    local |= {f"features.lookups.{name}.file": file for name, file in file_lookups(job).items()}
    local |= {
        f"features.lookups.{name}.database.file": each.database.file
        for name, each in job.features.lookups.items()
        if each.database
    }
    found = [key for key, place in local.items() if place is not None and "://" not in str(place)]
    if found and not in_image:
        raise InputError(
            f"{', '.join(found)}: must be a URI that pods reach, or with --in-image a path in the image"
        )
    if mode == "blue_green" and job.runtime.delivery == "exactly_once":
        raise InputError(
            "--blue-green runs the old and the new job beside each other for a while, which writes outputs "
            "twice: runtime.delivery must be at_least_once"
        )


def _check_size(plan: Plan, size: float | None, memory: Measured, cpu: float) -> None:
    if size is None:
        return
    needs = sized(plan, size, cpu=cpu, memory=memory).needs
    if plan.job.runtime.parallelism < needs.parallelism:
        raise InputError(
            f"runtime.parallelism must be at least {needs.parallelism} for {size:,.0f} records/s, as "
            f"tailrace plan --size says; got {plan.job.runtime.parallelism}"
        )


def _files(file: Path) -> dict[str, str]:
    project = project_of(file, os.environ)
    found = {"job.yaml": job_text(file, project.path if project else None)}
    chosen = profiles.chosen_profile(environment())
    if chosen.name is not None:
        found["profiles.yaml"] = profile_text(profiles.profiles_file(os.environ), chosen.name)
    return found


def _variables(file: Path) -> dict[str, bool]:
    """Names of the variables of all files; whether each has a default wherever it stands."""
    named: dict[str, bool] = {}
    for text in _files(file).values():
        for name, optional in variables_in(text):
            named[name] = named.get(name, True) and optional
    return named


def _plain(plan: Plan) -> dict[str, str]:
    """What the environment has said here about where things are, and what the files' place there is."""
    chosen = profiles.chosen_profile(environment())
    plain = {}
    if (brokers := profiles.brokers_of(environment())) and brokers == plan.job.kafka.brokers:
        plain["TAILRACE_BROKERS"] = brokers
    if (place := os.environ.get("TAILRACE_MODELS")) and place == str(plan.job.model.registry):
        plain["TAILRACE_MODELS"] = place
    if chosen.name is not None:
        plain |= {
            "TAILRACE_PROFILES": "/opt/tailrace/job/profiles.yaml",
            "TAILRACE_PROFILE": chosen.name,
        }
    return plain


def _port(url: str) -> int:
    """Raises InputError for a collector that is none."""
    if not re.fullmatch(WEB_URL, url):
        raise InputError(f"--otlp must be http://host:port/path or https://host/path; got {url!r}")
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _ports(plan: Plan) -> tuple[int, ...]:
    return tuple(int(port) for port in re.findall(r":(\d+)(?:,|$)", str(plan.job.kafka.brokers)))
