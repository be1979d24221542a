"""Writes .tailrace/sbom.cdx.json and THIRD_PARTY_NOTICES.md for scripts/audit --bom, from what tools found.

python scripts/notices.py SBOM LICENSES JARS
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

POM = "{http://maven.apache.org/POM/4.0.0}"
SUMS = Path("conf/jars.sha256")
# Of those that do not say it themselves: as their projects do.
KNOWN = {
    "hash4j": "Apache-2.0",
    "lz4-java": "Apache-2.0",
    "metrics-core": "Apache-2.0",
    "pcollections": "MIT",
    "re2j": "BSD-3-Clause",
    "skops": "MIT",
    "slf4j-api": "MIT",
    "slf4j-simple": "MIT",
}
ABOUT = (
    "Tailrace itself is under the license of the file LICENSE. The scripts install the packages and jars\n"
    "below, which are their makers', each under its own license; none is part of this repository. Made by\n"
    "`scripts/audit --bom`."
)


def main(sbom: str, licenses: str, jars: str) -> None:
    """Both files, from the tools' own output and the jars."""
    found = [jar_of(Path(jars), line) for line in SUMS.read_text().splitlines()]
    made = json.loads(Path(sbom).read_text())
    Path(".tailrace/sbom.cdx.json").write_text(json.dumps(bom(made, found), indent=1, sort_keys=True) + "\n")
    packages = json.loads(Path(licenses).read_text())
    rows = [
        (each["Name"], each["Version"], KNOWN.get(each["Name"], _line(each["License"]))) for each in packages
    ]
    tables = [_table("Python packages", rows), _table("Jars", [*dict.fromkeys(jar[:3] for jar in found)])]
    Path("THIRD_PARTY_NOTICES.md").write_text("\n".join(["# Third-party notices", "", ABOUT, "", *tables]))


def bom(made: dict[str, Any], jars: list[tuple[str, str, str, str]]) -> dict[str, Any]:
    """Without links: they are other people's pages, and change."""
    kept = ("type", "bom-ref", "name", "version", "purl", "licenses", "description")
    packages = [
        {key: component[key] for key in kept if key in component}
        for component in made["components"]
        if component["name"] != "tailrace"
    ]
    components = [*packages, *map(_component, dict.fromkeys(jars))]
    head = {key: made[key] for key in ("$schema", "bomFormat", "specVersion", "version") if key in made}
    refs = {component["bom-ref"] for component in packages}
    dependencies = [each for each in made.get("dependencies", []) if each["ref"] in refs]
    return {
        **head,
        "metadata": {"component": {"type": "application", "name": "tailrace", "bom-ref": "tailrace"}},
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
        "dependencies": dependencies,
    }


def _component(jar: tuple[str, str, str, str]) -> dict[str, Any]:
    name, version, license_name, checksum = jar
    return {
        "type": "library",
        "bom-ref": f"jar:{name}@{version}",
        "name": name,
        "version": version,
        "licenses": [{"license": {"name": license_name}}],
        "hashes": [{"alg": "SHA-256", "content": checksum}],
    }


def jar_of(folder: Path, line: str) -> tuple[str, str, str, str]:
    """Name, version, license and checksum of a line of the sums."""
    checksum, _, path = line.partition("  ")
    name, version = re.fullmatch(r"(.+?)-(\d[\w.-]*)\.jar", Path(path).name).groups()  # type: ignore[union-attr]
    return name, version, _license(folder / path, name), checksum


def _license(jar: Path, name: str) -> str:
    """As the jar's own POM or manifest says, else the file in it that has the text."""
    with zipfile.ZipFile(jar) as archive:
        names = archive.namelist()
        for entry in names:
            if re.fullmatch(rf"META-INF/maven/[^/]+/{re.escape(name)}/pom\.xml", entry):
                root = ElementTree.fromstring(archive.read(entry))  # noqa: S314  # of jars whose hashes are known
                found = [each.text or "" for each in root.iter(f"{POM}name") if _in_license(root, each)]
                if found:
                    return _line(", ".join(found))
        if "META-INF/MANIFEST.MF" in names:
            manifest = archive.read("META-INF/MANIFEST.MF").decode(errors="replace").replace("\r\n ", "")
            if told := re.search(r"(?m)^Bundle-License: (.+)$", manifest):
                return _line(told[1].partition(";")[0])
        text = next(
            (entry for entry in names if re.fullmatch(r"(META-INF/)?LICENSE(\.txt|\.md)?", entry)), None
        )
        if text and b"Apache License" in archive.read(text)[:400]:
            return "Apache-2.0"
    return KNOWN[name]


def _in_license(root: ElementTree.Element, element: ElementTree.Element) -> bool:
    return any(element in each for each in root.iter(f"{POM}license"))


def _line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:120]


def _table(title: str, rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {name} | {version} | {license_name} |" for name, version, license_name in sorted(rows)]
    return "\n".join([f"## {title}", "", "| name | version | license |", "|---|---|---|", *lines, ""])


if __name__ == "__main__":
    main(*sys.argv[1:])
