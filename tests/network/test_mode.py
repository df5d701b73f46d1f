"""What users write after --network."""

from __future__ import annotations

import pytest

from gasang.core.errors import UsageError
from gasang.network.mode import HOST, MACHINE, NETWORK, NONE, Mode, mode_of


@pytest.mark.parametrize(
    ("text", "mode", "own"),
    [
        ("", Mode(NETWORK, "bridge"), True),
        ("default", Mode(NETWORK, "bridge"), True),
        ("bridge", Mode(NETWORK, "bridge"), True),
        ("lan", Mode(NETWORK, "lan"), True),
        ("host", Mode(HOST), False),
        ("none", Mode(NONE), True),
        ("container:web", Mode(MACHINE, "web"), False),
    ],
)
def test_modes(text: str, mode: Mode, own: bool) -> None:
    assert mode_of(text) == mode
    assert mode.own_namespace is own


@pytest.mark.parametrize("text", ["container:", "ns:/proc/1/ns/net", "a b", ":x"])
def test_modes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="network"):
        mode_of(text)
