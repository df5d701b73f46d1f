"""Where networks are: in the network namespace that the daemon is in, or in another one, beside it.

Who is not the host's root may enter a namespace of his own, but may not come back to the host's. So the other one has a thread that
lives there and does what concerns it; what has to happen in the host's (ports, questions to its resolvers) is done by one that stays.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from gasang.core.errors import PermissionDeniedError

Given = ParamSpec("Given")
Result = TypeVar("Result")
_NEW_NETWORK: Final = 0x40000000


class Place(Protocol):
    """Where networks are."""

    is_apart: bool
    """Whether that is another namespace than the host's."""

    def call(self, work: Callable[[], Result]) -> Result:
        """Do something where networks are."""
        ...

    def outside(self, work: Callable[[], Result]) -> Result:
        """Do something where ports are published."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Placed(Protocol):
    """Something that has a place."""

    place: Place


_Placed = TypeVar("_Placed", bound=Placed)


def there(method: Callable[Concatenate[_Placed, Given], Result]) -> Callable[Concatenate[_Placed, Given], Result]:
    """A method that is carried out where networks are."""

    @wraps(method)
    def carried_out(self: _Placed, /, *words: Given.args, **named: Given.kwargs) -> Result:
        return self.place.call(lambda: method(self, *words, **named))

    return carried_out


class Here:
    """Both are the calling thread's."""

    is_apart = False

    def call(self, work: Callable[[], Result]) -> Result:
        """Do it."""
        return work()

    def outside(self, work: Callable[[], Result]) -> Result:
        """Do it."""
        return work()

    def close(self) -> None:
        """Nothing is held."""


class Beside:
    """Networks are in a namespace of their own; ports are where this is made."""

    is_apart = True

    def __init__(self, namespace: int) -> None:
        """`namespace` is a descriptor. Raises PermissionDeniedError where it cannot be entered."""
        self._inside = _Resident("gasang-networks")
        self._outside = _Resident("gasang-host")
        self._inside.do(lambda: _enter(namespace))

    def call(self, work: Callable[[], Result]) -> Result:
        """Have the thread do it that lives there, and wait; what it raises is raised."""
        return self._inside.do(work)

    def outside(self, work: Callable[[], Result]) -> Result:
        """Have the thread do it that has stayed."""
        return self._outside.do(work)

    def close(self) -> None:
        """End both threads."""
        self._inside.close()
        self._outside.close()


class _Resident:
    """One thread, there from the beginning: a thread is where the one was that started it."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, name)
        self._thread = self._pool.submit(threading.get_ident).result()

    def do(self, work: Callable[[], Result]) -> Result:
        return work() if threading.get_ident() == self._thread else self._pool.submit(work).result()

    def close(self) -> None:
        self._pool.shutdown()


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NETWORK):
        cause = f"the host does not let us enter it ({os.strerror(ctypes.get_errno())})"
        raise PermissionDeniedError("the network namespace", cause, "start the daemon again")
