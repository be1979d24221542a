"""Asks a schema registry by Confluent's API: schemas by id or by subject, with those that they refer to.

registry = SchemaRegistry(RegistryParams("http://localhost:8081"))
registry.by_id(7).text
"""

from __future__ import annotations

import base64
import json
import ssl
from http.client import HTTPException
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPSHandler, OpenerDirector, Request, build_opener

import msgspec

from udfs.records.registry_params import RegistryParams

LARGEST_ANSWER = 4_000_000
MOST_REFERENCES = 200
_JSON = "application/vnd.schemaregistry.v1+json"
_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"


class Schema(msgspec.Struct, frozen=True):
    """A schema's text; `references` are name and text of those that it needs, in order."""

    text: str
    kind: str = "AVRO"
    references: tuple[tuple[str, str], ...] = ()
    id: int | None = None
    version: int | None = None


class RegistryError(Exception):
    """The registry gave no usable answer; another attempt may."""


class NoSuchSchemaError(Exception):
    """The registry says that there is none."""


class RefusedSchemaError(RegistryError):
    """The registry does not take the schema: it is not compatible with those before it, or not valid."""


class SchemaRegistry:
    """A client; each call is one request, and one more for each schema that is referred to.

    `form` is what schemas are asked for in, where the registry knows several.
    """

    def __init__(self, params: RegistryParams, form: str = "") -> None:
        self._params = params
        self._form = f"?format={form}" if form else ""
        self._opener: OpenerDirector | None = None

    def by_id(self, number: int) -> Schema:
        """Raises NoSuchSchemaError, RegistryError."""
        return self._schema(self._get(f"/schemas/ids/{number}{self._form}"))

    def latest(self, subject: str) -> Schema:
        """The newest version of a subject. Raises NoSuchSchemaError, RegistryError."""
        return self._schema(self._get(f"/subjects/{quote(subject, safe='')}/versions/latest{self._form}"))

    def compatibility(self, subject: str) -> str | None:
        """What the subject asks of its next version, or the registry of all. Raises RegistryError."""
        for path in (f"/config/{quote(subject, safe='')}", "/config"):
            try:
                answer = self._get(path)
            except NoSuchSchemaError:
                continue
            level = answer.get("compatibilityLevel") or answer.get("compatibility")
            if isinstance(level, str):
                return level
        return None

    def register(self, subject: str, text: str, kind: str = "AVRO") -> int:
        """The id of a schema, which is the subject's newest version, if it is not one of them yet.

        Raises RefusedSchemaError, RegistryError.
        """
        return self._id(self._get(f"/subjects/{quote(subject, safe='')}/versions", _sent(text, kind)))

    def find(self, subject: str, text: str, kind: str = "AVRO") -> int:
        """The id of a schema that the subject has. Raises NoSuchSchemaError, RegistryError."""
        return self._id(self._get(f"/subjects/{quote(subject, safe='')}", _sent(text, kind)))

    @staticmethod
    def _id(answer: dict[str, Any]) -> int:
        number = answer.get("id")
        if not isinstance(number, int):
            raise RegistryError("the registry's answer has no id")
        return number

    def _schema(self, answer: dict[str, Any]) -> Schema:
        text = answer.get("schema")
        if not isinstance(text, str):
            raise RegistryError("the registry's answer has no schema")
        found: dict[tuple[str, int], tuple[str, str]] = {}
        self._refer(answer, found, ())
        numbers = (answer.get("id"), answer.get("version"))
        known = [number if isinstance(number, int) else None for number in numbers]
        return Schema(text, answer.get("schemaType") or "AVRO", tuple(found.values()), *known)

    def _refer(
        self, answer: dict[str, Any], found: dict[tuple[str, int], tuple[str, str]], above: tuple[Any, ...]
    ) -> None:
        for each in answer.get("references") or ():
            try:
                key = (str(each["subject"]), int(each["version"]))
                name = str(each["name"])
            except (KeyError, TypeError, ValueError):
                raise RegistryError(
                    "the registry's answer has a reference without subject or version"
                ) from None
            if key in above or len(found) >= MOST_REFERENCES:
                raise NoSuchSchemaError(f"its references are more than {MOST_REFERENCES}, or a circle")
            if key not in found:
                referred = self._get(f"/subjects/{quote(key[0], safe='')}/versions/{key[1]}{self._form}")
                self._refer(referred, found, (*above, key))
                found[key] = (name, str(referred.get("schema", "")))

    def _get(self, path: str, sent: dict[str, str] | None = None) -> dict[str, Any]:
        body = None if sent is None else json.dumps(sent).encode()
        headers = {"Accept": _ACCEPT} | ({} if sent is None else {"Content-Type": _JSON})
        request = Request(self._params.url.rstrip("/") + path, body, headers)  # noqa: S310
        if authorization := self._authorization():
            # Not sent on to where the registry may send us.
            request.add_unredirected_header("Authorization", authorization)
        try:
            if self._opener is None:
                self._opener = build_opener(HTTPSHandler(context=self._context()))
            with self._opener.open(request, timeout=self._params.timeout_s) as response:
                answered = response.read(LARGEST_ANSWER + 1)
        except HTTPError as error:
            with error:
                self._raise(error)
        except (OSError, HTTPException, URLError) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise RegistryError(f"the registry does not answer: {reason}") from error
        if len(answered) > LARGEST_ANSWER:
            raise RegistryError(f"the registry's answer is larger than {LARGEST_ANSWER} bytes")
        try:
            answer = json.loads(answered)
        except (ValueError, RecursionError):
            raise RegistryError("the registry's answer is not JSON") from None
        if not isinstance(answer, dict):
            raise RegistryError("the registry's answer is not an object")
        return answer

    @staticmethod
    def _raise(error: HTTPError) -> None:
        said = _said(error)
        if error.code == 404 and said is not None:
            raise NoSuchSchemaError("the registry has no such schema") from None
        if error.code in (409, 422) and said is not None:
            raise RefusedSchemaError(f"{said:.500}") from None
        raise RegistryError(f"the registry answers {error.code} {error.reason}") from None

    def _authorization(self) -> str | None:
        if self._params.token:
            return f"Bearer {self._params.token}"
        if self._params.username is None:
            return None
        login = f"{self._params.username}:{self._params.password or ''}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._params.ca)
        if self._params.certificate:
            # OpenSSL takes files only.
            with NamedTemporaryFile() as file:
                file.write(f"{self._params.certificate}\n{self._params.key or ''}".encode())
                file.flush()
                context.load_cert_chain(file.name)
        return context


def _sent(text: str, kind: str) -> dict[str, str]:
    return {"schema": text} | ({} if kind == "AVRO" else {"schemaType": kind})


def _said(error: HTTPError) -> str | None:
    """What the registry says; None where it is not the registry, but a proxy that knows none."""
    try:
        answer = json.loads(error.read(65_536))
    except (ValueError, OSError, RecursionError):
        return None
    if not isinstance(answer, dict) or "error_code" not in answer:
        return None
    return str(answer.get("message", "without a word"))
