"""Whether there is memory for twins is looked at as often as it may matter."""

from __future__ import annotations

import pytest

from gasang.core.errors import OutOfSpaceError
from gasang.daemon.containers.record import Container
from gasang.daemon.vms import room
from gasang.daemon.vms.room import AT_MOST, TWIN, Room
from gasang.kinds.container.cgroups.headroom import Headroom


def looks(monkeypatch: pytest.MonkeyPatch, found: Headroom | None, twins: int) -> int:
    """How often there is looked for so many twins."""
    looked: list[int] = []
    monkeypatch.setattr(room, "headroom", lambda pid: looked.append(pid) or found)
    made = Room(Container("1" * 64, "web", "", "", "", {}, {}))
    for _ in range(twins):
        if not made.take():
            made.look()
    return len(looked)


@pytest.mark.parametrize("found", [Headroom(1 << 40, "the host"), None])
def test_where_there_is_much(monkeypatch: pytest.MonkeyPatch, found: Headroom | None) -> None:
    assert looks(monkeypatch, found, 5 * AT_MOST) == 5


@pytest.mark.parametrize(("twins", "looked"), [(1, 20), (3, 10), (4, 7)])
def test_where_there_is_little(monkeypatch: pytest.MonkeyPatch, twins: int, looked: int) -> None:
    assert looks(monkeypatch, Headroom(twins * TWIN, "the host"), 20) == looked


def test_where_there_is_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutOfSpaceError, match="there is no memory for a twin"):
        looks(monkeypatch, Headroom(TWIN - 1, "control group /a"), 1)
