"""A gateway before Flink's REST interface: TLS, a login, perhaps a client certificate, and a path of its own.

with gateway(authority, f"Bearer {TOKEN}", behind=cluster.url) as url:    # https://127.0.0.1:…/flink/team
    ...
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from tests.helpers.certificates import Authority

PATH = "/flink/team"


@contextmanager
def gateway(
    authority: Authority, login: str, *, behind: str | None = None, certificate: bool = False
) -> Iterator[str]:
    """Lets pass what has the header Authorization: `login`; without `behind` there are no jobs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("gateway", "127.0.0.1"))
    if certificate:
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(login, behind)) as server:
        url = f"https://127.0.0.1:{server.server_port}{PATH}"
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield url
        finally:
            server.shutdown()


def _handler(login: str, behind: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self._body()
            if self.headers.get("Authorization") != login:
                return self._answer(401, b"who are you?", "text/plain")
            if not self.path.startswith(f"{PATH}/"):
                return self._answer(404, b"<html>", "text/html")
            if behind is None:
                return self._answer(200, b'{"jobs": []}', "application/json")
            kept = {name: self.headers[name] for name in ("Content-Type",) if name in self.headers}
            path = self.path.removeprefix(PATH)
            found = requests.request(self.command, behind + path, data=body, headers=kept, timeout=60)
            return self._answer(found.status_code, found.content, found.headers.get("Content-Type", ""))

        def _body(self) -> bytes:
            """Flink sends jobs in chunks."""
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(pieces)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 (the library's names)

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
