"""Tokens for Amazon MSK, signed with the credentials that boto finds (environment, profile, role)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from flink_jobs.errors import InputError

PACKAGE = "aws-msk-iam-sasl-signer-python"
TokenCallback = Callable[[str], tuple[str, float]]


def token_callback(region: str) -> TokenCallback:
    """What librdkafka calls for a token: gives it with the second since 1970 at which it expires.

    Raises InputError when the package that signs is not installed.
    """
    try:
        provider = import_module("aws_msk_iam_sasl_signer").MSKAuthTokenProvider
    except ImportError as error:
        raise InputError(
            f"kafka.security.mechanism AWS_MSK_IAM needs the package {PACKAGE}: pip install {PACKAGE}"
        ) from error

    def token(_: str) -> tuple[str, float]:
        signed, expires_ms = provider.generate_auth_token(region)
        return str(signed), expires_ms / 1000

    return token
