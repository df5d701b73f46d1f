"""What a store over the network, or the library that speaks to it, complains of, as errors a user understands."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, Final

from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from gasang.core.errors import (
    BadInputError,
    GasangError,
    NotFoundError,
    OutOfSpaceError,
    PermissionDeniedError,
    StateError,
    TimedOutError,
    UsageError,
)

_SAFE: Final = "the backups that are there are whole"
_KEYS: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
_REFUSED: Final[tuple[type[GasangError], str, str]] = (PermissionDeniedError, "it refuses", "check the keys and what they may do")
_FULL: Final[tuple[type[GasangError], str, str]] = (OutOfSpaceError, "it is full", f"free some space there; {_SAFE}")
CODES: Final[dict[str, tuple[type[GasangError], str, str]]] = {
    **dict.fromkeys(("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), _REFUSED),
    **dict.fromkeys(("QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "InsufficientStorage", "507"), _FULL),
    "NoSuchBucket": (NotFoundError, "there is no such bucket", "make it first, with the store's own tools"),
    "PermanentRedirect": (StateError, "the bucket is in another region", "set AWS_REGION"),
    "AuthorizationHeaderMalformed": (StateError, "the bucket is in another region", "set AWS_REGION"),
    "RequestTimeTooSkewed": (StateError, "its clock and this host's differ", "set this host's clock"),
}
"""The codes of S3's error responses that mean more than that it failed."""
GONE: Final = frozenset(("NoSuchKey", "404", "NotFound"))
TAKEN: Final = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict", "409"))
"""If-None-Match was not so, or another write of the same name is under way (S3 API, PutObject)."""
UNKNOWN: Final = frozenset(("NotImplemented", "501", "InvalidArgument", "MethodNotAllowed"))
"""What stores answer that have not all of S3."""
_LONGEST: Final = 200


def code_of(error: exceptions.ClientError) -> str:
    """The code of an error response."""
    return str(error.response.get("Error", {}).get("Code") or "")


@contextlib.contextmanager
def telling(subject: str) -> Iterator[None]:
    """Botocore's errors as ours; a name that is not there as FileNotFoundError, one that is as FileExistsError."""
    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(subject, error) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError) as error:
        raise PermissionDeniedError(subject, "there are no keys for it", _KEYS) from error
    except (exceptions.NoRegionError, exceptions.ProfileNotFound, exceptions.ConfigParseError, exceptions.InvalidConfigError) as error:
        raise UsageError(subject, _text(error), "mend ~/.aws/config, or the environment's AWS_*") from error
    except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError) as error:
        raise TimedOutError(subject, "the store does not answer", f"try again; {_SAFE}") from error
    except exceptions.ParamValidationError as error:
        raise UsageError(subject, _text(error), "use s3://BUCKET/PREFIX") from error
    except (exceptions.BotoCoreError, ResponseParserError, HTTPError, ValueError, KeyError, RecursionError) as error:
        hint = f"check AWS_ENDPOINT_URL_S3 and the network, and try again; {_SAFE}"
        raise BadInputError(subject, f"the store cannot be used ({_text(error)})", hint) from error


def _answered(subject: str, error: exceptions.ClientError) -> Exception:
    code = code_of(error)
    if code in GONE:
        return FileNotFoundError(errno.ENOENT, _text(error))
    if code in TAKEN:
        return FileExistsError(errno.EEXIST, _text(error))
    told: Any = error.response.get("Error", {}).get("Message") or code
    if code in CODES:
        kind, cause, hint = CODES[code]
        return kind(subject, f"{cause} ({_text(told)})", hint)
    return BadInputError(subject, f"the store fails ({_text(code)}: {_text(told)})", f"try again; {_SAFE}")


def _text(told: object) -> str:
    """What a stranger says, on one short line."""
    return "".join(each if each.isprintable() else " " for each in str(told)[:_LONGEST])
