"""DHCP of both families: what a client is told at each step, exhaustion, and whatever else may come."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.network.dhcp import v4, v6
from gasang.network.dhcp.leases import OFFERED, SECONDS, SHUNNED, Leases

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
SERVER = ip_address("10.7.0.1").packed
POOL = [ip_address(f"10.7.0.{number}").packed for number in range(2, 6)]
POOL6 = [ip_address(f"fd07::{number}").packed for number in range(2, 6)]
FAR = ip_address("192.0.2.9").packed
RESOLVER6 = ip_address("fd07::1").packed


def server4(**more: object) -> v4.Server4:
    offer = v4.Offer(SERVER, b"\xff\xff\xff\0", (SERVER,), (SERVER,), 1400, "web", ((SERVER, 32, bytes(4)), (bytes(4), 0, SERVER)))
    return v4.Server4(offer, Leases(POOL, **more))  # type: ignore[arg-type]


def asked4(kind: int, *options: bytes, mac: bytes = MAC, current: bytes = bytes(4), relay: bytes = bytes(4), operation: int = 1) -> bytes:
    parts = (operation, 1, 6, 0, 99, 0, 0x8000, current, bytes(4), bytes(4), relay, mac, b"", b"", b"\x63\x82\x53\x63")
    return struct.pack(">BBBBIHH4s4s4s4s16s64s128s4s", *parts) + bytes((53, 1, kind)) + b"".join(options) + b"\xff"


def option(number: int, value: bytes) -> bytes:
    return bytes((number, len(value))) + value


def told4(answer: bytes | None) -> tuple[int, bytes, dict[int, bytes]]:
    assert answer is not None
    options = dict(v4.options_of(answer[240:]))
    return options[53][0], answer[16:20], options


def test_a_lease_from_its_offer_to_its_end() -> None:
    server = server4()
    kind, address, options = told4(server.answer(asked4(1), MAC, 0.0))
    assert (kind, address) == (2, POOL[0])
    assert options[1] == b"\xff\xff\xff\0"
    assert options[3] == options[6] == options[54] == SERVER
    assert options[26] == b"\x05\x78"
    assert options[12] == b"web"
    assert options[121] == b"\x20" + SERVER + bytes(4) + b"\0" + SERVER
    assert [int.from_bytes(options[number], "big") for number in (51, 58, 59)] == [SECONDS, SECONDS // 2, SECONDS * 7 // 8]
    chosen = option(54, SERVER) + option(50, POOL[0])
    assert told4(server.answer(asked4(3, chosen), MAC, 1.0))[:2] == (5, POOL[0])
    assert told4(server.answer(asked4(3, current=POOL[0]), MAC, 9.0))[:2] == (5, POOL[0])  # renewed
    assert told4(server.answer(asked4(3, option(50, POOL[0])), MAC, 9.0))[:2] == (5, POOL[0])  # after a restart
    assert told4(server.answer(asked4(3, option(50, POOL[1])), MAC, 9.0))[0] == 6
    assert (
        told4(server.answer(asked4(3, option(50, FAR)), OTHER, 9.0) or server.answer(asked4(3, option(50, FAR), mac=OTHER), OTHER, 9.0))[0]
        == 6
    )
    assert told4(server.answer(asked4(8), MAC, 9.0))[:2] == (5, bytes(4))
    assert server.answer(asked4(7, current=POOL[0]), MAC, 9.0) is None  # released
    assert told4(server.answer(asked4(1, option(50, POOL[0]), mac=OTHER), OTHER, 10.0))[1] == POOL[0]


def test_who_is_not_answered() -> None:
    server = server4()
    wrong = [asked4(1, relay=FAR), asked4(1, operation=2), asked4(1, mac=OTHER), asked4(1)[:239], asked4(1, option(50, b"abc")), asked4(99)]
    for message in (*wrong, asked4(3, option(54, FAR)), asked4(3)):
        assert server.answer(message, MAC, 0.0) is None


def test_offers_are_short_and_leases_are_not_taken_away(caplog: pytest.LogCaptureFixture) -> None:
    server = server4()
    server.answer(asked4(1), MAC, 0.0)
    server.answer(asked4(3, option(54, SERVER), option(50, POOL[0])), MAC, 0.0)
    flood = [bytes((2, 0, 0, 1, *divmod(number, 256))) for number in range(1000)]
    assert sum(server.answer(asked4(1, mac=mac), mac, 1.0) is not None for mac in flood) == 3
    assert [record.message for record in caplog.records] == [
        "DHCP: all 4 addresses are taken; who asks now gets none until one is given back"
    ]
    assert told4(server.answer(asked4(1), MAC, 2.0))[1] == POOL[0]
    assert server.answer(asked4(1, mac=OTHER), OTHER, OFFERED) is None
    assert told4(server.answer(asked4(1, mac=OTHER), OTHER, OFFERED + 1))[1] in POOL[1:]
    for mac in flood:
        server.answer(asked4(1, mac=mac), mac, OFFERED + 2)
    assert len(caplog.records) == 2  # it was over in between


def test_what_somebody_else_uses_is_not_given_out_for_a_while() -> None:
    server = server4()
    server.answer(asked4(1), MAC, 0.0)
    server.answer(asked4(4, option(54, SERVER), option(50, POOL[0])), MAC, 0.0)
    assert told4(server.answer(asked4(1, option(50, POOL[0])), MAC, 1.0))[1] == POOL[1]
    assert told4(server.answer(asked4(1, option(50, POOL[0]), mac=OTHER), OTHER, SHUNNED))[1] == POOL[0]


def test_who_is_known_has_its_own_address() -> None:
    server = server4(reserved={MAC: POOL[2]})
    assert told4(server.answer(asked4(1, option(61, b"\1ab")), MAC, 0.0))[1] == POOL[2]
    assert told4(server.answer(asked4(3, option(50, POOL[2])), MAC, 0.0))[:2] == (5, POOL[2])
    assert told4(server.answer(asked4(3, option(50, POOL[0])), MAC, 0.0))[0] == 6
    assert told4(server.answer(asked4(1, option(50, POOL[2]), mac=OTHER), OTHER, 0.0))[1] == POOL[0]


# IPv6

CLIENT6 = b"\0\3\0\1" + MAC


def option6(number: int, value: bytes) -> bytes:
    return struct.pack(">HH", number, len(value)) + value


def association(*addresses: bytes, name: bytes = b"ia 1") -> bytes:
    return option6(3, name + bytes(8) + b"".join(option6(5, address + bytes(8)) for address in addresses))


def asked6(kind: int, *options: bytes, client: bytes = CLIENT6) -> bytes:
    return bytes((kind, 1, 2, 3)) + option6(1, client) + b"".join(options)


def told6(answer: bytes | None) -> tuple[int, dict[int, bytes]]:
    assert answer is not None
    assert answer[1:4] == b"\1\2\3"
    return answer[0], dict(v6.options_of(answer[4:]))


def given6(options: dict[int, bytes]) -> tuple[bytes, dict[int, bytes]]:
    """The address, and what else is in the association."""
    inner = dict(v6.options_of(options[3][12:]))
    return inner.get(5, b"")[:16], inner


def test_an_address_of_ipv6_from_its_offer_to_its_end() -> None:
    server = v6.Server6(OTHER, (RESOLVER6,), Leases(POOL6))
    kind, options = told6(server.answer(asked6(1, association()), MAC, 0.0))
    assert (kind, given6(options)[0], options[1], options[23]) == (2, POOL6[0], CLIENT6, RESOLVER6)
    ours = option6(2, options[2])
    kind, options = told6(server.answer(asked6(3, ours, association(POOL6[0])), MAC, 1.0))
    assert (kind, given6(options)[0]) == (7, POOL6[0])
    assert struct.unpack(">II", options[3][4:12]) == (SECONDS // 2, SECONDS * 4 // 5)
    assert given6(told6(server.answer(asked6(5, ours, association(POOL6[0])), MAC, 2.0))[1])[0] == POOL6[0]
    assert given6(told6(server.answer(asked6(6, association(POOL6[0])), MAC, 2.0))[1])[0] == POOL6[0]
    assert told6(server.answer(asked6(4, association(POOL6[0])), MAC, 2.0))[1][13] == b"\0\0"
    assert told6(server.answer(asked6(4, association(POOL6[1])), MAC, 2.0))[1][13] == b"\0\4"
    assert told6(server.answer(asked6(8, ours, association(POOL6[0])), MAC, 3.0))[1][13] == b"\0\0"
    assert given6(told6(server.answer(asked6(5, ours, association(POOL6[0])), MAC, 4.0))[1])[1][13] == b"\0\3"
    assert told6(server.answer(asked6(1, option6(14, b""), association()), MAC, 4.0))[0] == 7
    told6(server.answer(asked6(9, ours, association(POOL6[0])), MAC, 4.0))
    assert given6(told6(server.answer(asked6(1, association(POOL6[0])), MAC, 5.0))[1])[0] == POOL6[1]


def test_addresses_of_ipv6_run_out_and_one_client_has_one() -> None:
    server = v6.Server6(OTHER, (), Leases(POOL6))
    answers = [told6(server.answer(asked6(1, association(), client=b"\0\4" + bytes((number,))), MAC, 0.0))[1] for number in range(6)]
    assert [bool(given6(options)[0]) for options in answers] == [True] * 4 + [False] * 2
    assert given6(answers[-1])[1][13] == b"\0\2"
    _, options = told6(v6.Server6(OTHER, (), Leases(POOL6)).answer(asked6(1, association(), association(name=b"ia 2")), MAC, 0.0))
    assert given6(options)[1][13] == b"\0\2"


def test_which_messages_of_ipv6_are_not_answered() -> None:
    server = v6.Server6(OTHER, (), Leases(POOL6))
    stranger = option6(2, b"\0\3\0\1stranger")
    several = [association()] * 9
    named_wrongly = [asked6(1, stranger), asked6(3, association()), asked6(3, stranger, association())]
    for message in (*named_wrongly, asked6(4), asked6(7), asked6(200), b"\1", b"\1abc", asked6(1, *several), asked6(1, client=bytes(200))):
        assert server.answer(message, MAC, 0.0) is None
    assert v6.Server6(OTHER, ()).answer(asked6(1, association()), MAC, 0.0) is None


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from([1, 3, 4, 5, 6, 7, 8, 9, 11]), st.integers(0, 80))
def test_any_messages(junk: bytes, kind: int, cut: int) -> None:
    four, six = server4(), v6.Server6(OTHER, (RESOLVER6,), Leases(POOL6))
    for message in (junk, asked4(kind)[:-1] + junk, asked4(kind, option(54, SERVER), option(50, POOL[0]))[: 236 + cut]):
        assert len(four.answer(message, MAC, 0.0) or b"") < 576
    for message in (junk, asked6(kind) + junk, asked6(kind, association(POOL6[0]))[:cut] + junk):
        assert len(six.answer(message, MAC, 0.0) or b"") < 1232
