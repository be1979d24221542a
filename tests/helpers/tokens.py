"""An identity provider of the tests' own: tokens for client credentials, over TLS.

with token_server(authority, {"scorer": "secret"}) as tokens:
    tokens.url          # https://127.0.0.1:…/token
    tokens.keys_url     # file:///…/keys.json: what brokers check tokens with
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.helpers.certificates import Authority

AUDIENCE = "kafka"
ISSUER = "https://login.example.org"


@dataclass
class Tokens:
    """Where tokens and the keys behind them are; `asked` counts the tokens that were given, by client."""

    url: str
    keys_url: str
    asked: dict[str, int] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)


@contextmanager
def token_server(authority: Authority, clients: Mapping[str, str]) -> Iterator[Tokens]:
    """Answers on 127.0.0.1 until the context ends; `clients` are ids with their secrets."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys = authority.folder / "keys.json"
    keys.write_text(json.dumps({"keys": [_public(key)]}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("login", "127.0.0.1", "localhost"))
    tokens = Tokens("", keys.as_uri())
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(key, clients, tokens)) as server:
        tokens.url = f"https://127.0.0.1:{server.server_port}/token"
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield tokens
        finally:
            server.shutdown()


def _handler(
    key: rsa.RSAPrivateKey, clients: Mapping[str, str], tokens: Tokens
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode())
            client, secret = _credentials(self.headers.get("Authorization", ""))
            if form.get("grant_type") != ["client_credentials"] or clients.get(client) != secret:
                return self._answer(401, {"error": "invalid_client"})
            tokens.asked[client] = tokens.asked.get(client, 0) + 1
            tokens.scopes.update(form.get("scope", [""])[0].split())
            answer = {"access_token": _token(key, client), "token_type": "Bearer", "expires_in": 600}
            return self._answer(200, answer)

        def _answer(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


def _credentials(header: str) -> tuple[str, str]:
    user, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return unquote(user), unquote(secret)


def _token(key: rsa.RSAPrivateKey, client: str) -> str:
    now = int(time.time())
    claims = {"sub": client, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "scope": "kafka"}
    head = _base64(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "one"}).encode())
    signed = f"{head}.{_base64(json.dumps(claims).encode())}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_base64(signature)}"


def _public(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    modulus, exponent = (
        _base64(number.to_bytes((number.bit_length() + 7) // 8, "big")) for number in (numbers.n, numbers.e)
    )
    return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": modulus, "e": exponent}


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
