"""A program that makes one system call, for containers without a library: `probe NUMBER ARGUMENTS…` exits with the error number, or 0."""

from __future__ import annotations

from functools import cache

from gasang.native import cast, i32, native, ptr, syscall, u8, u64
from gasang.native.program import program

NO_ARGUMENTS = 255


@native
def number_at(text: ptr[u8]) -> u64:
    """A decimal number."""
    value: u64 = 0
    index: u64 = 0
    while text[index] != 0:
        value = value * 10 + u64(text[index] - 48)
        index += 1
    return value


@native
def word(stack: ptr[u64], index: u64) -> u64:
    """An argument as a number; 0 where it is missing."""
    if index >= stack[0]:
        return 0
    return number_at(cast(ptr[u8], stack[1 + index]))


@native
def probe(stack: ptr[u64]) -> i32:
    """The program."""
    if stack[0] < 2:
        return NO_ARGUMENTS
    result = syscall(word(stack, 1), word(stack, 2), word(stack, 3), word(stack, 4), word(stack, 5), word(stack, 6), word(stack, 7))
    if result < 0 and result > -4096:
        return i32(-result)
    return 0


@cache
def probe_program() -> bytes:
    """The executable."""
    return program(probe)
