"""Models that were made elsewhere: what there is in a file or folder, and a version made of it.

found = find(Path("mlruns/1/artifacts/model"))                    # an MLflow model, or one file
manifest = add(registry, "fraud", complete(found, rows=read_table(Path("holdout.parquet"))))
"""

from flink_jobs.registry.importing.artifact import Artifact
from flink_jobs.registry.importing.find import find
from flink_jobs.registry.importing.version import Ready, add, complete

__all__ = ["Artifact", "Ready", "add", "complete", "find"]
