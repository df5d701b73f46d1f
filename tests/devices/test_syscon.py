"""Reset and power-off requests."""

from __future__ import annotations

import pytest

from gasang.devices.syscon import PowerAction, PowerRequest, Syscon


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        (0x5555, PowerRequest(PowerAction.OFF)),
        (0x7777, PowerRequest(PowerAction.RESET)),
        (0x3333, PowerRequest(PowerAction.FAIL)),
        (0x0007_3333, PowerRequest(PowerAction.FAIL, 7)),
        (0x0007_5555, PowerRequest(PowerAction.OFF)),
    ],
)
@pytest.mark.parametrize("width", [2, 4, 8])
def test_passes_requests_on(value: int, request_: PowerRequest, width: int) -> None:
    seen: list[PowerRequest] = []
    Syscon(seen.append).write(0, width, value)
    assert seen == [request_]


@pytest.mark.parametrize(("offset", "value"), [(4, 0x5555), (0, 0), (0, 0x1234), (0xFFC, 0x7777)])
def test_ignores_everything_else(offset: int, value: int) -> None:
    seen: list[PowerRequest] = []
    syscon = Syscon(seen.append)
    syscon.write(offset, 4, value)
    assert (seen, syscon.read(offset, 4)) == ([], 0)
