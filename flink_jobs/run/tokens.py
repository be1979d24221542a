"""Token servers that Java may ask: Kafka's client asks none that a system property of its JVM does not name.

In a local run the property is set here; a cluster's own configuration must have it, and is looked at first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flink_jobs.errors import InputError
from flink_jobs.kafka.settings import SHADED
from flink_jobs.spec import JobSpec

# The connector's jar has the name changed, as that of a class.
ALLOWED = f"{SHADED}org.apache.kafka.sasl.oauthbearer.allowed.urls"
_JAVA_OPTIONS = ("env.java.opts.all", "env.java.opts.jobmanager", "env.java.opts.taskmanager")


def token_url(job: JobSpec) -> str | None:
    """Where the job's Kafka clients get tokens; None for other ways to log in."""
    security = job.kafka.security
    return security.oauth.token_url if security and security.oauth else None


def allow_tokens(url: str) -> None:
    """Lets this process's own JVM ask the token server."""
    from flink_jobs.run.jvm import apart_gateway  # Start-up: imports pyflink.  # noqa: PLC0415

    system = apart_gateway().jvm.System
    known = system.getProperty(ALLOWED) or ""
    if url not in known.split(","):
        system.setProperty(ALLOWED, ",".join(filter(None, [known, url])))


def java_option(*urls: str) -> str:
    """The option of Java that allows these token servers."""
    return f"-D{ALLOWED}={','.join(urls)}"


def require_allowed(job: JobSpec, cluster: str, settings: Mapping[str, str]) -> None:
    """Raises InputError when the cluster's JVMs may not ask the job's token server."""
    url = token_url(job)
    if url is None:
        return
    found = " ".join(settings.get(key, "") for key in _JAVA_OPTIONS)
    allowed = [
        one for urls in re.findall(rf"-D{re.escape(ALLOWED)}=([^\s\"']+)", found) for one in urls.split(",")
    ]
    if url not in allowed:
        raise InputError(
            f"{cluster} may not ask {url} for tokens: its env.java.opts.all must have {java_option(url)}"
        )
