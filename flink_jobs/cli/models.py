"""`tailrace models`: which versions there are, what they are, and whether they can be trusted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flink_jobs.cli.models_shared import (
    Name,
    RegistryFolder,
    Version,
    as_json_option,
    open_registry,
    signers,
)
from flink_jobs.cli.models_show import champion_words, print_checks, print_diff, print_version
from flink_jobs.errors import InputError, TailraceError
from flink_jobs.registry import Registry
from flink_jobs.registry.diff import as_data, compare
from flink_jobs.registry.releases import Releases
from flink_jobs.registry.sign import generate_key, read_private_key
from flink_jobs.registry.sign import sign as put_signature
from flink_jobs.registry.verify import checks
from flink_jobs.spec.public_keys import EXPECTED, parse_public_key
from flink_jobs.system.terminal import literal, open_console, print_json, say
from udfs.errors import ModelError
from udfs.model.loading import verified_files
from udfs.model.manifest import digest
from udfs.model.signatures import Trust, key_id
from udfs.times import now_ms

_ABOUT: dict[str, Any] = {
    "name": None,
    "version": None,
    "champion": False,
    "champion_from": None,
    "format": None,
    "created_at": None,
    "signed_by": [],
    "digest": None,
    "problem": None,
}

models = typer.Typer(no_args_is_help=True, help="Model versions: list, show, add, verify, sign, compare.")


@models.command("list")
def list_versions(registry: RegistryFolder = "models", as_json: as_json_option = False) -> None:
    """List all models and their versions, with digest, format, signatures and champion.

    What cannot be read, or is not the version that its folder says, is listed as bad with the reason.
    Champion is the one for records of this very moment; one to come shows from which event time on.

    [bold]Examples[/]

      tailrace models list --registry models

      tailrace models list --registry s3://bucket/models --json
    """
    found = open_registry(registry)
    rows = [row for name in found.models() for row in _rows(found, name)]
    if as_json:
        return print_json(rows)
    console = open_console()
    columns = ("model", "version", "champion", "format", "created", "signed by", "digest")
    table = Table(*columns)
    for row in (row for row in rows if row["problem"] is None):
        signed = ", ".join(row["signed_by"])
        champion = champion_words(row["champion"], row["champion_from"])
        shown = (row["name"], row["version"], champion, row["format"], row["created_at"], signed)
        table.add_row(*(literal(str(cell)) for cell in shown), str(row["digest"])[:19])
    console.print(table)
    for row in (row for row in rows if row["problem"] is not None):
        which = f"{row['name']} version {row['version']}" if row["version"] else row["name"]
        console.print(literal(f"{which} is bad: {row['problem']}"), style="red", soft_wrap=True)
    return None


def _rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """One for each version; what cannot be read says why in `problem`, and does not hide the others."""
    try:
        champion, versions = _champion(registry, name), registry.versions(name)
        coming = _coming(registry, name)
    except TailraceError as error:
        return [_ABOUT | {"name": name, "problem": str(error)}]
    return [_row(registry, name, version, version == champion, coming.get(version)) for version in versions]


def _row(registry: Registry, name: str, version: int, champion: bool, coming: str | None) -> dict[str, Any]:
    row = _ABOUT | {"name": name, "version": version, "champion": champion, "champion_from": coming}
    try:
        manifest = registry.manifest(name, version)
        signed_by = signers(registry, name, version)
    except TailraceError as error:
        return row | {"problem": str(error)}
    return row | {
        "format": manifest.format,
        "created_at": manifest.created_at,
        "signed_by": signed_by,
        "digest": digest(manifest),
    }


@models.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="Default: the latest.")] = None,
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Show a version: its inputs and output, where it comes from, and its metrics.

    [bold]Example[/]

      tailrace models show flight_delay 1
    """
    found = open_registry(registry)
    version = version or found.versions(name)[-1]
    manifest = found.manifest(name, version)
    signed_by = signers(found, name, version)
    champion, coming = _champion(found, name) == version, _coming(found, name).get(version)
    if as_json:
        told = {"signed_by": signed_by, "champion": champion, "champion_from": coming}
        return print_json(as_data(manifest) | told)
    print_version(open_console(), manifest, signed_by, champion, coming)
    return None


