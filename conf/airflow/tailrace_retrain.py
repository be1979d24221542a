"""Airflow example: once a week, retrain the flight-delay model if its input or output has drifted.

Copy it into the folder of your DAGs, and set the Airflow variables or the environment of its workers:

    TAILRACE_HOME      checkout of the project (with .venv, conf and models); default /opt/tailrace
    TAILRACE_BROKERS   Kafka bootstrap servers; default localhost:9092

The command decides by itself, exits with 0 also when there is nothing to do, and never trains twice for the
same windows, so retries and backfills do no harm.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

HOME = os.environ.get("TAILRACE_HOME", "/opt/tailrace")
BROKERS = os.environ.get("TAILRACE_BROKERS", "localhost:9092")

with DAG(
    dag_id="tailrace_retrain",
    description="Retrain flight_delay when its drift topic says so",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
    tags=["tailrace"],
):
    BashOperator(
        task_id="retrain_if_drifted",
        bash_command=(
            ".venv/bin/tailrace retrain models/flight_delay"
            " --if-drifted flight-delay.drift --trials 20 --json"
        ),
        cwd=HOME,
        env={"TAILRACE_BROKERS": BROKERS},
        append_env=True,
        execution_timeout=timedelta(hours=2),
    )
