from __future__ import annotations

import pytest

from gasang.cli.containers.attachments import Attachment, attachment, joined
from gasang.core.errors import UsageError

NOTHING = Attachment("")


def test_both_forms() -> None:
    assert attachment("container:web", "--network") == Attachment("container:web")
    text = "name=app,alias=a,alias=b,ip=10.0.0.9,ip6=fd00::9,mac-address=02:00:00:00:00:09"
    assert attachment(text, "--network") == Attachment("app", ("a", "b"), "10.0.0.9", "fd00::9", "02:00:00:00:00:09")


@pytest.mark.parametrize(
    ("text", "says"), [("", "is empty"), ("alias=a", "it names no network"), ("name=a,x=1", "takes no such word"), ("name=", "such word")]
)
def test_what_joins_nothing(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attachment(text, "--network")


def test_a_plain_network_asks_for_nothing() -> None:
    assert joined([], NOTHING) == (None, {})
    assert joined([Attachment("host")], NOTHING) == ("host", {})


def test_options_are_asked_of_the_first() -> None:
    mode, asked = joined([Attachment("a", ("x",)), Attachment("b")], Attachment("", ("y",), "10.0.0.2"))
    assert mode == "a"
    assert asked == {"a": {"Aliases": ["x", "y"], "IPAMConfig": {"IPv4Address": "10.0.0.2"}}, "b": {}}


def test_what_cannot_be_joined() -> None:
    with pytest.raises(UsageError, match="add --network NETWORK"):
        joined([], Attachment("", ip="10.0.0.2"))
    with pytest.raises(UsageError, match="it is named twice"):
        joined([Attachment("a"), Attachment("a")], NOTHING)
