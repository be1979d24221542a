"""Fetches the jars: with Maven where it is, else straight from a repository; either way those of the sums.

fetch(jar_folder(), None)                                   # Maven, whose settings say from where
fetch(jar_folder(), "https://repository.example.org/maven")
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import requests

from flink_jobs.errors import InputError, WorkError
from flink_jobs.system.addresses import WEB_URL
from flink_jobs.system.data import data_file
from flink_jobs.system.jars import SUMS

REPOSITORY_VARIABLE = "TAILRACE_MAVEN_REPOSITORY"
_FOLDERS = ("flink", "kafka")
_LARGEST = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_AT_ONCE = 8
_SECONDS = (10, 60)  # to connect, between two pieces


@dataclass(frozen=True)
class Jar:
    """`path` is where it is put below the folder, `place` where a Maven repository has it."""

    path: str
    sha256: str
    place: str


def wanted() -> list[Jar]:
    """All jars, of conf/jars.sha256 and conf/jars.paths."""
    places = {Path(line).name: line for line in _lines("conf/jars.paths")}
    sums = (line.partition("  ") for line in _lines(SUMS))
    return [Jar(path, checksum, places[Path(path).name]) for checksum, _, path in sums]


def wrong_jars(folder: Path, jars: Sequence[Jar]) -> list[str]:
    """What keeps the folder from being that of just these jars; empty when nothing does."""
    known = {jar.path for jar in jars}
    found = {f"{name}/{jar.name}" for name in _FOLDERS for jar in (folder / name).glob("*.jar")}
    return [
        *(f"{path} is missing" for path in sorted(known - found)),
        *(f"{path} is another version or no jar of ours" for path in sorted(found - known)),
        *(
            f"{jar.path} must have the SHA-256 {jar.sha256}; got {got}"
            for jar in jars
            if jar.path in found and (got := sha256_of(folder / jar.path)) != jar.sha256
        ),
    ]


def fetch(folder: Path, repository: str | None, jars: Sequence[Jar] | None = None) -> bool:
    """Makes the folder that of just these jars; returns False when it was that already.

    Nothing of it changes unless all that came is right. Raises InputError where there is neither Maven nor a
    repository, WorkError when one does not give the jars.
    """
    jars = wanted() if jars is None else jars
    if not wrong_jars(folder, jars):
        return False
    fill = (
        partial(_download_all, checked_repository(repository), jars)
        if repository
        else partial(_run_maven, require_maven())
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder} must be a folder that can be written; {error}") from error
    try:
        fill(part)
        if wrong := wrong_jars(part, jars):
            raise WorkError("\n".join(["the jars that came are not those of Tailrace:", *wrong]))
        _put(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _put(part: Path, folder: Path) -> None:
    """The folder may hold other things: only what fetching makes is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FOLDERS:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        (part / name).rename(folder / name)


def require_maven() -> str:
    """The command. Raises InputError where there is none, and says what serves in its place."""
    maven = shutil.which("mvn")
    if maven is None:
        raise InputError(
            "there is no mvn in PATH; install Maven (Debian, Ubuntu: sudo apt-get install maven), or say "
            f"with --repository URL or {REPOSITORY_VARIABLE} which Maven repository has the jars"
        )
    return maven


def _run_maven(maven: str, part: Path) -> None:
    run_maven(maven, data_file("conf/pom.xml"), f"-Djars={part}")


def run_maven(maven: str, pom: Path, option: str) -> None:
    """Lets it copy what a pom lists. Raises WorkError with the end of its output when it cannot."""
    command = [maven, "--batch-mode", "--file", str(pom), option, "package"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        shown = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise WorkError(f"Maven could not fetch the jars:\n{shown}")


def checked_repository(url: str) -> str:
    """The address without a slash at its end. Raises InputError where it is none, or has a password."""
    if not re.fullmatch(WEB_URL, url):
        shown = re.sub(r"//[^/@]*@", "//***@", url)
        raise InputError(
            "a repository must be https://host/path, without user and password, which ~/.netrc has; "
            f"got {shown!r}"
        )
    return url.rstrip("/")


def _download_all(url: str, jars: Sequence[Jar], part: Path) -> None:
    for jar in jars:
        (part / jar.path).parent.mkdir(exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [
            pool.submit(download, f"{url}/{jar.place}", jar.sha256, part / jar.path) for jar in jars
        ]:
            done.result()


def download(url: str, sha256: str, path: Path, largest: int | None = None) -> None:
    """Ends at the first byte too many: a broken server may send without end."""
    largest = largest or _LARGEST
    digest, size = hashlib.sha256(), 0
    try:
        with requests.get(url, stream=True, timeout=_SECONDS) as answer, path.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_content(_CHUNK):
                size += len(piece)
                if size > largest:
                    raise WorkError(f"{url} must have at most {largest} bytes")
                digest.update(piece)
                file.write(piece)
    except requests.RequestException as error:
        raise WorkError(f"cannot fetch {url}: {error}") from error
    if digest.hexdigest() != sha256:
        raise WorkError(f"{url} must have the SHA-256 {sha256}; got {digest.hexdigest()}")


def sha256_of(path: Path) -> str:
    """The file's, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(name: str) -> list[str]:
    return data_file(name).read_text().splitlines()
