"""The C library's functions on memory that LLVM calls by itself, for programs that have no C library.

Where both places may overlap, the loops say so by their order; LLVM makes of none of them a call of the function it stands in.
"""

from __future__ import annotations

from gasang.native import cast, i32, load_unaligned, native, ptr, store_unaligned, u8, u64, u128

_BLOCK = 32


@native(external_name="memcpy")
def copy_memory(to: ptr[u8], source: ptr[u8], count: u64) -> ptr[u8]:
    """Copy between places that do not overlap."""
    return move_memory(to, source, count)


@native(external_name="memmove", inline=False)
def move_memory(to: ptr[u8], source: ptr[u8], count: u64) -> ptr[u8]:
    """Copy between places that may overlap. Blocks are read whole before they are written."""
    done: u64 = 0
    if u64(to) - u64(source) >= count:
        while count - done >= _BLOCK:
            low = load_unaligned(cast(ptr[u128], source + done))
            high = load_unaligned(cast(ptr[u128], source + done + 16))
            store_unaligned(cast(ptr[u128], to + done), low)
            store_unaligned(cast(ptr[u128], to + done + 16), high)
            done += _BLOCK
        while done < count:
            to[done] = source[done]
            done += 1
        return to
    done = count
    while done >= _BLOCK:
        low = load_unaligned(cast(ptr[u128], source + (done - _BLOCK)))
        high = load_unaligned(cast(ptr[u128], source + (done - 16)))
        store_unaligned(cast(ptr[u128], to + (done - _BLOCK)), low)
        store_unaligned(cast(ptr[u128], to + (done - 16)), high)
        done -= _BLOCK
    while done > 0:
        done -= 1
        to[done] = source[done]
    return to


@native(external_name="memset", inline=False)
def set_memory(to: ptr[u8], byte: i32, count: u64) -> ptr[u8]:
    """Fill with a byte."""
    word: u64 = u64(u8(byte)) * 0x0101_0101_0101_0101
    done: u64 = 0
    while count - done >= 8:
        store_unaligned(cast(ptr[u64], to + done), word)
        done += 8
    while done < count:
        to[done] = u8(byte)
        done += 1
    return to


MEMORY_FUNCTIONS = {function.external_name: function for function in (copy_memory, move_memory, set_memory)}
