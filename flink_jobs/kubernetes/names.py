"""Names as Kubernetes takes them, made of names as Tailrace does, and checks of those that are given.

>>> resource_name("flight-delay")
'flight-delay'
>>> resource_name("fraud.cards_v2")
'fraud-cards-v2-3df876e5'
"""

from __future__ import annotations

import hashlib
import re

from flink_jobs.errors import InputError

# Flink's cluster id, which is the name of a FlinkDeployment, has at most 45 characters.
_LONGEST = 45
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,500}")
_BUCKET = re.compile(r"(?!https?:|file:)[a-z][a-z0-9+.-]{1,20}://[A-Za-z0-9._~/@:-]{1,800}")


def resource_name(job: str) -> str:
    """The job's name where Kubernetes takes it; else what is left of it, and a hash that tells it apart."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", job.lower()).strip("-")
    if not re.match("[a-z]", cleaned):
        cleaned = f"job-{cleaned}".rstrip("-")
    if cleaned == job and len(job) <= _LONGEST:
        return job
    mark = hashlib.sha256(job.encode()).hexdigest()[:8]
    return f"{cleaned[: _LONGEST - 9].rstrip('-')}-{mark}"


def checked_label(name: str, option: str) -> str:
    """Raises InputError for what is no name of a Kubernetes resource."""
    if not _LABEL.fullmatch(name):
        raise InputError(
            f"{option} must be a name as Kubernetes takes it, of at most 63 of a-z, 0-9 and '-', the first a "
            f"letter; got {name!r}"
        )
    return name


def checked_image(image: str) -> str:
    """Raises InputError for what is no image reference."""
    if not _IMAGE.fullmatch(image):
        raise InputError(
            f"--image must be a reference such as registry.example.org/team/tailrace@sha256:…; got {image!r}"
        )
    return image


def checked_bucket(place: str) -> str:
    """Raises InputError for what no other machine reaches."""
    if not _BUCKET.fullmatch(place):
        raise InputError(
            f"--bucket must be a URI that all pods reach, such as s3://bucket/tailrace; got {place!r}"
        )
    return place.rstrip("/")
