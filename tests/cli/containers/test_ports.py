from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.containers.ports import Publication, bindings, publication
from gasang.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", [("", "", 80, "tcp")]),
        ("8080:80", [("", "8080", 80, "tcp")]),
        ("8080:80/UDP", [("", "8080", 80, "udp")]),
        ("127.0.0.1:8080:80", [("127.0.0.1", "8080", 80, "tcp")]),
        ("127.0.0.1::80", [("127.0.0.1", "", 80, "tcp")]),
        ("[::1]:8080:80", [("::1", "8080", 80, "tcp")]),
        ("[::]::80", [("::", "", 80, "tcp")]),
        ("8000-8001:80-81", [("", "8000", 80, "tcp"), ("", "8001", 81, "tcp")]),
        ("80-81", [("", "", 80, "tcp"), ("", "", 81, "tcp")]),
        ("8000-8009:80", [("", "8000-8009", 80, "tcp")]),
    ],
)
def test_what_is_published(text: str, found: list[tuple[str, str, int, str]]) -> None:
    assert publication(text, "--publish") == tuple(Publication(*one) for one in found)


@pytest.mark.parametrize("text", ["", ":80", "0", "65536", "99999:1", "80/icmp", "80/", "8000-8001:80-82", "b:80", "80:", "-1", "9-8", "٣"])
def test_what_publishes_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="--publish"):
        publication(text, "--publish")


@given(st.text())
def test_any_text_is_ports_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert all(0 < entry.port < 65536 for entry in publication(text, "-p"))


def test_the_document_of_the_api() -> None:
    exposed, bound = bindings([*publication("127.0.0.1:8080:80", "-p"), *publication("81:80", "-p"), *publication("53/udp", "-p")])
    assert exposed == {"80/tcp": {}, "53/udp": {}}
    assert bound["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": "81"}]
    assert bound["53/udp"] == [{"HostIp": "", "HostPort": ""}]
