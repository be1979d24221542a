"""An S3 server in this process, moto's, as a stand-in for a real one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs

from flink_jobs.system.processes import free_port

SECRET = "not-to-be-shown"


@contextmanager
def s3_server() -> Iterator[str]:
    """Gives its host and port."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    try:
        yield ":".join(map(str, server.get_host_and_port()))
    finally:
        server.stop()


def bucket_uri(address: str, bucket: str) -> str:
    """The URI of a folder in a bucket, which is made. It has the keys: a test's environment stays here."""
    query = f"endpoint_override={address}&scheme=http&region=eu-central-1"
    keys = f"tailrace:{SECRET}"
    fs.FileSystem.from_uri(f"s3://{keys}@{bucket}?{query}&allow_bucket_creation=true")[0].create_dir(bucket)
    return f"s3://{keys}@{bucket}/models?{query}"