@models.command()
def verify(
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="Default: all.", show_default=False)] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="Public key that must have signed: PEM file or base64.", show_default=False),
    ] = None,
    pickle: Annotated[bool, typer.Option(help="Whether formats that unpickle may be loaded.")] = True,
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Check a version's files, its signatures, and that it reproduces its golden rows in this environment.

    Exits with 1 if a check fails. Loading a joblib model runs code of its maker: --no-pickle refuses to.

    [bold]Examples[/]

      tailrace models verify flight_delay 1

      tailrace models verify flight_delay --key release.key.pub --no-pickle
    """
    found, trust = open_registry(registry), _trust(key or [], pickle)
    versions = [version] if version else found.versions(name)
    results = {number: checks(found, name, number, trust) for number in versions}
    if as_json:
        rows = [
            {"name": name, "version": number, **asdict(check)}
            for number, done in results.items()
            for check in done
        ]
        print_json(rows)
    else:
        print_checks(open_console(), name, results)
    if not all(check.passed for done in results.values() for check in done):
        raise typer.Exit(1)


def _trust(keys: list[str], pickle: bool) -> Trust:
    try:
        return Trust(tuple(map(parse_public_key, keys)), bool(keys), pickle)
    except ValueError as error:
        raise InputError(f"--key must be {EXPECTED}; got {error}") from None


@models.command()
def sign(
    name: Name,
    version: Version,
    key: Annotated[Path, typer.Option(help="Private key, made by keygen.", show_default=False)],
    registry: RegistryFolder = "models",
) -> None:
    """Sign a version, for jobs that require it (model.require_signature). The version itself stays as it is.

    Its files are checked before.

    [bold]Example[/]

      tailrace models sign flight_delay 1 --key release.key
    """
    found, private = open_registry(registry), read_private_key(key)
    try:
        verified_files(found.location(name, version))
    except ModelError as error:
        raise InputError(f"{name} version {version} cannot be signed: {error}") from error
    record = put_signature(found, name, version, private)
    say(f"{name} version {version} is signed by {key_id(record.key)}: {record.digest}")


@models.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="Where to write the private key.", show_default=False)],
) -> None:
    """Make a key for signing: PATH, which you keep, and PATH.pub, which jobs trust (model.trusted_keys).

    [bold]Example[/]

      tailrace models keygen release.key
    """
    public = generate_key(path)
    key = parse_public_key(str(public))
    print(f"private key {path}, public key {public}, id {key_id(key)}\ntrusted_keys: [{key}]")


@models.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="NAME/VERSION.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="NAME/VERSION, or VERSION.", show_default=False)],
    registry: RegistryFolder = "models",
    as_json: as_json_option = False,
) -> None:
    """Compare two versions: inputs, metrics, parameters, libraries, and predictions on their golden rows.

    [bold]Examples[/]

      tailrace models diff flight_delay/1 2

      tailrace models diff flight_delay/champion flight_delay/latest --json
    """
    found = open_registry(registry)
    first = _named(found, a, None)
    compared = compare(found, first, _named(found, b, first[0]))
    if as_json:
        return print_json(compared)
    print_diff(open_console(), compared)
    return None


def _named(registry: Registry, text: str, name: str | None) -> tuple[str, int]:
    """NAME/VERSION, where the version may be champion or latest; with a `name`, VERSION alone."""
    given, slash, use = text.rpartition("/")
    name = given if slash else name
    if not name:
        raise InputError(f"a version must be given as NAME/VERSION, such as flight_delay/1; got {text!r}")
    return name, registry.resolve(name, int(use) if use.isdecimal() else use).version


def _coming(registry: Registry, name: str) -> dict[int, str]:
    """From which event time on versions will be champion that are not now."""
    log = Releases(registry, name).log()
    try:
        return log.champions_to_come(now_ms()) if log else {}
    except ModelError:
        return {}


def _champion(registry: Registry, name: str) -> int | None:
    try:
        return registry.resolve(name, "champion").version
    except InputError:
        return None
