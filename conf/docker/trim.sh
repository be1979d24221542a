#!/usr/bin/env bash
# Takes out of an environment what no job runs: tests, C sources, debug symbols, a second ONNX library, installers; and
# compiles what the command and workers import, and nothing else.
#   trim.sh ENVIRONMENT        needs strip, of binutils, and zip
set -euo pipefail

python=$1/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$site"

rm -rf pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth
find . -type d \( -name __pycache__ -o -name tests \) -prune -exec rm -rf {} +
find . -type f \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' -o -name '*.pxd' \) -delete
find . -type f \( -name '*_test.py' -o -name '*_it_test.py' \) -path './apache_beam/*' -delete
# For programs in C; the module for Python has its own.
rm -f onnxruntime/capi/libonnxruntime.so.*
# For programs in Scala: Flink's planner brings its own.
rm -f pyflink/lib/flink-scala_*.jar
# State backends in C for other systems: of eleven each, one is loaded.
case $(uname -m) in aarch64) native=linux-aarch64 ;; *) native=linux64 ;; esac
for library in rocksdb forst; do
  zip -q -d pyflink/lib/flink-dist-*.jar "lib${library}jni-*" -x "lib${library}jni-$native.so"
done
# What auditwheel has moved (*.libs) does not always outlive being stripped.
find . -type f -name '*.so*' -not -path './*.libs/*' -exec strip --strip-unneeded {} +

PYTHONDONTWRITEBYTECODE='' "$python" - <<'END'
import importlib
import sys

from flink_jobs.cli.commands import COMMANDS, load
from flink_jobs.system.warm_workers import LIBRARIES
from udfs.model.format_table import FORMATS

own = (
    "flink_jobs.run.application",
    "udfs.flink.drift",
    "udfs.flink.functions",
    "udfs.flink.quality",
    "udfs.flink.rollout",
    "udfs.flink.windows",
)
formats = (f"udfs.model.formats.{each.module}" for each in FORMATS.values())
for name in COMMANDS:
    load(name)
for name in (*own, *LIBRARIES, *formats):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(f"{error.name} is not here", file=sys.stderr)
END
