"""Users looked up in an image's own files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.daemon.containers.user import identify

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:www:/var/www:/bin/false\n# comment\nbroken\nodd:x:a:b::/:\n"
GROUP = "root:x:0:\nwww:x:34:\nextra:x:50:web,other\nmore:x:51:web\n"


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0,), "/root"),
        ("web", 33, 34, (34, 50, 51), "/var/www"),
        ("33", 33, 34, (34, 50, 51), "/var/www"),
        ("1000", 1000, 0, (0,), "/"),
        ("1000:50", 1000, 50, (50,), "/"),
        ("web:extra", 33, 50, (50,), "/var/www"),
        ("web:7", 33, 7, (7,), "/var/www"),
    ],
)
def test_users(user: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    found = identify(user, PASSWD, GROUP, [])
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


def test_more_groups() -> None:
    assert identify("web", PASSWD, GROUP, ["www", "99", "extra"]).groups == (34, 50, 51, 99)


@pytest.mark.parametrize("user", ["nobody", "web:nogroup", "odd", "99999999999", "-1", "0x1"])
def test_users_that_are_not_there(user: str) -> None:
    with pytest.raises(UsageError):
        identify(user, PASSWD, GROUP, [])


@given(st.text(max_size=10), st.text(alphabet="a:0\n,x", max_size=60), st.text(alphabet="a:0\n,x", max_size=60))
def test_any_files_are_read_or_refused(user: str, passwd: str, group: str) -> None:
    try:
        found = identify(user, passwd, group, [])
    except UsageError:
        return
    assert 0 <= found.uid < 1 << 31
    assert 0 <= found.gid < 1 << 31
