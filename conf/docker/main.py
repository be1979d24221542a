"""What Flink's PythonDriver runs in the JobManager of an application cluster."""

from flink_jobs.run.application import main

main()
