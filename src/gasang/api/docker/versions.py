"""Which versions of the API are spoken."""

from __future__ import annotations

from typing import Final

from gasang.core.errors import UsageError

OLDEST: Final = (1, 24)
NEWEST: Final = (1, 50)


def shown(version: tuple[int, int]) -> str:
    """A version as clients write it."""
    return f"{version[0]}.{version[1]}"


def check(version: tuple[int, int] | None) -> tuple[int, int]:
    """The version of a request, the newest where it names none. Raises UsageError where it is not spoken."""
    if version is None:
        return NEWEST
    if version < OLDEST:
        raise UsageError(
            f"client version {shown(version)} is too old", f"Minimum supported API version is {shown(OLDEST)}", "use a newer client"
        )
    if version > NEWEST:
        raise UsageError(
            f"client version {shown(version)} is too new", f"Maximum supported API version is {shown(NEWEST)}", "set DOCKER_API_VERSION"
        )
    return version
