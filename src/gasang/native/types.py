"""The types of `native` Python: sizes, alignment and layout as the host's C ABI has them.

A type is a value: `u64` in an annotation is the object defined here. Integer and float types can be called in plain Python to
convert a number the way compiled code does (`u8(300) == 44`).
"""

from __future__ import annotations

import ctypes
import math
import struct as _struct
from typing import Any, NamedTuple

POINTER_SIZE = 8


class Type:
    """A machine type: its name, size and alignment in bytes, and its spelling in LLVM IR. Never changed once it is made.

    These classes are written out because every start makes them: dataclasses would take longer than all else here.
    """

    def __init__(self, name: str, size: int, alignment: int, llvm: str) -> None:
        self.name = name
        self.size = size
        self.alignment = alignment
        self.llvm = llvm

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and vars(self) == vars(other))

    def __hash__(self) -> int:
        return hash((self.name, self.size))


class IntType(Type):
    """An integer of `bits` bits, two's complement where signed."""

    def __init__(self, name: str, size: int, alignment: int, llvm: str, bits: int, signed: bool) -> None:
        super().__init__(name, size, alignment, llvm)
        self.bits = bits
        self.signed = signed

    def wrap(self, value: int) -> int:
        """`value` modulo 2**bits, in the type's range."""
        value &= (1 << self.bits) - 1
        if self.signed and value >> (self.bits - 1):
            value -= 1 << self.bits
        return value

    def contains(self, value: int) -> bool:
        """Whether `value` is representable."""
        return self.wrap(value) == value

    def __call__(self, value: Any = 0) -> int:
        """Convert as compiled code does: wrap integers; saturate floats, NaN becoming 0. A boolean is whether it is not 0."""
        if self.bits == 1:
            return bool(value)
        if isinstance(value, float):
            return saturate(self, value)
        return self.wrap(int(value))


class FloatType(Type):
    """An IEEE 754 binary interchange format."""

    def __init__(self, name: str, size: int, alignment: int, llvm: str, bits: int) -> None:
        super().__init__(name, size, alignment, llvm)
        self.bits = bits

    def wrap(self, value: float) -> float:
        """The nearest value of this format (ties to even)."""
        return float(value) if self.bits == 64 else float(ctypes.c_float(value).value)

    def __call__(self, value: Any = 0.0) -> float:
        """Convert as compiled code does."""
        if isinstance(value, int) and self.bits == 32:
            return _int_to_f32(int(value))
        return self.wrap(float(value))


class PointerType(Type):
    """The address of a `target`."""

    def __init__(self, name: str, size: int, alignment: int, llvm: str, target: Any) -> None:
        super().__init__(name, size, alignment, llvm)
        self.target = target


class ArrayType(Type):
    """`count` elements side by side, inside a struct."""

    def __init__(self, name: str, size: int, alignment: int, llvm: str, element: Any, count: int) -> None:
        super().__init__(name, size, alignment, llvm)
        self.element = element
        self.count = count


class FunctionType(Type):
    """A pointer to native code taking `parameters` and giving `result` (None for nothing)."""

    def __init__(self, name: str, parameters: tuple[Type, ...], result: Type | None, convention: str) -> None:
        super().__init__(name, POINTER_SIZE, POINTER_SIZE, "ptr")
        self.parameters = parameters
        self.result = result
        self.convention = convention


class Field(NamedTuple):
    """A field of a struct at a byte offset."""

    name: str
    type: Type
    offset: int


class StructType(Type):
    """A record laid out in declaration order with natural alignment."""

    def __init__(self, name: str, fields: tuple[Field, ...], size: int, alignment: int) -> None:
        super().__init__(name, size, alignment, f"[{size} x i8]")
        self.fields = {field.name: field for field in fields}
        self._ctype: Any = None

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def lay_out(self, fields: tuple[Field, ...], size: int, alignment: int) -> None:
        """Fill in what was not known yet when pointers to the struct were declared inside it."""
        super().__init__(self.name, size, alignment, f"[{size} x i8]")
        self.fields = {field.name: field for field in fields}

    @property
    def ctype(self) -> Any:
        """The ctypes.Structure of the same layout, for use from Python. Integers of 128 bits are two of 64, the lower first."""
        made = self._ctype
        if made is None:
            made = type(self.name, (ctypes.Structure,), {"_fields_": self._ctype_fields()})
            assert ctypes.sizeof(made) == self.size, self.name
            self._ctype = made
        return made

    def _ctype_fields(self) -> list[tuple[str, Any]]:
        """Fields for ctypes, with the gaps spelt out that it would not leave: it aligns 128-bit integers to 8 bytes."""
        made: list[tuple[str, Any]] = []
        end, widest = 0, 1
        for field in self.fields.values():
            kind = ctype_of(field.type)
            if _aligned(end, ctypes.alignment(kind)) != field.offset:
                made.append((f"gap at {end}", ctypes.c_uint8 * (field.offset - end)))
            made.append((field.name, kind))
            end, widest = field.offset + field.type.size, max(widest, ctypes.alignment(kind))
        if _aligned(end, widest) != self.size:
            made.append((f"gap at {end}", ctypes.c_uint8 * (self.size - end)))
        return made


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _integer(bits: int, signed: bool) -> IntType:
    size = bits // 8
    return IntType(("i" if signed else "u") + str(bits), size, size, f"i{bits}", bits, signed)


