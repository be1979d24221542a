"""Runs a plan with PyFlink, which is imported when a job starts: it takes longer than a whole `validate`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Self

from flink_jobs.errors import JobFailedError, TailraceError, WorkError
from flink_jobs.plan import Runnable
from flink_jobs.plan.flink_options import as_uri
from flink_jobs.plan.state import state_of
from flink_jobs.plan.views import Function
from flink_jobs.run.access import Access
from flink_jobs.run.bounded import Ends
from flink_jobs.run.cluster import Cluster, failure_reason, root_cause, worker_traceback
from flink_jobs.run.operators import name_operators, transformations_of
from flink_jobs.run.prediction_schema import with_registered_schema
from flink_jobs.run.savepoints import as_parameter
from flink_jobs.run.shipped import publish, shipped_folder
from flink_jobs.run.tokens import allow_tokens, token_url
from flink_jobs.spec import JobSpec
from flink_jobs.system.jars import connector_jars, token_jars
from flink_jobs.system.processes import FEW_ARENAS, free_port
from flink_jobs.system.temporary import java_temporary, own_folder
from flink_jobs.system.warm_workers import warm_python

POLL_SECONDS = 0.25
# Flink's client itself waits for ever, or until five minutes without a byte and again.
SUBMISSION_SECONDS = 180.0
# Without an end: a TaskManager that is gone for an hour would use up any number of attempts. Alerts tell.
RESTARTS: Mapping[str, str] = {
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.attempts-before-reset-backoff": str(2**31 - 1),
}
_PARAMETERS = "pipeline.global-job-parameters"
FAIL_FAST: Mapping[str, str] = {"restart-strategy.type": "none"}


@dataclass(frozen=True)
class Target:
    """Where to run: a minicluster in this process, or the session cluster behind this REST address.

    With `drop_unknown_state` what the savepoint holds for operators that the job has not is left behind. The
    job remembers `file`, its job file, and `topic_id`, Kafka's id of its source.
    """

    cluster: Access | None = None
    savepoint: str | None = None
    drop_unknown_state: bool = False
    file: str = ""
    topic_id: str = ""


class RunningJob:
    """A submitted job. Leaving the context ends a local one; a job on a cluster goes on."""

    def __init__(
        self, job_id: str, cluster: Cluster, client: Any, scratch: Path | None, ends: Ends | None = None
    ) -> None:
        self.id = job_id
        self._ends = ends
        self.cluster = cluster
        self._client = client
        self._scratch = scratch
        self._result: Any = None

    def wait(self, on_progress: Callable[[Counter[str]], None] | None = None) -> bool:
        """Returns when the job has ended: whether by itself, and not cancelled.

        Raises JobFailedError if it failed. `on_progress` gets Tailrace's counters about four times a second.
        """
        while not self.ended():
            if on_progress:
                with contextlib.suppress(WorkError):
                    on_progress(self.cluster.counts(self.id))
            time.sleep(POLL_SECONDS)
        try:
            self._future().result()
        except Exception as error:
            trace = _java_trace(error)
            if "JobCancellationException" not in trace:
                raise JobFailedError(failure_reason(trace), worker_traceback(trace)) from error
            return False
        if self._ends:
            self._ends.commit()
        return True

    def keep_logs(self) -> Path:
        """What Flink logged, in a folder that stays when the job's own is deleted."""
        kept = Path(tempfile.mkdtemp(prefix="tailrace-logs-"))
        for folder in {Path(os.environ["FLINK_LOG_DIR"]), *filter(None, [self._scratch])}:
            for log in folder.glob("*.log*"):
                shutil.copy(log, kept / log.name)
        return kept

    def ended(self) -> bool:
        return bool(self._future().done())

    def cancel(self) -> None:
        self._client.cancel().result()

    def stop(self, directory: str) -> str:
        """Stops with a savepoint, whose path it gives."""
        self._ends = None  # which are not reached
        return self.cluster.stop(self.id, as_uri(directory))

    def finish(self, *, drain: bool = False) -> None:
        """Ends a local job with a last checkpoint, so that all that it has read is committed.

        With `drain` windows take all that they hold for complete, as at the end of a bounded topic.
        """
        self._ends = None  # which are not reached
        self.cluster.stop(self.id, as_uri(f"{self._scratch}/savepoints"), drain=drain)

    def _future(self) -> Any:
        """The result to come; a minicluster answers nothing else once its job has ended."""
        if self._result is None:
            self._result = self._client.get_job_execution_result()
        return self._result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._scratch is None:
            return
        if not self.ended():
            self.cancel()
            self.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if error is None:
            _archive_classes()


