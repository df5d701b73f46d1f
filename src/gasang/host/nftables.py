"""nftables: tables, chains, sets, maps and rules as netlink messages, sent as one transaction.

A rule is a list of expressions that load registers, compare, look up and decide; the functions here name them as the kernel does. All
numbers of netfilter are big-endian, except those a packet's meta data are compared with, which are in the host's order. A transaction
is all or nothing: `transaction` frames messages so.

Reference: linux/netfilter/nf_tables.h, nfnetlink.h; nft(8).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from gasang.core.errors import GasangError
from gasang.host.netlink import CREATE, EXCL, NETFILTER, Answer, Message, NetlinkError, Socket, attribute, attributes, nested, text

INET: Final = 1
IP: Final = 2
NETDEV: Final = 5
IP6: Final = 10

INGRESS: Final = 0
PREROUTING: Final = 0
FORWARD: Final = 2
OUTPUT: Final = 3
POSTROUTING: Final = 4

DROP: Final = 0
ACCEPT: Final = 1
GOTO: Final = -4

TYPE_IPV4: Final = 7
TYPE_IPV6: Final = 8
TYPE_PROTOCOL: Final = 12
TYPE_PORT: Final = 13
TYPE_INTERFACE: Final = 41

META_ETHERTYPE: Final = 1
META_INPUT_NAME: Final = 6
META_OUTPUT_NAME: Final = 7
META_FAMILY: Final = 15
META_PROTOCOL: Final = 16

CT_STATE: Final = 0
CT_STATUS: Final = 2
ESTABLISHED_OR_RELATED: Final = 6
DESTINATION_TRANSLATED: Final = 32

LINK_HEADER: Final = 0
NETWORK_HEADER: Final = 1
TRANSPORT_HEADER: Final = 2

EQUAL: Final = 0
NOT_EQUAL: Final = 1
LESS: Final = 2

_SUBSYSTEM = 10 << 8
_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _NEW_CHAIN, _GET_CHAIN, _DELETE_CHAIN = 0, 1, 2, 3, 4, 5
_NEW_RULE, _GET_RULE, _NEW_SET, _NEW_ELEMENT, _DELETE_ELEMENT, _GET_GENERATION = 6, 7, 9, 12, 14, 16
_BATCH_BEGIN, _BATCH_END = 16, 17
_MAP_FLAG = 8
_RANDOM, _TO_NETWORK = 1, 1
_ADDRESS_TYPE = 3
_OF_DESTINATION = 2
_LOCAL_ADDRESS = 2
_CT_DELETE = 1 << 8 | 2
_CT_REPLY, _CT_FILTER = 2, 25
_NO_SUCH_SELECTION = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP})
_FAMILY_HEADER = struct.Struct(">BBH")


def _be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i" if value < 0 else ">I", value))


def _message(kind: int, flags: int, family: int, body: bytes, subject: str) -> Message:
    return Message(_SUBSYSTEM | kind, flags, _FAMILY_HEADER.pack(family, 0, 0) + body, subject)


def transaction(messages: Sequence[Message]) -> list[Message]:
    """The messages framed, so that all take effect at once or none does.

    The last of them, not the frame's end, is what the kernel acknowledges; a transaction refused as a whole is answered at the frame's
    beginning.
    """
    frame = _FAMILY_HEADER.pack(0, 0, _SUBSYSTEM >> 8)
    return [Message(_BATCH_BEGIN, 0, frame, "a transaction"), *messages, Message(_BATCH_END, 0, frame, "a transaction")]


def add_table(family: int, name: str, *, new: bool = False) -> Message:
    """Make a table; if there is one of that name that is no failure, unless it has to be `new` (EEXIST)."""
    return _message(_NEW_TABLE, CREATE | (EXCL if new else 0), family, text(1, name), f"table {name}")


def delete_table(family: int, name: str) -> Message:
    """Delete a table and all that is in it."""
    return _message(_DELETE_TABLE, 0, family, text(1, name), f"table {name}")


def add_chain(family: int, table: str, name: str) -> Message:
    """A chain that other chains jump to."""
    return _message(_NEW_CHAIN, CREATE, family, text(1, table) + text(3, name), f"chain {name}")


def delete_chain(family: int, table: str, name: str) -> Message:
    """Delete a chain and its rules."""
    return _message(_DELETE_CHAIN, 0, family, text(1, table) + text(3, name), f"chain {name}")


def add_base_chain(
    family: int, table: str, name: str, kind: str, hook: int, priority: int, *, policy: int = ACCEPT, device: str = ""
) -> Message:
    """A chain that packets enter at a hook, of the family NETDEV those of one `device`; the policy is for what it does not decide.

    `kind` is filter or nat.
    """
    where = nested(4, _be32(1, hook), _be32(2, priority), text(3, device) if device else b"")
    body = text(1, table) + text(3, name) + where + _be32(5, policy) + text(7, kind)
    return _message(_NEW_CHAIN, CREATE, family, body, f"chain {name}")


def _type_of(fields: Sequence[int]) -> int:
    number = 0
    for field in fields:
        number = number << 6 | field
    return number


def add_set(family: int, table: str, name: str, key: Sequence[int], key_length: int, number: int) -> Message:
    """A set of keys of the types `key`; `number` is its own within the transaction."""
    body = text(1, table) + text(2, name) + _be32(3, 0) + _be32(4, _type_of(key)) + _be32(5, key_length) + _be32(10, number)
    return _message(_NEW_SET, CREATE, family, body, f"set {name}")


def add_map(
    family: int, table: str, name: str, key: Sequence[int], key_length: int, value: Sequence[int], value_length: int, number: int
) -> Message:
    """A set whose keys have values."""
    body = text(1, table) + text(2, name) + _be32(3, _MAP_FLAG) + _be32(4, _type_of(key)) + _be32(5, key_length)
    body += _be32(6, _type_of(value)) + _be32(7, value_length) + _be32(10, number)
    return _message(_NEW_SET, CREATE, family, body, f"map {name}")


def add_elements(family: int, table: str, name: str, elements: Iterable[tuple[bytes, bytes]]) -> Message:
    """Put (key, value) into a map, or (key, b"") into a set."""
    return _message(_NEW_ELEMENT, CREATE, family, _elements(table, name, elements), f"elements of {name}")


def delete_elements(family: int, table: str, name: str, elements: Iterable[tuple[bytes, bytes]]) -> Message:
    """Take them out again."""
    return _message(_DELETE_ELEMENT, 0, family, _elements(table, name, elements), f"elements of {name}")


def _elements(table: str, name: str, elements: Iterable[tuple[bytes, bytes]]) -> bytes:
    items = [nested(1, nested(1, attribute(1, key)), nested(2, attribute(1, value)) if value else b"") for key, value in elements]
    return text(1, table) + text(2, name) + nested(3, *items)


def add_rule(family: int, table: str, chain: str, *expressions: bytes) -> Message:
    """Append a rule."""
    body = text(1, table) + text(2, chain) + nested(4, *(nested(1, expression) for expression in expressions))
    return _message(_NEW_RULE, CREATE | 0x800, family, body, f"a rule of chain {chain}")


def _expression(name: str, *parts: bytes) -> bytes:
    return text(1, name) + nested(2, *parts)


def meta(key: int, register: int = 1) -> bytes:
    """Load what the kernel knows of the packet."""
    return _expression("meta", _be32(1, register), _be32(2, key))


def payload(base: int, offset: int, size: int, register: int = 1) -> bytes:
    """Load `size` bytes of the packet."""
    return _expression("payload", _be32(1, register), _be32(2, base), _be32(3, offset), _be32(4, size))


def conntrack(key: int, register: int = 1) -> bytes:
    """Load what is known of the packet's connection."""
    return _expression("ct", _be32(1, register), _be32(2, key))


