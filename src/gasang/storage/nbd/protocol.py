"""What both ends of NBD share: numbers, layouts and limits (NetworkBlockDevice/nbd, doc/proto.md). No input, no output."""

from __future__ import annotations

import errno
import struct
from typing import Final, NamedTuple

PORT: Final = 10809

GREETING: Final = 0x4E42444D41474943
IHAVEOPT: Final = 0x49484156454F5054
OPTION_REPLY: Final = 0x0003E889045565A9
REQUEST: Final = 0x25609513
SIMPLE: Final = 0x67446698
STRUCTURED: Final = 0x668E33EF

FIXED_NEWSTYLE: Final = 1
NO_ZEROES: Final = 2
"""Handshake flags, the server's and the client's."""

EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META = 1, 2, 3, 5, 6, 7, 8, 9, 10
"""Options."""
ACK, SERVER, ABOUT, META = 1, 2, 3, 4
"""Replies to options; the third is NBD_REP_INFO."""
REFUSED: Final = 1 << 31
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_TLS, ERR_UNKNOWN, ERR_TOO_BIG = (REFUSED + code for code in (1, 2, 3, 5, 6, 9))
INFO_EXPORT, INFO_DESCRIPTION, INFO_BLOCK_SIZE = 0, 2, 3

HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_ZEROES, SEND_DF, MULTI_CONN = 1, 2, 4, 8, 32, 64, 128, 256
"""Transmission flags."""

READ, WRITE, DISCONNECT, FLUSH, TRIM, ZEROES, STATUS = 0, 1, 2, 3, 4, 6, 7
"""Commands."""
FUA, NO_HOLE, DF, REQ_ONE = 1, 2, 4, 8
"""Command flags."""

DONE: Final = 1
"""The flag of a reply's last chunk."""
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS = 0, 1, 2, 5
CHUNK_ERROR, CHUNK_ERROR_AT = 0x8001, 0x8002

ALLOCATION: Final = "base:allocation"
STATE_HOLE, STATE_ZERO = 1, 2

DATA_MAX: Final = 32 << 20
"""Bytes that a request or a chunk may carry (the specification's usual maximum)."""
NAME_MAX: Final = 4096
OPTION_MAX: Final = 64 << 10

request_head: Final = struct.Struct(">IHHQQI")
"""Magic, flags, command, cookie, offset, length."""
simple_head: Final = struct.Struct(">IIQ")
"""Magic, error, cookie."""
chunk_head: Final = struct.Struct(">IHHQI")
"""Magic, flags, kind, cookie, length."""
option_head: Final = struct.Struct(">QII")
"""Magic, option, length."""
reply_head: Final = struct.Struct(">QIII")
"""Magic, option, kind, length."""

WIRE_ERRORS: Final = {
    errno.EPERM: 1, errno.EROFS: 1, errno.EIO: 5, errno.ENOMEM: 12, errno.EINVAL: 22, errno.ENOSPC: 28, errno.EDQUOT: 28,
    errno.EFBIG: 28, errno.EOVERFLOW: 75, errno.EOPNOTSUPP: 95, errno.ESHUTDOWN: 108,
}  # fmt: skip
"""The host's error numbers as the wire has them; any other is EIO."""
HOST_ERRORS: Final = {
    1: errno.EPERM, 5: errno.EIO, 12: errno.ENOMEM, 22: errno.EINVAL, 28: errno.ENOSPC, 75: errno.EOVERFLOW, 95: errno.EOPNOTSUPP,
    108: errno.ESHUTDOWN,
}  # fmt: skip


class Extent(NamedTuple):
    """A part of a disk: its length, and STATE_HOLE and STATE_ZERO where they hold."""

    length: int
    state: int


class ProtocolError(Exception):
    """The peer breaks the protocol; nothing it says can be trusted, and the connection ends."""


def text_of(data: bytes | memoryview) -> str:
    """A name as the wire has it. Raises ProtocolError for one that is too long or none."""
    if len(data) > NAME_MAX:
        raise ProtocolError("a name is longer than the protocol allows")
    try:
        name = bytes(data).decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a name is no text") from error
    if "\0" in name:
        raise ProtocolError("a name is no text")
    return name
