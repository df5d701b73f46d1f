"""Values of filters."""

from __future__ import annotations

import pytest

from gasang.api.docker.filters import ports_of
from gasang.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "protocol", "numbers"),
    [("80", "tcp", range(80, 81)), ("53/udp", "udp", range(53, 54)), ("8000-8002/tcp", "tcp", range(8000, 8003)), ("0", "tcp", range(1))],
)
def test_ports(text: str, protocol: str, numbers: range) -> None:
    assert ports_of(text) == (protocol, numbers)


@pytest.mark.parametrize("text", ["", "x", "80-", "-80", "65536", "1" * 99, "²", "80:81"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="no port"):
        ports_of(text)
