from flink_jobs.errors import (
    Diagnostic,
    InputError,
    JobFailedError,
    JobFileError,
    TailraceError,
    WorkError,
)
from flink_jobs.history import Replay, read_records
from flink_jobs.jobfile import load_job, load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.testing import JobHarness, broker, record
from flink_jobs.training import EveryNthDay, LastShare, Trainer
from flink_jobs.training.contract import Parameters, Suggest
from udfs.errors import ModelError, StoreError
from udfs.model.manifest import Input, Manifest, Output, Signature
from udfs.profile.profile import reference_profile

_MODULES: dict[str, str]

__all__ = [
    "Diagnostic",
    "EveryNthDay",
    "Input",
    "InputError",
    "JobFailedError",
    "JobFileError",
    "JobHarness",
    "JobSpec",
    "LastShare",
    "Manifest",
    "ModelError",
    "Output",
    "Parameters",
    "Plan",
    "Registry",
    "Replay",
    "Signature",
    "StoreError",
    "Suggest",
    "TailraceError",
    "Trainer",
    "WorkError",
    "broker",
    "load_job",
    "load_job_text",
    "make_plan",
    "read_records",
    "record",
    "reference_profile",
]
