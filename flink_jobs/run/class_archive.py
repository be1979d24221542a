"""Java's archive of the classes of local runs: a JVM that has one need not find, parse and verify them anew.

The first local run that ends without an error writes it, 190 MB, beside the fetched jars. It is good for one
Java and one list of jars; Java itself passes over one that does not fit.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

UNUSED_SECONDS = 30 * 24 * 3600
# Flink keeps its planner apart from the classes of jobs, by a loader whose classes Java cannot archive.
_LOADER, _PLANNER = "flink-table-planner-loader", "flink-table-planner.jar"
_QUIET = "-Xlog:cds*=off"
_WRITER = """
import java.lang.management.ManagementFactory;
import javax.management.ObjectName;

public class ArchiveWriter {
  public static Object write(String file) throws Exception {
    return ManagementFactory.getPlatformMBeanServer().invoke(
        new ObjectName("com.sun.management:type=DiagnosticCommand"), "vmCds",
        new Object[] {new String[] {"dynamic_dump " + file}}, new String[] {String[].class.getName()});
  }
}
"""


class ClassArchive:
    """The archive of a Java command and jars, in a folder that is made if it can be."""

    def __init__(self, java: str, jars: Sequence[Path], folder: Path) -> None:
        self.jars = list(jars)
        self._file: Path | None = None
        with suppress(OSError, zipfile.BadZipFile):
            folder.mkdir(exist_ok=True)
            self.jars = [_without_loader(jar, folder) for jar in jars]
            self._file = (
                folder / f"classes-{_digest(Path(shutil.which(java) or java).resolve(), *self.jars)}.jsa"
            )

    @property
    def options(self) -> list[str]:
        """What Java is to be told: to use the archive, or to note what one is made of."""
        if self._file is None:
            return []
        if not self._file.exists():
            return ["-XX:+RecordDynamicDumpInfo", _QUIET]
        with suppress(OSError):
            os.utime(self._file)
        return [f"-XX:SharedArchiveFile={self._file}", _QUIET]

    def write(self, gateway: Any) -> None:
        """Writes the archive, if there is none, of what PyFlink's JVM has loaded; removes those long unused.

        Raises OSError where that cannot be, and what py4j raises.
        """
        if self._file is None or self._file.exists():
            return
        part = self._file.with_suffix(f".{secrets.token_hex(8)}")
        try:
            _write(gateway, str(part))
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)
        for other in self._file.parent.glob("classes-*"):
            if other.stat().st_mtime < time.time() - UNUSED_SECONDS:
                other.unlink(missing_ok=True)


def _without_loader(jar: Path, folder: Path) -> Path:
    """The planner that is inside of this jar, if it is that of the loader; else the jar."""
    if not jar.name.startswith(_LOADER):
        return jar
    planner = folder / f"{_digest(jar)}-{_PLANNER}"
    if not planner.exists():
        part = planner.with_suffix(f".{secrets.token_hex(8)}")
        try:
            with zipfile.ZipFile(jar) as archive:
                part.write_bytes(archive.read(_PLANNER))
            with suppress(FileExistsError):  # of who was quicker, whose archive knows that one's time
                os.link(part, planner)
        finally:
            part.unlink(missing_ok=True)
    return planner


def _digest(*files: Path) -> str:
    """Of the files' names, sizes and times, which Java compares too."""
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:16]


def _write(gateway: Any, file: str) -> None:
    java = gateway.jvm
    compiler = java.org.codehaus.janino.SimpleCompiler()
    compiler.cook(_WRITER)
    kinds, arguments = gateway.new_array(java.Class, 1), gateway.new_array(java.Object, 1)
    kinds[0], arguments[0] = java.Class.forName("java.lang.String"), file
    writer = compiler.getClassLoader().loadClass("ArchiveWriter")
    writer.getMethod("write", kinds).invoke(None, arguments)
