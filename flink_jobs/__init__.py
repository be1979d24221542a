"""Tailrace: declarative streaming model inference on Apache Flink (the part that runs in the client).

What a project of your own imports comes from here; each name's module is imported when it is first used:

>>> from flink_jobs import InputError
>>> InputError.__module__
'flink_jobs.errors'

The types of these names are in `__init__.pyi`.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "Diagnostic": "flink_jobs.errors",
    "EveryNthDay": "flink_jobs.training",
    "Input": "udfs.model.manifest",
    "InputError": "flink_jobs.errors",
    "JobFailedError": "flink_jobs.errors",
    "JobFileError": "flink_jobs.errors",
    "JobHarness": "flink_jobs.testing",
    "JobSpec": "flink_jobs.spec",
    "LastShare": "flink_jobs.training",
    "Manifest": "udfs.model.manifest",
    "ModelError": "udfs.errors",
    "Output": "udfs.model.manifest",
    "Parameters": "flink_jobs.training.contract",
    "Plan": "flink_jobs.plan",
    "Registry": "flink_jobs.registry",
    "Replay": "flink_jobs.history",
    "Signature": "udfs.model.manifest",
    "StoreError": "udfs.errors",
    "Suggest": "flink_jobs.training.contract",
    "TailraceError": "flink_jobs.errors",
    "Trainer": "flink_jobs.training",
    "WorkError": "flink_jobs.errors",
    "broker": "flink_jobs.testing",
    "load_job": "flink_jobs.jobfile",
    "load_job_text": "flink_jobs.jobfile",
    "make_plan": "flink_jobs.plan",
    "read_records": "flink_jobs.history",
    "record": "flink_jobs.testing",
    "reference_profile": "udfs.profile.profile",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