def masked(mask: bytes, register: int = 1) -> bytes:
    """Keep the bits of the mask."""
    zero = nested(5, attribute(1, b"\0" * len(mask)))
    return _expression("bitwise", _be32(1, register), _be32(2, register), _be32(3, len(mask)), nested(4, attribute(1, mask)), zero)


def compare(value: bytes, operator: int = EQUAL, register: int = 1) -> bytes:
    """Go on only if the register holds (NOT_EQUAL: does not hold) the value."""
    return _expression("cmp", _be32(1, register), _be32(2, operator), nested(3, attribute(1, value)))


def random_below(limit: int, register: int = 1) -> list[bytes]:
    """Load a random number below `limit`, its high byte first, to be compared."""
    number = _expression("numgen", _be32(1, register), _be32(2, limit), _be32(3, _RANDOM))
    return [number, _expression("byteorder", _be32(1, register), _be32(2, register), _be32(3, _TO_NETWORK), _be32(4, 4), _be32(5, 4))]


def lookup(name: str, register: int = 1, into: int | None = None) -> bytes:
    """Go on only if the set has what the registers from `register` on hold; a map's value goes to `into`."""
    return _expression("lookup", text(1, name), _be32(2, register), b"" if into is None else _be32(3, into))


def to_local_address() -> list[bytes]:
    """Go on only if the packet is for an address of this host."""
    load = _expression("fib", _be32(1, 1), _be32(2, _ADDRESS_TYPE), _be32(3, _OF_DESTINATION))
    return [load, compare(struct.pack("=I", _LOCAL_ADDRESS))]


