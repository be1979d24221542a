#!/usr/bin/env bash
# What Kubernetes starts, by Flink's own words, with the processes that it leaves behind reaped.
set -euo pipefail
exec /usr/bin/tini -g -- "$@"
