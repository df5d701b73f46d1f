"""Records to JSON and back."""

from __future__ import annotations

import json

import pytest

from gasang.core.errors import BadInputError
from gasang.network.spec import Endpoint, Network, NetworkSpec, Published, SubnetSpec


def test_records_come_back_from_json_as_they_went() -> None:
    subnet = SubnetSpec("10.0.0.0/24", "10.0.0.1", "10.0.0.128/25", {"a": "10.0.0.2"})
    network = Network("1" * 64, NetworkSpec("lan", subnets=(subnet,), labels={"a": "b"}), (subnet,), "gs0", 12)
    port = Published("tcp", "127.0.0.1", 8080, "10.0.0.3", 80)
    endpoint = Endpoint("2" * 64, network.id, "m", "eth0", "gv0", "02:00:00:00:00:01", "web", ("www",), "10.0.0.3/24", published=(port,))
    for record in (subnet, network, port, endpoint):
        assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


def test_what_is_missing_has_its_default_and_what_is_unknown_is_passed_over() -> None:
    assert NetworkSpec.from_json({"name": "lan", "since": "tomorrow"}) == NetworkSpec("lan")
    with pytest.raises(BadInputError, match="lacks"):
        NetworkSpec.from_json({"internal": True})
