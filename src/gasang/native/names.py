"""The names native code imports: intrinsics, special forms and `null`. Only the compiler gives them meaning."""

from __future__ import annotations


class IntrinsicName:
    """What a module imports to name an intrinsic or a special form."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<native intrinsic {self.name}>"


class Null:
    """The null pointer."""

    def __repr__(self) -> str:
        return "null"


null = Null()

# Rows of the table in intrinsics.py.
popcount = IntrinsicName("popcount")
clz = IntrinsicName("clz")
ctz = IntrinsicName("ctz")
bswap = IntrinsicName("bswap")
rotl = IntrinsicName("rotl")
rotr = IntrinsicName("rotr")
minimum = IntrinsicName("minimum")
maximum = IntrinsicName("maximum")
high_u = IntrinsicName("high_u")
high_s = IntrinsicName("high_s")
divide = IntrinsicName("divide")
remainder = IntrinsicName("remainder")
bitcast = IntrinsicName("bitcast")
sizeof = IntrinsicName("sizeof")
sqrt = IntrinsicName("sqrt")
fma = IntrinsicName("fma")
round_to_i64 = IntrinsicName("round_to_i64")
less_signaling = IntrinsicName("less_signaling")
less_equal_signaling = IntrinsicName("less_equal_signaling")
load_unaligned = IntrinsicName("load_unaligned")
store_unaligned = IntrinsicName("store_unaligned")
copy = IntrinsicName("copy")
fill = IntrinsicName("fill")
atomic_load = IntrinsicName("atomic_load")
atomic_store = IntrinsicName("atomic_store")
atomic_add = IntrinsicName("atomic_add")
atomic_and = IntrinsicName("atomic_and")
atomic_or = IntrinsicName("atomic_or")
atomic_xor = IntrinsicName("atomic_xor")
atomic_swap = IntrinsicName("atomic_swap")
atomic_min = IntrinsicName("atomic_min")
atomic_max = IntrinsicName("atomic_max")
compare_exchange = IntrinsicName("compare_exchange")
fence = IntrinsicName("fence")
likely = IntrinsicName("likely")
unlikely = IntrinsicName("unlikely")
syscall = IntrinsicName("syscall")
ticks = IntrinsicName("ticks")
float_flags = IntrinsicName("float_flags")
set_float_control = IntrinsicName("set_float_control")

# Forms the checker itself understands, because they take places, types or calls rather than values.
ref = IntrinsicName("ref")
cast = IntrinsicName("cast")
address_of = IntrinsicName("address_of")
attempt = IntrinsicName("attempt")
tail_call = IntrinsicName("tail_call")
