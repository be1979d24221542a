"""Helm's own engine and linter on a chart: FOLDER NAMESPACE VALUES; runs in .venv-tools.

Prints {"lint": […], "manifests": {…}} as JSON; an error of Helm's is {"error": …}.
"""

from __future__ import annotations

import json
import sys

import helm_python
from helm_python.chart import Chart, lint

folder, namespace, values = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
try:
    chart = Chart.load(folder)
    chart.validate_schema(values)
    found = {
        "lint": lint(folder, values, strict=True, with_subcharts=True)["messages"],
        "manifests": chart.render(values, name="release", namespace=namespace),
    }
except helm_python.HelmError as error:
    found = {"error": str(error)}
print(json.dumps(found))
