"""What of the environment goes to a broker and a cluster that run on: what they need, and no more.

>>> passed_on({"PATH": "/bin", "LC_ALL": "C", "BANK_PASSWORD": "x", "AWS_REGION": "eu-west-1"})
{'PATH': '/bin', 'LC_ALL': 'C', 'AWS_REGION': 'eu-west-1'}
>>> passed_on({"MINE": "1", "TAILRACE_PASS": "MINE"})
{'MINE': '1', 'TAILRACE_PASS': 'MINE'}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NEEDED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TMPDIR|TMP|TEMP|TZ|LANG|LC_\w+|HOSTNAME"  # of any program
    r"|JAVA_HOME|JVM_ARGS|JAVA_TOOL_OPTIONS|KAFKA_JVM_PERFORMANCE_OPTS|FLINK_\w+|HADOOP_\w+"
    r"|VIRTUAL_ENV|LD_LIBRARY_PATH|PYTHON(PATH|HOME|HASHSEED|UNBUFFERED|DONTWRITEBYTECODE|WARNINGS)"
    r"|(OMP|MKL|OPENBLAS|NUMEXPR|KMP)_\w+"  # threads of model libraries
    r"|MALLOC_\w+|ARROW_DEFAULT_MEMORY_POOL"
    r"|TAILRACE_(PASS|CRASHES|RELEASES|LOG)"
    # Registries of models, by which workers load versions.
    r"|AWS_\w+|GOOGLE_\w+|GCS_\w+|AZURE_\w+|KRB5\w*"
    r"|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
)


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a broker and a cluster need, and those that TAILRACE_PASS names, with commas."""
    named = {name.strip() for name in environ.get("TAILRACE_PASS", "").split(",")}
    return {name: value for name, value in environ.items() if _NEEDED.fullmatch(name) or name in named}
