"""A collector of OpenTelemetry metrics for tests: OTLP over HTTP, read by OpenTelemetry's own classes.

with Collector() as collector:
    ...                                   # something exports to collector.url
    collector.total("a.metric", job_name="x")
"""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

Attributes = frozenset[tuple[str, str]]


class Collector:
    """Adds up the points of sums, which Flink sends as differences, and keeps the last of gauges.

    `url` is where they go.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: defaultdict[tuple[str, Attributes], float] = defaultdict(float)
        self._gauges: dict[tuple[str, Attributes], float] = {}
        self.services: set[str] = set()
        self.names: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = _body(self)
                collector.receive(
                    gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
                )
                answer = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200 if self.path == "/v1/metrics" else 404)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def receive(self, body: bytes) -> None:
        """Raises DecodeError for what is no request of the protocol."""
        request = ExportMetricsServiceRequest.FromString(body)
        with self._lock:
            for of_resource in request.resource_metrics:
                self.services |= {
                    each.value.string_value
                    for each in of_resource.resource.attributes
                    if each.key == "service.name"
                }
                for scope in of_resource.scope_metrics:
                    for metric in scope.metrics:
                        self.names.add(metric.name)
                        for point in metric.sum.data_points:
                            self._totals[metric.name, _attributes(point)] += point.as_int or point.as_double
                        for point in metric.gauge.data_points:
                            self._gauges[metric.name, _attributes(point)] = point.as_int or point.as_double

    def total(self, name: str, **attributes: str) -> float:
        """The sum of what came of a metric, of all its series that have these attributes."""
        with self._lock:
            return sum(
                total
                for (metric, has), total in self._totals.items()
                if metric == name and attributes.items() <= dict(has).items()
            )

    def gauge(self, name: str, **attributes: str) -> float:
        """The highest of what its series with these attributes have last said; 0 where none has."""
        with self._lock:
            found = [
                value
                for (metric, has), value in self._gauges.items()
                if metric == name and attributes.items() <= dict(has).items()
            ]
        return max(found, default=0)


def _attributes(point: Any) -> Attributes:
    return frozenset((each.key, each.value.string_value) for each in point.attributes)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Of a known length, or in pieces, as what is compressed on its way comes."""
    if request.headers["Transfer-Encoding"] != "chunked":
        return request.rfile.read(int(request.headers["Content-Length"]))
    pieces = []
    while size := int(request.rfile.readline(), 16):
        pieces.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(pieces)
