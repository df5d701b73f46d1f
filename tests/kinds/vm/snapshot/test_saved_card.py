"""How many queues a saved network card has, on both boards."""

from __future__ import annotations

from typing import Any

import pytest

from gasang.kinds.vm.snapshot.guest import _pairs


def card(queues: int) -> dict[str, Any]:
    return {"virtio0": {"device_id": 3, "queues": []}, "virtio3": {"device_id": 1, "queues": [[0]] * queues}}


@pytest.mark.parametrize(("queues", "pairs"), [(2, 0), (3, 1), (5, 2), (17, 8), (99, 8), (0, 0)])
def test_a_card_is_made_as_it_was_saved(queues: int, pairs: int) -> None:
    assert _pairs({"board": {"devices": card(queues)}}) == _pairs({"bus": {"other": 1} | card(queues)}) == pairs


@pytest.mark.parametrize("damaged", [{}, {"board": 7}, {"board": {"devices": []}}, {"bus": {"virtio3": {"device_id": 1, "queues": 3}}}])
def test_what_is_damaged_is_for_restore_to_find(damaged: dict[str, Any]) -> None:
    assert _pairs(damaged) == 1
