"""Versions of saved states."""

from __future__ import annotations

import pytest

from gasang.core.errors import BadInputError
from gasang.devices.state import check_version


@pytest.mark.parametrize("state", [{}, {"version": 0}, {"version": 3}, {"version": "1"}])
def test_refuses_what_this_build_does_not_know(state: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="saved state of UART"):
        check_version(state, "UART", 2)


def test_accepts_older_versions() -> None:
    assert [check_version({"version": version}, "UART", 2) for version in (1, 2)] == [1, 2]
