"""What is made of what a client asks for, before anything is there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gasang.daemon.containers.creation import Creation


@pytest.mark.parametrize("weighs", [False, True])
def test_weights_are_discarded_with_dockers_words_where_there_are_none(weighs: bool) -> None:
    services: Any = SimpleNamespace(control=SimpleNamespace(weighs_blocks=weighs))
    host: dict[str, Any] = {"BlkioWeight": 300, "BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 300}]}
    warnings = Creation(services, list, SimpleNamespace())._discard(host)  # type: ignore[arg-type]
    if weighs:
        assert (warnings, host["BlkioWeight"], len(host["BlkioWeightDevice"])) == ([], 300, 1)
        return
    assert host == {"BlkioWeight": 0, "BlkioWeightDevice": None}
    assert [words.partition("support ")[2].partition(" or the cgroup")[0] for words in warnings] == [
        "Block I/O weight", "Block I/O weight_device",
    ]  # fmt: skip
