"""The loader that models pushed to MLflow by Tailrace 0.1 name."""

from flink_jobs.registry.mlflow.pyfunc import _load_pyfunc as _load_pyfunc
