"""Has Flink's planner translate inserts and queries at once, so that they share their operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway


def translate_together(tables: Any, environment: Any, statements: Any, queries: Sequence[str]) -> list[Any]:
    """The queries as DataStreams that share their operators with the statements.

    `to_data_stream` would be planned on its own, and so run the scoring a second time. This does what it does
    (Flink 2.3, AbstractStreamTableEnvironmentImpl.toStreamInternal), but hands the planner all at once.
    """
    flink = get_gateway().jvm.org.apache.flink
    operations = get_gateway().jvm.java.util.ArrayList(statements._j_statement_set.getOperations())
    for number, query in enumerate(queries):
        operations.add(_as_sink(tables._j_tenv, query, f"parts_{number}"))
    transformations = list(tables._j_tenv.getPlanner().translate(operations))
    java = environment._j_stream_execution_environment
    for transformation in transformations:
        java.addOperator(transformation)
    return [
        DataStream(flink.streaming.api.datastream.DataStream(java, transformation))
        for transformation in transformations[len(transformations) - len(queries) :]
    ]


def _as_sink(environment: Any, query: str, name: str) -> Any:
    flink = get_gateway().jvm.org.apache.flink
    catalog = environment.getCatalogManager()
    table = environment.sqlQuery(query)
    schema = table.getResolvedSchema()
    produced = flink.table.catalog.SchemaTranslator.createProducingResult(
        catalog.getDataTypeFactory(), schema, schema.toSourceRowDataType()
    )
    resolved = catalog.resolveCatalogTable(flink.table.catalog.ExternalCatalogTable(produced.getSchema()))
    return flink.table.operations.ExternalModifyOperation(
        flink.table.catalog.ContextResolvedTable.anonymous(name, resolved),
        table.getQueryOperation(),
        flink.table.connector.ChangelogMode.insertOnly(),
        produced.getPhysicalDataType().get(),
    )
