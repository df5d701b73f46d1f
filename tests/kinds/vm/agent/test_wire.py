"""What the host believes of a guest's messages: nothing but the protocol."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.kinds.vm.agent import client, protocol, running
from gasang.kinds.vm.agent.protocol import ENDED, HELLO, MAGIC, MESSAGES, OUTPUT, PIECE, STARTED, VERSION
from gasang.kinds.vm.agent.wire import HEADER, Reader, Said, packed
from gasang.native import ctype_of

SAYINGS = st.sampled_from([message for message in MESSAGES if not message.by_host]).flatmap(
    lambda message: st.builds(
        Said,
        st.just(message.kind),
        st.integers(-(1 << 31), (1 << 31) - 1),
        st.binary(min_size=message.least, max_size=min(message.most, message.least + 100)),
    )
)


@given(st.lists(SAYINGS, max_size=5), st.lists(st.integers(1, 60), min_size=1))
def test_messages_come_whole_in_whatever_pieces(sayings: list[Said], sizes: list[int]) -> None:
    stream = b"".join(packed(said.kind, said.content, said.value) for said in sayings)
    reader, found, turn = Reader("guest"), [], 0
    while stream:
        piece, stream = stream[: sizes[turn % len(sizes)]], stream[sizes[turn % len(sizes)] :]
        found += reader.feed(piece)
        turn += 1
    assert found == sayings


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_nonsense_is_refused_and_nothing_else_happens(pieces: list[bytes]) -> None:
    reader, told = Reader("guest"), ""
    try:
        found = [said for piece in pieces for said in reader.feed(piece)]
    except BadInputError as error:
        found, told = [], str(error)
    whole = b"".join(pieces)
    assert found == [] or whole.startswith(b"gsag")
    assert ("does not keep the protocol" in told) == (len(whole) >= 16 and not whole.startswith(b"gsag")) or whole.startswith(b"gsag")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ((MAGIC ^ 1, VERSION, STARTED, 0, 1), "without its mark"),
        ((MAGIC, VERSION + 1, STARTED, 0, 1), "version 2, this build speaks 1"),
        ((MAGIC, VERSION, HELLO, 0, 0), "kind 1"),
        ((MAGIC, VERSION, 999, 0, 0), "kind 999"),
        ((MAGIC, VERSION, OUTPUT, PIECE + 1, 0), f"OUTPUT of {PIECE + 1} bytes"),
        ((MAGIC, VERSION, ENDED, 0, 0), "ENDED of 0 bytes"),
        ((MAGIC, VERSION, STARTED, 0xFFFF_FFFF, 0), "STARTED of 4294967295 bytes"),
    ],
)
def test_a_header_that_no_agent_sends(header: tuple[int, int, int, int, int], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        Reader("guest").feed(HEADER.pack(*header))


@pytest.mark.parametrize(
    ("structure", "form"),
    [
        (protocol.Header, HEADER),
        (protocol.Hello, client._HELLO),
        (protocol.Health, client._HEALTH),
        (protocol.Exec, client._EXEC),
        (protocol.Identity, client._IDENTITY),
        (protocol.End, client._END),
        (protocol.End, running._END),
    ],
)
def test_both_sides_mean_the_same_structures(structure: type, form: object) -> None:
    native = ctype_of(structure)
    assert ctypes.sizeof(native) == form.size  # type: ignore[attr-defined]
    values = tuple(range(1, len(form.unpack(bytes(form.size))) + 1))  # type: ignore[attr-defined]
    if structure == protocol.Identity:
        values = (1, b"s" * 32, 3, 4, b"n" * 64)
    data = form.pack(*values)  # type: ignore[attr-defined]
    read = native.from_buffer_copy(data)
    flat: list[object] = []
    for name, _ in native._fields_:
        field = getattr(read, name)
        flat += [bytes(field)] if isinstance(field, ctypes.Array) and field._type_ is ctypes.c_uint8 else (
            list(field) if isinstance(field, ctypes.Array) else [field]
        )
    assert tuple(flat) == values


def test_the_table_has_each_kind_once_and_fits_the_agents_data() -> None:
    assert len({message.kind for message in MESSAGES}) == len({message.name for message in MESSAGES}) == len(MESSAGES)
    assert all(getattr(protocol, message.name) == message.kind <= protocol.MOST_KIND for message in MESSAGES)
    sizes = (protocol.HEADER_SIZE, protocol.EXEC_SIZE, protocol.END_SIZE, protocol.HELLO_SIZE, protocol.HEALTH_SIZE, protocol.IDENTITY_SIZE)
    structures = (protocol.Header, protocol.Exec, protocol.End, protocol.Hello, protocol.Health, protocol.Identity)
    assert sizes == tuple(ctypes.sizeof(ctype_of(structure)) for structure in structures)
