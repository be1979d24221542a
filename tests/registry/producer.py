"""Writes records by Confluent's own serializers, in an environment of its own: JSON lines in, hex lines out.

With `events` these are written by the SDK of CloudEvents. With `read`, hex of records, Confluent's own
deserializer reads them.

Each line has `subject` (its topic is what comes before `-value`), `schema` and `records`, and may have
`references`, (name, subject, version) each.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from cloudevents.core.bindings.kafka import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    record_subject_name_strategy,
    topic_record_subject_name_strategy,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import json_format

from tests.helpers.protobuf_records import message_class, proto_file

STRATEGIES = {
    "topic": topic_subject_name_strategy,
    "record": record_subject_name_strategy,
    "topic_record": topic_record_subject_name_strategy,
}


def main(url: str) -> None:
    """Serves until the input ends."""
    client = SchemaRegistryClient({"url": url})
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        topic = asked["subject"].removesuffix("-value")
        if "events" in asked:
            print(json.dumps([_as_kafka(event, asked["mode"]) for event in asked["events"]]), flush=True)
            continue
        if "read" in asked:
            found = _read(client, topic, [bytes.fromhex(text) for text in asked["read"]], asked.get("kind"))
            print(json.dumps(found, default=str), flush=True)
            continue
        references = [SchemaReference(*each) for each in asked.get("references", ())]
        kind = asked.get("kind", "AVRO")
        named = {"subject.name.strategy": STRATEGIES[asked.get("strategy", "topic")]}
        schema = Schema(json.dumps(asked["schema"]), kind, references)
        if kind == "PROTOBUF":
            message = message_class(asked["schema"], asked["message"])
            made = ProtobufSerializer(message, client, {"use.deprecated.format": False, **named})
            context = SerializationContext(topic, MessageField.VALUE)
            parsed = [json_format.ParseDict(record, message()) for record in asked["records"]]
            print(json.dumps([made(record, context).hex() for record in parsed]), flush=True)
            continue
        if not asked["records"]:
            client.register_schema(asked["subject"], schema)
        avro = kind == "AVRO"
        serialize = (AvroSerializer if avro else JSONSerializer)(
            schema_registry_client=client, schema_str=schema, conf=named
        )
        context = SerializationContext(topic, MessageField.VALUE)
        print(json.dumps([serialize(record, context).hex() for record in asked["records"]]), flush=True)


def _read(client: SchemaRegistryClient, topic: str, raws: list[bytes], kind: str | None) -> list[Any]:
    """Records as Confluent's deserializer of that kind reads them."""
    context = SerializationContext(topic, MessageField.VALUE)
    if kind == "PROTOBUF":
        # The message of the registry's own file. Apicurio has only its text, which the deserializer could not
        # read, were it given the client.
        file = proto_file(client.get_schema(int.from_bytes(raws[0][1:5], "big")).schema_str)
        message = message_class(file, f"{file['package']}.{file['messageType'][0]['name']}")
        messages = ProtobufDeserializer(message, {"use.deprecated.format": False})
        return [
            json_format.MessageToDict(messages(raw, context), preserving_proto_field_name=True)
            for raw in raws
        ]
    read = (
        JSONDeserializer(None, schema_registry_client=client) if kind == "JSON" else AvroDeserializer(client)
    )
    return [read(raw, context) for raw in raws]


def _as_kafka(event: dict[str, Any], mode: str) -> tuple[dict[str, str], str]:
    """Headers and value of an event, as the SDK of CloudEvents makes them."""
    made = CloudEvent(attributes=dict(event["attributes"]), data=event["data"])
    sent = {"binary": to_binary, "structured": to_structured}[mode](made, JSONFormat())
    return {name: value.hex() for name, value in sent.headers.items()}, sent.value.hex()


if __name__ == "__main__":
    main(sys.argv[1])
