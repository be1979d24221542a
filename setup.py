"""Build entry: setup.cfg declares all but the data files of a wheel, which stand outside of the packages."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# MANIFEST.in has the same, for the sdist. `flink_jobs.system.data` finds them in a checkout and in a wheel.
DATA = [
    "conf/constraints.txt",
    "conf/flight_delay.yaml",
    "conf/flight_delay_live.yaml",
    "conf/grafana/tailrace.json",
    "conf/helm/templates/_flink.tpl",
    "conf/helm/templates/_names.tpl",
    "conf/helm/templates/around.yaml",
    "conf/helm/templates/flink.yaml",
    "conf/helm/templates/rights.yaml",
    "conf/helm/values.schema.json",
    "conf/jars.paths",
    "conf/jars.sha256",
    "conf/job.schema.json",
    "conf/pom.xml",
    "conf/prometheus/prometheus.yml",
    "conf/prometheus/rules.yml",
    "conf/registry/parents/io/apicurio/apicurio-registry/3.0.9/apicurio-registry-3.0.9.pom",
    "conf/registry/pom.xml",
    "docs/benchmarks.json",
    "models/flight_delay/train.py",
]


class BuildWithData(build_py):
    """Puts the data files below flink_jobs/data of what is built."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for name in DATA:
            place = Path(self.build_lib, "flink_jobs", "data", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, place)


setup(cmdclass={"build_py": BuildWithData})
