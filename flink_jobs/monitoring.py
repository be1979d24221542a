"""Joins the monitor to a job: the DataStream part between the scored rows and the drift and alert topics."""

from __future__ import annotations

from typing import Any

from flink_jobs.plan import Runnable


def attach_monitor(plan: Runnable, tables: Any, environment: Any, statements: Any) -> None:
    """Adds the statements' inserts and the monitor to the environment, which is ready to execute then."""
    from pyflink.common import Types

    from udfs.flink_monitor import ALERT, DRIFT, RESULT, MonitorFunction
    from udfs.flink_webhook import WebhookFunction

    assert plan.drift is not None
    assert plan.views.parts is not None
    parts = _translate_together(tables, environment, statements, plan.views.parts)
    monitor = MonitorFunction(plan.drift.monitor, live=not plan.bounded)
    reports = (
        parts.key_by(lambda _: 0, key_type=Types.INT())
        .process(monitor, output_type=RESULT)
        .uid("tailrace-monitor")
        .name("monitor")
        .set_parallelism(1)
        .set_max_parallelism(1)
    )
    if plan.drift.webhook:
        (
            reports.key_by(lambda _: 0, key_type=Types.INT())
            .process(WebhookFunction(plan.drift.webhook), output_type=RESULT)
            .uid("tailrace-webhook")
            .name("webhook")
            .set_parallelism(1)
            .set_max_parallelism(1)
        )
    tables.create_temporary_view("reports", tables.from_data_stream(reports))
    outputs = tables.create_statement_set()
    for sink, kind in (("drift", DRIFT), ("alerts", ALERT)):
        outputs.add_insert_sql(f"INSERT INTO {sink} SELECT _key, _value FROM reports WHERE _kind = {kind}")
    outputs.attach_as_datastream()


def _translate_together(tables: Any, environment: Any, statements: Any, query: str) -> Any:
    """The query as a DataStream that shares its operators with the statements.

    `to_data_stream` would be planned on its own, and so run the scoring a second time. This does what it does
    (Flink 2.3, AbstractStreamTableEnvironmentImpl.toStreamInternal), but hands the planner all at once.
    """
    from pyflink.datastream import DataStream
    from pyflink.java_gateway import get_gateway

    flink = get_gateway().jvm.org.apache.flink
    environment_of_tables = tables._j_tenv
    catalog = environment_of_tables.getCatalogManager()
    table = environment_of_tables.sqlQuery(query)
    schema = table.getResolvedSchema()
    produced = flink.table.catalog.SchemaTranslator.createProducingResult(
        catalog.getDataTypeFactory(), schema, schema.toSourceRowDataType()
    )
    resolved = catalog.resolveCatalogTable(flink.table.catalog.ExternalCatalogTable(produced.getSchema()))
    sink = flink.table.operations.ExternalModifyOperation(
        flink.table.catalog.ContextResolvedTable.anonymous("parts", resolved),
        table.getQueryOperation(),
        flink.table.connector.ChangelogMode.insertOnly(),
        produced.getPhysicalDataType().get(),
    )
    operations = get_gateway().jvm.java.util.ArrayList(statements._j_statement_set.getOperations())
    operations.add(sink)
    *_, parts = transformations = list(environment_of_tables.getPlanner().translate(operations))
    for transformation in transformations:
        environment._j_stream_execution_environment.addOperator(transformation)
    stream = flink.streaming.api.datastream.DataStream(environment._j_stream_execution_environment, parts)
    return DataStream(stream)
