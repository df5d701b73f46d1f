"""What a process may do with users, as the kernel says in /proc."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator

import pytest

from gasang.host import users
from gasang.host.namespaces import CLONE_NEWUSER


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    users.forget()
    yield
    users.forget()


def within(mapping: str, ask: Callable[[], bool]) -> bool:
    """What `ask` says in a user namespace with this mapping of users, which only its first process is in."""
    ours, theirs = os.pipe()
    ready, go = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        ctypes.CDLL(None).unshare(CLONE_NEWUSER)
        os.write(theirs, b"!")
        os.read(ready, 1)
        users.forget()
        os.write(tell, b"yes" if ask() else b"no")
        os._exit(0)
    os.read(ours, 1)
    with open(f"/proc/{child}/setgroups", "w") as file:
        file.write("deny")
    for kind in users.KINDS:
        with open(f"/proc/{child}/{kind}_map", "w") as file:
            file.write(mapping)
    os.write(go, b"!")
    answer = os.read(told, 3)
    os.waitpid(child, 0)
    for descriptor in (ours, theirs, ready, go, told, tell):
        os.close(descriptor)
    return answer == b"yes"


@pytest.mark.skipif(os.geteuid() != 0 or not users.are_the_hosts(), reason="needs the host's root")
def test_a_namespace_of_one_and_of_many() -> None:
    assert users.has("uid", 1000)
    assert users.may_set_groups()
    assert not users.is_alone()
    assert within("0 5000 1\n", users.is_alone)
    assert not within("0 5000 1\n", users.are_the_hosts)
    assert not within("0 5000 1\n", users.may_set_groups)
    assert not within("0 5000 1\n", lambda: users.has("uid", 1))
    assert not within("0 5000 10\n", users.is_alone)
    assert within("0 5000 1\n1 6000 9\n", lambda: users.has("gid", 9) and not users.has("gid", 10))


def test_a_kernel_without_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert users.are_the_hosts()
    assert users.may_set_groups()
    monkeypatch.undo()