u8, u16, u32, u64, u128 = (_integer(bits, False) for bits in (8, 16, 32, 64, 128))
i8, i16, i32, i64, i128 = (_integer(bits, True) for bits in (8, 16, 32, 64, 128))
f32 = FloatType("f32", 4, 4, "float", 32)
f64 = FloatType("f64", 8, 8, "double", 64)
boolean = IntType("boolean", 1, 1, "i1", 1, False)
null_type = PointerType("null", POINTER_SIZE, POINTER_SIZE, "ptr", None)


class _PointerMaker:
    """`ptr[T]`."""

    def __init__(self) -> None:
        self._made: dict[Any, PointerType] = {}

    def __getitem__(self, target: Type) -> PointerType:
        if not isinstance(target, Type):
            raise TypeError(f"ptr[{target!r}]: {target!r} is no native type")
        found = self._made.get(target)
        if found is None:
            found = PointerType(f"ptr[{target.name}]", POINTER_SIZE, POINTER_SIZE, "ptr", target)
            self._made[target] = found
        return found


ptr = _PointerMaker()


class _ArrayMaker:
    """`array[T]` in a struct, completed by `length(n)`."""

    def __getitem__(self, element: Type) -> ArrayType:
        return ArrayType(f"array[{getattr(element, 'name', element)}]", 0, 1, "", element, 0)


array = _ArrayMaker()


def instance(kind: Any) -> Any:
    """A zeroed object of a struct, for use from Python; its address goes to native functions."""
    return kind.ctype()


def size_of(kind: Any) -> int:
    """Bytes a value of the type takes."""
    return int(kind.size)


def offset_of(struct: Any, name: str) -> int:
    """Where a field of a struct lies in it, in bytes."""
    return int(struct.fields[name].offset)


_CTYPES: dict[str, Any] = {
    "u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32, "u64": ctypes.c_uint64,
    "i8": ctypes.c_int8, "i16": ctypes.c_int16, "i32": ctypes.c_int32, "i64": ctypes.c_int64,
    "f32": ctypes.c_float, "f64": ctypes.c_double, "boolean": ctypes.c_bool, "u128": ctypes.c_uint64 * 2, "i128": ctypes.c_uint64 * 2,
}  # fmt: skip


def ctype_of(kind: Type) -> Any:
    """The ctypes type that has the same layout."""
    if isinstance(kind, (PointerType, FunctionType)):
        return ctypes.c_uint64
    if isinstance(kind, ArrayType):
        return ctype_of(kind.element) * kind.count
    if isinstance(kind, StructType):
        return kind.ctype
    return _CTYPES[kind.name]


def saturate(kind: IntType, value: float) -> int:
    """Float to integer: toward zero, out of range to the nearest end, NaN to 0."""
    low, high = (-(1 << (kind.bits - 1)), (1 << (kind.bits - 1)) - 1) if kind.signed else (0, (1 << kind.bits) - 1)
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return high if value > 0 else low
    return max(low, min(high, int(value)))


def _int_to_f32(value: int) -> float:
    """Integer to binary32 rounded once (through binary64 would round twice)."""
    magnitude = abs(value)
    excess = magnitude.bit_length() - 24
    if excess <= 0:
        return float(value)
    quotient, rest = magnitude >> excess, magnitude & ((1 << excess) - 1)
    half = 1 << (excess - 1)
    if rest > half or (rest == half and quotient & 1):
        quotient += 1
    result = math.ldexp(float(quotient), excess)
    return math.copysign(result if result <= 3.4028234663852886e38 else math.inf, value)


def bits_of(kind: Type, value: Any) -> int:
    """The bit pattern of a number, as an unsigned integer."""
    if isinstance(kind, IntType):
        return int(value) & ((1 << kind.bits) - 1)
    assert isinstance(kind, FloatType)
    if kind.bits == 32 and not math.isnan(value):
        return int.from_bytes(_struct.pack("<f", value), "little")
    bits = int.from_bytes(_struct.pack("<d", value), "little")
    if kind.bits == 64:
        return bits
    # A NaN of binary32 lives in a Python float with its payload in the upper bits; the host's conversion would make it quiet.
    return bits >> 32 & 0x8000_0000 | 0x7F80_0000 | (bits >> 29 & 0x7F_FFFF or 0x40_0000)


def from_bits(kind: Type, bits: int) -> Any:
    """The number that has this bit pattern."""
    if isinstance(kind, IntType):
        return bool(bits & 0xFF) if kind.bits == 1 else kind.wrap(bits)
    assert isinstance(kind, FloatType)
    if kind.bits == 32 and bits & 0x7FFF_FFFF > 0x7F80_0000:
        bits = (bits & 0x8000_0000) << 32 | 0x7FF0_0000_0000_0000 | (bits & 0x7F_FFFF) << 29
    elif kind.bits == 32:
        return _struct.unpack("<f", bits.to_bytes(4, "little"))[0]
    return _struct.unpack("<d", bits.to_bytes(8, "little"))[0]
