"""A web server that answers as told, then as it should, and keeps what it was sent.

>>> import requests
>>> with Endpoint([500]) as endpoint:
...     answers = [requests.post(endpoint.url, b"one", timeout=10).status_code for _ in range(2)]
>>> answers, endpoint.bodies
([500, 200], [b'one'])
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

HANG = -1


class Endpoint:
    """Answers 200 after the given answers; HANG is none for `hang` seconds. While `down` it answers 503."""

    def __init__(self, answers: Sequence[int] = (), hang: float = 3.0) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.attempts = 0
        self.down = False
        left, outer = list(answers), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.attempts += 1
                answer = 503 if outer.down else left.pop(0) if left else 200
                if answer == HANG:
                    time.sleep(hang)
                    return
                if answer == 200:
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
