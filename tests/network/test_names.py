"""Names of what we put on the host."""

from __future__ import annotations

import pytest

from gasang.core.errors import UsageError
from gasang.network import names

TAG = names.tag_of("/var/lib/gasang")


def test_what_is_ours_is_known_and_what_is_anothers_too() -> None:
    identity = names.new_id()
    other = names.tag_of("/elsewhere")
    assert names.is_our_cable(TAG, "veth", names.cable(TAG, identity))
    assert not names.is_our_cable(other, "veth", names.cable(TAG, identity))
    assert not names.is_our_cable(TAG, "dummy", names.cable(TAG, identity))
    assert not names.is_our_cable(TAG, "veth", "veth1234567")
    address = names.bridge_address(TAG, identity)
    assert names.is_our_bridge(TAG, "bridge", address)
    assert not names.is_our_bridge(other, "bridge", address)
    assert not names.is_our_bridge(TAG, "veth", address)
    assert not names.is_our_bridge(TAG, "bridge", b"")


def test_names_fit_into_what_the_kernel_has_for_them() -> None:
    identity = names.new_id()
    for name in (names.cable(TAG, identity), names.bridge(TAG, identity)):
        assert names.checked_interface(name) == name


def test_a_machines_hardware_address_follows_from_its_address() -> None:
    assert names.machine_address("172.17.0.2/16", "") == "02:42:ac:11:00:02"
    assert names.machine_address("", "0123456789") == "02:42:01:23:45:67"


@pytest.mark.parametrize(
    "text", ["", "x", "02:42:ac:11:00", "02:42:ac:11:00:0g", "01:00:00:00:00:01", "00:00:00:00:00:00", "2:42:ac:11:0:2"]
)
def test_hardware_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="MAC address"):
        names.checked_hardware_address(text)


def test_hardware_addresses_are_made_uniform() -> None:
    assert names.checked_hardware_address("02-AB-ac-11-00-02") == "02:ab:ac:11:00:02"


@pytest.mark.parametrize("text", ["", "a/b", "a b", "sixteen-letters-", "lo", "..", ".", "all", "default", "a:b", "a\0", "a%d"])
def test_interface_names_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="interface name"):
        names.checked_interface(text)


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", ".a", "ü", "a" * 256])
def test_network_names_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="network name"):
        names.checked_name(text)


@pytest.mark.parametrize("tag", ["", "12345", "ABCD", "xyz1"])
def test_tags_that_are_none(tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        names.checked_tag(tag)