def load(value: bytes, register: int) -> bytes:
    """Put a constant into a register."""
    return _expression("immediate", _be32(1, register), nested(2, attribute(1, value)))


def verdict(code: int, chain: str = "") -> bytes:
    """Decide: DROP, ACCEPT, or GOTO a chain."""
    decision = nested(2, _be32(1, code), text(2, chain) if chain else b"")
    return _expression("immediate", _be32(1, 0), nested(2, decision))


def destination_nat(family: int, address_register: int, port_register: int) -> bytes:
    """Send the packet's connection to the address and port in those registers."""
    return _expression("nat", _be32(1, 1), _be32(2, family), _be32(3, address_register), _be32(5, port_register))


def masquerade() -> bytes:
    """Let the packet's connection come from the address of the interface it leaves by."""
    return _expression("masq")


class Netfilter:
    """A socket to netfilter, in the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = Socket(NETFILTER)

    def close(self) -> None:
        """Close."""
        self._socket.close()

    def __enter__(self) -> Netfilter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def usable(self) -> bool:
        """Whether this kernel has nftables and lets us use them."""
        try:
            self._socket.send([_message(_GET_GENERATION, 0, 0, b"", "nftables")])
        except GasangError:
            return False
        return True

    def commit(self, messages: Sequence[Message]) -> None:
        """Do all of this, or, raising, nothing.

        Raises NetlinkError that names the first message refused, PermissionDeniedError.
        """
        self._socket.transact(transaction(messages), len(messages), (0, len(messages)))

    def install(self, family: int, table: str, contents: Sequence[Message]) -> None:
        """Make a table with these contents, in place of the one of that name if there is one.

        A new table costs a fraction of a millisecond; taking one away makes the kernel wait for all processors, some 15 ms.
        Raises NetlinkError, PermissionDeniedError.
        """
        try:
            self.commit([add_table(family, table, new=True), *contents])
        except NetlinkError as error:
            if error.number != errno.EEXIST:
                raise
            self.commit([delete_table(family, table), add_table(family, table), *contents])

    def forget_connections(self, addresses: Iterable[bytes]) -> None:
        """Delete what connection tracking remembers of connections answered from these addresses.

        Kernels before 6.8 cannot select so, and remember until the connections are idle: no failure.
        """
        for address in addresses:
            family, kind = (socket.AF_INET, 1) if len(address) == 4 else (socket.AF_INET6, 3)
            answered = nested(_CT_REPLY, nested(1, attribute(kind, address)))
            by_source = nested(_CT_FILTER, attribute(2, struct.pack("=I", 1)))
            message = Message(_CT_DELETE, 0, struct.pack(">BBH", family, 1, 0) + answered + by_source, "tracked connections")
            self._socket.send([message], forgiven=_NO_SUCH_SELECTION)

    def tables(self) -> list[tuple[int, str]]:
        """Family and name of every table."""
        answers = self._socket.dump(_message(_GET_TABLE, 0, 0, b"", "the list of tables"))
        return [(answer.body[0], _name(answer, 1)) for answer in answers if len(answer.body) >= 4]

    def has_table(self, family: int, table: str) -> bool:
        """Whether there is a table of that name."""
        # Asked for by name, some kernels (6.18) know none of the tables that they list.
        return (family, table) in self.tables()

    def counted(self, what: str) -> int:
        """How many chains or rules there are in all."""
        return len(self._socket.dump(_message({"chains": _GET_CHAIN, "rules": _GET_RULE}[what], 0, 0, b"", f"the list of {what}")))

    def chains(self) -> list[tuple[int, str, str]]:
        """Family, table and name of every chain."""
        return [(answer.body[0], _name(answer, 1), _name(answer, 3)) for answer in self._chains()]

    def dropping_forwarders(self) -> list[str]:
        """Tables whose chain at the forward hook drops what it does not know: they can stop our packets too."""
        return [_name(answer, 1) for answer in self._chains() if _drops_forwarded(answer)]

    def _chains(self) -> list[Answer]:
        return self._socket.dump(_message(_GET_CHAIN, 0, 0, b"", "the list of chains"))


def _name(answer: Answer, kind: int) -> str:
    return dict(attributes(answer.body, 4)).get(kind, b"").rstrip(b"\0").decode(errors="replace")


def _drops_forwarded(answer: Answer) -> bool:
    found = dict(attributes(answer.body, 4))
    hook = dict(attributes(found.get(4, b"")))
    return hook.get(1) == struct.pack(">I", FORWARD) and found.get(5) == struct.pack(">I", DROP)
