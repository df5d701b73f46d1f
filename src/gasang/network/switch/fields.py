"""Fields of frames, big-endian and anywhere."""

from __future__ import annotations

from gasang.native import bswap, cast, load_unaligned, native, ptr, store_unaligned, u8, u16, u32, u64


@native(inline=True)
def be16(at: ptr[u8]) -> u32:
    """Two bytes."""
    return u32(at[0]) << 8 | u32(at[1])


@native(inline=True)
def be32(at: ptr[u8]) -> u32:
    """Four bytes."""
    return bswap(load_unaligned(cast(ptr[u32], at)))


@native(inline=True)
def be48(at: ptr[u8]) -> u64:
    """A hardware address."""
    return u64(be16(at)) << 32 | u64(be32(at + 2))


@native(inline=True)
def be64(at: ptr[u8]) -> u64:
    """Eight bytes."""
    return bswap(load_unaligned(cast(ptr[u64], at)))


@native(inline=True)
def put16(at: ptr[u8], value: u32) -> None:
    """Write two bytes."""
    at[0] = u8(value >> 8)
    at[1] = u8(value)


@native(inline=True)
def put32(at: ptr[u8], value: u32) -> None:
    """Write four bytes."""
    store_unaligned(cast(ptr[u32], at), bswap(value))


@native(inline=True)
def le16(at: ptr[u8]) -> u32:
    """Two bytes of a virtio header, which are little-endian."""
    return u32(load_unaligned(cast(ptr[u16], at)))


@native(inline=True)
def put_le16(at: ptr[u8], value: u32) -> None:
    """Write two such bytes."""
    store_unaligned(cast(ptr[u16], at), u16(value))
