"""Records in Protobuf without a registry, by a file of the job's own.

The adversaries are a file of other messages, one that protoc refuses, and a machine without protoc. Records
are written by protobuf's own library.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from google.protobuf import json_format, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from flink_jobs.plan.params import source_params
from flink_jobs.plan.validate import validated_plan
from tests.helpers.diagnosed import diagnosed
from tests.helpers.protobuf_records import PAYMENT, message_class
from tests.helpers.samples import write_model
from udfs.records.decode import decode_batch
from udfs.records.formats import make_decoder
from udfs.records.personal import PrivacyParams

JOB = """\
job: paid
source:
  topic: payments
  format: protobuf
  schema_file: payment.desc
  message: shop.Payment
  schema:
    id: {type: long, required: true}
    amount: {type: double, required: true}
    country: {type: string, field: user.country}
    at: string
model: {name: m, registry: models, inputs: {x: amount}}
"""
MESSAGES = "given, as one of shop.Other, shop.Payment, shop.Payment.User, shop.Node"
Payment = message_class(PAYMENT, "shop.Payment")
ROW = {"id": 7, "amount": 2.5, "country": "NZ", "at": "2013-07-01T05:17:00.000000000Z"}


def descriptors() -> bytes:
    """As protoc writes them: what is imported comes first."""
    known = [each.DESCRIPTOR for each in (timestamp_pb2, wrappers_pb2)]
    files = [FileDescriptorProto.FromString(each.serialized_pb) for each in known]
    own = json_format.ParseDict(PAYMENT, FileDescriptorProto())
    found: bytes = FileDescriptorSet(file=[*files, own]).SerializeToString()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "payment.desc").write_bytes(descriptors())
    return tmp_path


def problems(folder: Path, text: str = JOB) -> list[str]:
    return diagnosed(folder, text)


def test_records_are_bare_messages_of_the_file(folder: Path) -> None:
    assert problems(folder) == []
    params = source_params(validated_plan(folder / "job.yaml").job, PrivacyParams())
    decoder = make_decoder(params.contract, params.max_bytes, params.written)
    full = json_format.ParseDict(
        {"id": "7", "amount": 2.5, "user": {"country": "NZ"}, "at": "2013-07-01T05:17:00Z"}, Payment()
    )
    raws = [full.SerializeToString()] * 40
    bad = [b"", raws[0][:-1], b"\0\0\0\0\1" + raws[0], b"\xff", None, b"x" * 600_000]
    decoded = decode_batch(decoder, [*raws, *bad])
    assert decoded.table.to_pylist() == [ROW] * 40
    # A message whose fields all have their defaults takes no bytes.
    assert decoded.problems[40].message == "$.amount: required double is null"
    assert [decoded.problems[41 + place].reason for place in range(5)] == [
        *("not_protobuf", "not_protobuf", "not_protobuf", "tombstone", "too_large")
    ]
    for raw in (*raws[:1], *bad):
        alone = decode_batch(decoder, [raw])
        place = [*raws, *bad].index(raw)
        assert alone.problems.get(0) == decoded.problems.get(place)


CASES = {
    "no message": (
        ("  message: shop.Payment\n", ""),
        f"2:1: source.message: must be {MESSAGES}; got nothing",
    ),
    "another message": (
        ("message: shop.Payment", "message: Paiment"),
        f"6:3: source.message: must be {MESSAGES}; got 'Paiment'",
    ),
    "a field that is not there": (
        ("country: {type: string, field: user.country}", "country: string"),
        "10:5: source.schema.country: must be a field of the message "
        "(id, amount, user, at, note, kind, ok, tags, big, raw); "
        "got $.country; did you mean 'amount'?",
    ),
    "another type": (
        ("amount: {type: double,", "amount: {type: double, field: ok,"),
        "9:14: source.schema.amount.type: must be a type that the message has there; "
        "got $.ok: expected double, the writer has bool",
    ),
    "no file": (
        ("payment.desc", "other.desc"),
        "5:3: source.schema_file: must be a readable file; got /other.desc (No such file or directory)",
    ),
    "no set of descriptors": (
        ("payment.desc", "job.yaml"),
        "5:3: source.schema_file: must be a file with Protobuf messages; "
        "got /job.yaml, which is no set of descriptors",
    ),
    "no file to compile": (
        ("payment.desc", "other.proto"),
        "5:3: source.schema_file: must be a readable file; got /other.proto (No such file)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_told_with_its_line(folder: Path, case: str) -> None:
    (before, after), message = CASES[case]
    assert JOB.count(before) == 1
    assert problems(folder, JOB.replace(before, after)) == [message]


def test_the_package_may_be_left_out_and_so_may_an_only_message(folder: Path) -> None:
    assert problems(folder, JOB.replace("shop.Payment", "Payment")) == []
    own = FileDescriptorProto.FromString(struct_pb2.DESCRIPTOR.serialized_pb)
    own.name, own.package = "own.proto", "own"
    del (
        own.message_type[1:],
        own.enum_type[:],
        own.message_type[0].field[:],
        own.message_type[0].nested_type[:],
    )
    (folder / "payment.desc").write_bytes(FileDescriptorSet(file=[own]).SerializeToString())
    (found, *_) = problems(folder, JOB.replace("  message: shop.Payment\n", ""))
    assert "source.schema.id: must be a field of the message ()" in found


def protoc(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the real one: a script, which finds what it should write beside it."""
    (folder / "bin").mkdir()
    (folder / "bin" / "protoc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "protoc").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_a_proto_file_is_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "payment.proto").write_text("whatever protoc reads")
    text = JOB.replace("payment.desc", "payment.proto")
    asked = 'for a in "$@"; do case $a in --descriptor_set_out=*) cp payment.desc "${a#*=}";; esac; done'
    protoc(folder, f'{asked}; echo "$@" > asked', monkeypatch)
    assert problems(folder, text) == []
    options = (folder / "asked").read_text().split()
    assert options[0] == f"--proto_path={folder}"
    assert options[1] == "--include_imports"
    assert options[3:] == ["payment.proto"]
    shutil.rmtree(folder / "bin")
    protoc(folder, 'echo "payment.proto:3:1: Expected \\";\\"." >&2; exit 1', monkeypatch)
    assert problems(folder, text) == [
        "5:3: source.schema_file: must be a readable file; "
        'got /payment.proto (protoc: payment.proto:3:1: Expected ";".)'
    ]
    monkeypatch.setenv("PATH", str(folder))
    (found,) = problems(folder, text)
    assert "no protoc (install protobuf-compiler" in found
