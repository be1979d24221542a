"""Puts `PatientIdleness.java` in the place of Flink's idleness, which makes records late on slow machines.

Janino, which is a part of each Flink, compiles it when a job starts; a jar takes its classes along.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pyflink.java_gateway import get_gateway

from flink_jobs.run.jvm import apart_gateway, field_of
from flink_jobs.system.temporary import own_folder

_CLASS = "tailrace.PatientIdleness"
_SOURCE = Path(__file__).with_name("PatientIdleness.java")
_STRATEGIES = "org.apache.flink.api.common.eventtime"
_FLINKS_OWN = f"{_STRATEGIES}.WatermarkStrategyWithIdleness"
_ALIGNED = f"{_STRATEGIES}.WatermarksWithWatermarkAlignment"
_CLIENT_IDS = ("properties.client.id.prefix", "properties.group.id")


@functools.cache
def patient_idleness() -> tuple[Any, Path]:
    """The class as this process's JVM has it, and the jar that brings it to those of workers."""
    compiler = apart_gateway().jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook(_SOURCE.read_text(encoding="utf-8"))
    jar = own_folder("idleness") / "tailrace-idleness.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for name, code in dict(compiler.getBytecodes()).items():
            archive.writestr(f"{name.replace('.', '/')}.class", bytes(code))
    return compiler.getClassLoader().loadClass(_CLASS), jar


def client_ids(options: Mapping[str, str]) -> str:
    """What the ids of a Kafka table's consumers begin with; the rest is the number of the instance."""
    return next(options[key] for key in _CLIENT_IDS if key in options)


def be_patient(transformations: Iterable[Any], ids: Mapping[str, str]) -> set[str]:
    """Changes how sources take partitions for idle; which tables they read. `ids` are client ids by table.

    Raises RuntimeError for a source that is not as Flink 2.3's planner makes it.
    """
    changed = set()
    for source in transformations:
        name = source.getName().rpartition(".")[2]
        if source.getClass().getSimpleName() == "SourceTransformation" and name in ids:
            if not _replace(source, "watermarkStrategy", ids[name]):
                raise RuntimeError(f"the source {source.getName()} has no idleness of Flink's to replace")
            changed.add(name)
    return changed


def _replace(owner: Any, name: str, ids: str) -> bool:
    """Whether the strategy in this field of the owner, or the one within it, was Flink's own."""
    field = field_of(owner, name)
    strategy = field.get(owner)
    kind = strategy.getClass().getName()
    if kind == _ALIGNED:
        return _replace(strategy, "strategy", ids)
    if kind != _FLINKS_OWN:
        return False
    idle_ms = str(field_of(strategy, "idlenessTimeout").get(strategy).toMillis())
    arguments = get_gateway().new_array(get_gateway().jvm.Object, 3)
    arguments[0], arguments[1], arguments[2] = field_of(strategy, "baseStrategy").get(strategy), idle_ms, ids
    made, _ = patient_idleness()
    field.set(owner, made.getConstructors()[0].newInstance(arguments))
    return True
