"""CPU seconds per million records of ten fields, by format; and spoiled Avro records, as many as one likes.

python -m tests.bench.formats                      # speed
python -m tests.bench.formats --fuzz 500000        # both ways of reading, held to what was written
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.helpers.avro_records import differences, write
from tests.helpers.protobuf_records import message_class
from udfs.records.avro import AvroDecoder
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoder, decode_batch
from udfs.records.json import JsonDecoder
from udfs.records.protobuf import ProtobufDecoder, writer_file
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import Schema

FIELDS: dict[str, Any] = {
    "id": "string",
    "origin": "string",
    "dest": "string",
    "carrier": "string",
    "distance": "long",
    "seats": "long",
    "delay": "double",
    "price": "double",
    "wind": "double",
    "night": "boolean",
}
CONTRACT = Contract(tuple(Field(name, kind) for name, kind in FIELDS.items()))
MAX_BYTES = 512_000
RECORDS, TOPIC_RECORDS = 30_000, 500


def rows(count: int) -> list[dict[str, Any]]:
    """Flights, more or less."""
    rng = random.Random(1)
    return [
        {
            "id": f"{number}-{rng.random():.5f}",
            "origin": rng.choice(("EWR", "JFK", "LGA")),
            "dest": rng.choice(("ATL", "BOS", "SFO")),
            "carrier": "UA",
            "distance": rng.randrange(5_000),
            "seats": rng.randrange(400),
            "delay": rng.uniform(-30, 300),
            "price": round(rng.uniform(0, 1000), 2),
            "wind": round(rng.uniform(0, 30), 1),
            "night": rng.random() < 0.5,
        }
        for number in range(count)
    ]


def schema(nullable: bool, listed: bool = False) -> str:
    """The fields' Avro schema; with a list beside them, which is read record by record."""
    fields: list[Any] = [
        {"name": n, "type": ["null", kind] if nullable else kind} for n, kind in FIELDS.items()
    ]
    if listed:
        fields.append({"name": "tags", "type": {"type": "array", "items": "string"}})
    return json.dumps({"type": "record", "name": "Flight", "fields": fields})


def protobuf(made: Sequence[dict[str, Any]], optional: bool) -> tuple[Decoder, list[bytes]]:
    """The same as messages of which all fields, or none, tell absence from a default."""
    kinds = {"string": "STRING", "long": "INT64", "double": "DOUBLE", "boolean": "BOOL"}
    fields = [
        {"name": name, "number": number, "type": f"TYPE_{kinds[kind]}", "label": "LABEL_OPTIONAL"}
        | ({"proto3Optional": True, "oneofIndex": number - 1} if optional else {})
        for number, (name, kind) in enumerate(FIELDS.items(), 1)
    ]
    groups = [{"name": f"_{name}"} for name in FIELDS] if optional else []
    message = {"name": "Flight", "field": fields, "oneofDecl": groups}
    file = {"name": "flight.proto", "syntax": "proto3", "messageType": [message]}
    text = base64.b64encode(json_format.ParseDict(file, FileDescriptorProto()).SerializeToString()).decode()
    cache = SchemaCache(lambda _: Schema(text, "PROTOBUF"), partial(writer_file, CONTRACT), 0.0)
    kind = message_class(file, "Flight")
    raws = [b"\0\0\0\0\1\0" + kind(**row).SerializeToString() for row in made]
    return ProtobufDecoder(CONTRACT, MAX_BYTES, RegistryParams("http://127.0.0.1:1"), cache), raws


def cpu_seconds(decoder: Decoder, raws: Sequence[bytes], batch: int) -> float:
    """For a million records; the best of three rounds."""
    rounds = []
    for _ in range(3):
        started = time.process_time()
        for start in range(0, len(raws), batch):
            decode_batch(decoder, raws[start : start + batch])
        rounds.append((time.process_time() - started) * 1_000_000 / len(raws))
    return min(rounds)


def speed() -> None:
    """A line for each format and size of batches."""
    made = rows(RECORDS)
    ways: dict[str, tuple[Decoder, list[bytes]]] = {
        "json": (JsonDecoder(CONTRACT, MAX_BYTES), [json.dumps(row).encode() for row in made])
    }
    for name, nullable in (("avro", False), ("avro, all or null", True)):
        raws = [write(schema(nullable), row) for row in made]
        ways[name] = (AvroDecoder(CONTRACT, MAX_BYTES, schema(nullable)), raws)
    with_list = [write(schema(False, True), row | {"tags": ["a"]}) for row in made]
    ways["avro with a list"] = (AvroDecoder(CONTRACT, MAX_BYTES, schema(False, True)), with_list)
    ways["protobuf"] = protobuf(made, optional=False)
    ways["protobuf, optional"] = protobuf(made, optional=True)
    for batch in (500, 2_000, 10_000):
        base = cpu_seconds(*ways["json"], batch)
        for name, (decoder, raws) in ways.items():
            found = base if name == "json" else cpu_seconds(decoder, raws, batch)
            size = sum(map(len, raws)) / len(raws)
            print(
                f"batches of {batch:6d}  {name:18s} {size:4.0f} bytes  {found:5.2f} s  {found / base:4.2f} x"
            )


def fuzz(records: int, seed: int) -> int:
    """Prints outcomes and differences; returns how many differences there are."""
    counts: Counter[str] = Counter()
    found: list[str] = []
    started = time.monotonic()
    for number in range(0, records, TOPIC_RECORDS):
        of_topic, different = differences(random.Random(seed + number), TOPIC_RECORDS)
        counts += of_topic
        found += different
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{records} records, seed {seed}, {time.monotonic() - started:.0f} s, {peak:.0f} MB at most")
    for name, count in sorted(counts.items()):
        print(f"{count:9d} {name}")
    print(f"{len(found):9d} differences", *found[:20], sep="\n")
    return len(found)


def main() -> int:
    """1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuzz", type=int, metavar="RECORDS")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.fuzz:
        return 1 if fuzz(args.fuzz, args.seed) else 0
    speed()
    return 0


if __name__ == "__main__":
    sys.exit(main())