def start(plan: Runnable, target: Target) -> RunningJob:
    """Submits the plan's job; returns as soon as the cluster has taken it.

    Raises WorkError when Flink refuses it, be it for an option under `runtime.flink`, or does not answer, and
    what the registration of a schema, the store of what workers need, or a look at the end of a bounded
    topic, raises.
    """
    for name, value in {"JVM_ARGS": f"-XX:+UseParallelGC {java_temporary()}", **FEW_ARENAS}.items():
        os.environ.setdefault(name, value)
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 (Flink's name)
    scratch = None if target.cluster else own_folder("run")
    os.environ.setdefault("FLINK_LOG_DIR", str(scratch or tempfile.gettempdir()))
    try:
        if not target.cluster:
            _begin_java()
        plan = with_registered_schema(plan)
        publish(plan)
        ends = Ends.of(plan) if plan.bounded else None
        if ends:
            plan = ends.bound(plan)
        options = _options(plan, target, scratch)
        with _submitting():
            if (url := token_url(plan.job)) and not target.cluster:
                allow_tokens(url)
            environments = _environment(options)
            client = _within(SUBMISSION_SECONDS, _submission(plan, environments))
    except BaseException:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    access = target.cluster or Access(f"http://127.0.0.1:{options['rest.port']}")
    return RunningJob(str(client.get_job_id()), Cluster(access), client, scratch, ends)


def _begin_java() -> None:
    """Java and the workers' libraries are loaded while the plan is completed."""
    from flink_jobs.run.jvm import begin_gateway  # Start-up: imports pyflink.  # noqa: PLC0415

    begin_gateway()
    warm_python()


def _archive_classes() -> None:
    from flink_jobs.run.jvm import archive_classes  # Start-up: imports pyflink.  # noqa: PLC0415

    archive_classes()


def start_inside(plan: Runnable) -> str:
    """Submits the plan's job on the application cluster whose JobManager runs this process; its id.

    The jars of Tailrace are on that cluster's class path. Raises like `start`.
    """
    plan = with_registered_schema(plan)
    publish(plan)
    options = {
        "python.files": str(shipped_folder(plan.job)),
        "python.executable": plan.job.runtime.python or sys.executable,  # one image for all
        **dict(plan.options),
        _PARAMETERS: _parameters(plan),
    }
    with _submitting():
        return str(_submission(plan, _environment(options))().get_job_id())


def recovered_inside() -> bool:
    """Whether the application cluster that runs this process goes on with a job that it had before.

    Its leader finds such jobs where high availability keeps them, and `execute` then takes one up again.
    """
    from pyflink.java_gateway import get_gateway  # Start-up: slow.  # noqa: PLC0415

    from flink_jobs.run.jvm import field_of  # Start-up: imports pyflink.  # noqa: PLC0415

    java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    environment = java.getExecutionEnvironment()
    loader = field_of(environment, "executorServiceLoader").get(environment)
    if loader.getClass().getSimpleName() != "EmbeddedExecutorServiceLoader":
        return False
    return any(
        not field_of(loader, name).get(loader).isEmpty() for name in ("suspendedJobIds", "terminalJobIds")
    )


@contextlib.contextmanager
def _submitting() -> Iterator[None]:
    """Raises WorkError for whatever Java says against the job."""
    try:
        yield
    except TailraceError:
        raise
    except Exception as error:
        raise WorkError(f"the job could not be submitted: {root_cause(_java_trace(error))}") from error


def execution_plan(plan: Runnable) -> str:
    """Flink's own account of what it will run, as JSON: `nodes` are its operators."""
    tables, environment = _environment(_options(plan, Target(), None))
    _attach(plan, (tables, environment))
    return str(environment.get_execution_plan())


def _options(plan: Runnable, target: Target, scratch: Path | None) -> dict[str, str]:
    """All Flink options; the job file's own override ours."""
    options = {"python.files": str(shipped_folder(plan.job)), **_jars(plan, target)}
    if target.savepoint:
        options["execution.state-recovery.path"] = as_uri(target.savepoint)
        options["execution.state-recovery.ignore-unclaimed-state"] = str(target.drop_unknown_state).lower()
    if target.cluster:
        options |= {**RESTARTS} | _remote(target.cluster)
        if python := _worker_python(plan.job):
            options["python.executable"] = python
    else:
        options |= {**FAIL_FAST} | _local(scratch)
    options["python.client.executable"] = sys.executable
    return options | dict(plan.options) | {_PARAMETERS: _parameters(plan, target.file, target.topic_id)}


def _parameters(plan: Runnable, file: str = "", topic_id: str = "") -> str:
    """The job's own parameters, with the account of its state."""
    state = as_parameter(state_of(plan, file, topic_id))
    return ",".join(filter(None, [plan.options.get(_PARAMETERS), state]))


def _worker_python(job: JobSpec) -> str | None:
    """The interpreter on the cluster's machines; this one's path says nothing to machines that are others."""
    if job.runtime.python:
        return job.runtime.python
    return None if job.runtime.artifacts else sys.executable


def _jars(plan: Runnable, target: Target) -> dict[str, str]:
    """A session cluster needs flink-python too, as no client of its own adds it."""
    jars = connector_jars() + (token_jars() if token_url(plan.job) else [])
    if target.cluster:
        import pyflink  # Start-up: slow.  # noqa: PLC0415

        jars += (Path(pyflink.__file__).parent / "opt").glob("flink-python-*.jar")
    return {"pipeline.jars": ";".join(jar.resolve().as_uri() for jar in jars)}


def _remote(cluster: Access) -> dict[str, str]:
    os.environ.update(cluster.environment())  # before its JVM starts, which reads it there
    options = cluster.java(own_folder("access"))
    return {"execution.target": "remote", "execution.attached": "false", **options}


def _local(scratch: Path | None) -> dict[str, str]:
    directory = scratch or Path(tempfile.gettempdir())
    return {
        "python.executable": warm_python() if scratch else sys.executable,
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": (port := str(free_port())),
        "rest.bind-port": port,
        "metrics.fetcher.update-interval": "500",
        "execution.checkpointing.dir": as_uri(str(directory / "checkpoints")),
        "io.tmp.dirs": str(directory),
        "classloader.resolve-order": "parent-first",  # whose jars are on Java's own class path
        "taskmanager.memory.managed.size": "512m",
    }


def _environment(options: Mapping[str, str]) -> tuple[Any, Any]:
    from pyflink.common import Configuration  # Start-up: slow.  # noqa: PLC0415
    from pyflink.datastream import StreamExecutionEnvironment  # Start-up: slow.  # noqa: PLC0415
    from pyflink.java_gateway import get_gateway  # Start-up: slow.  # noqa: PLC0415
    from pyflink.table import StreamTableEnvironment  # Start-up: slow.  # noqa: PLC0415

    from flink_jobs.run.idleness import patient_idleness  # Start-up: imports pyflink.  # noqa: PLC0415

    _, jar = patient_idleness()
    jars = ";".join(filter(None, [options.get("pipeline.jars"), jar.as_uri()]))
    configuration = Configuration()
    for key, value in (dict(options) | {"pipeline.jars": jars}).items():
        configuration.set_string(key, value)
    if "execution.target" in options:
        java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
        environment = StreamExecutionEnvironment(java(configuration._j_configuration))
    else:
        environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    return StreamTableEnvironment.create(environment), environment


def _submission(plan: Runnable, environments: tuple[Any, Any]) -> Callable[[], Any]:
    """What submits the job, which is ready for it."""
    _attach(plan, environments)
    return lambda: environments[1].execute_async(plan.job.job)


def _within(seconds: float, submit: Callable[[], Any]) -> Any:
    """What `submit` gives or raises. Raises WorkError where it does neither in time: its thread goes on."""
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(submit())
        except BaseException as error:
            found.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return found.result(seconds)
    except FutureTimeoutError:
        if found.done():  # with an error of that kind
            raise
        raise WorkError(
            f"the cluster has not said within {seconds:.0f} s whether it took the job, which may run all the "
            "same: see tailrace jobs and the JobManager's log before you try again"
        ) from None


def _attach(plan: Runnable, environments: tuple[Any, Any]) -> None:
    tables, environment = environments
    statements = _statements(plan, environments)
    if plan.drift or plan.controller or plan.quality:
        from flink_jobs.run.reports import attach_monitor  # Start-up: imports pyflink.  # noqa: PLC0415

        attach_monitor(plan, tables, environment, statements)
    else:
        statements.attach_as_datastream()
    name_operators(environment)
    _be_patient(plan, environment)


def _be_patient(plan: Runnable, environment: Any) -> None:
    from flink_jobs.run.idleness import be_patient, client_ids  # Start-up: imports pyflink.  # noqa: PLC0415

    read = {
        table.name: table.options for table in plan.tables if "scan.watermark.idle-timeout" in table.options
    }
    changed = be_patient(
        transformations_of(environment), {name: client_ids(options) for name, options in read.items()}
    )
    if "source" not in changed:
        raise RuntimeError(f"the job must read its source; it reads {sorted(changed)}")


def _statements(plan: Runnable, environments: tuple[Any, Any]) -> Any:
    tables, environment = environments
    for table in plan.tables:
        tables.execute_sql(table.ddl(reveal=True))
    for name, function in plan.views.functions.items():
        tables.create_temporary_function(name, _udf(function))
    for name, view in plan.views.views.items():
        if isinstance(view, str):
            tables.create_temporary_view(name, tables.sql_query(view))
        else:
            from flink_jobs.run.windows import attach_windows  # Start-up: imports pyflink.  # noqa: PLC0415

            attach_windows(view, tables, environment)
    statements = tables.create_statement_set()
    for insert in plan.views.inserts.values():
        statements.add_insert_sql(insert)
    return statements


def _udf(function: Function) -> Any:
    from pyflink.table import DataTypes  # Start-up: slow.  # noqa: PLC0415
    from pyflink.table.udf import udf  # Start-up: slow.  # noqa: PLC0415

    from udfs.flink import functions as flink  # Start-up: imports pyflink.  # noqa: PLC0415

    types = {
        "TINYINT": DataTypes.TINYINT(),
        "BYTES": DataTypes.BYTES(),
        "STRING": DataTypes.STRING(),
        "DOUBLE": DataTypes.DOUBLE(),
        "BIGINT": DataTypes.BIGINT(),
        "BOOLEAN": DataTypes.BOOLEAN(),
        "MAP<INT, BYTES>": DataTypes.MAP(DataTypes.INT(), DataTypes.BYTES()),
    }
    result = DataTypes.ROW([DataTypes.FIELD(name, types[kind]) for name, kind in function.result])
    instance = getattr(flink, function.kind)(function.params, function.columns)
    return udf(instance, result_type=result, func_type="pandas")


def _java_trace(error: BaseException) -> str:
    """The Java stack trace of an error that came through the gateway, else its text."""
    java = getattr(error, "java_exception", None)
    if java is None:
        return str(error)
    from pyflink.java_gateway import get_gateway  # Start-up: slow.  # noqa: PLC0415

    return str(get_gateway().jvm.org.apache.flink.util.ExceptionUtils.stringifyException(java))
