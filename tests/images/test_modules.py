"""What modules say about themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.modules import depends_on, modinfo, name_of, without_signature
from support.kernel_parts import module


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/fs/ext4/ext4.ko.xz", "ext4"),
        ("kernel/lib/crc-itu-t.ko", "crc_itu_t"),
        ("virtio-rng.ko.zst", "virtio_rng"),
        ("plain", "plain"),
    ],
)
def test_names(path: str, name: str) -> None:
    assert name_of(path) == name


def test_dependencies_and_soft_ones() -> None:
    info = b"license=GPL\0depends=jbd2,mbcache,crc-16\0softdep=post: late pre: crypto-crc32c other post: more\0softdep=pre: last\0"
    assert depends_on(module(info), "x") == ["jbd2", "mbcache", "crc_16", "crypto_crc32c", "other", "last"]


def test_a_module_without_dependencies() -> None:
    assert depends_on(module(b"depends=\0name=x\0"), "x") == []


SIGNATURE = b"signature" + bytes(8) + (9).to_bytes(4, "big") + b"~Module signature appended~\n"


def test_a_signature_is_cut_off() -> None:
    assert without_signature(module(b"a=b\0") + SIGNATURE) == module(b"a=b\0")


@pytest.mark.parametrize("data", [b"", b"unsigned", SIGNATURE[9:], SIGNATURE[-28:], SIGNATURE[1:]])
def test_an_odd_signature_stays(data: bytes) -> None:
    assert without_signature(data) == data


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(80), b"MZ" + bytes(200), module(b"")[:-100]])
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(BadInputError, match="module x: it is no intact kernel module"):
        modinfo(data, "module x")


@given(st.integers(0, 63), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_never_gets_through(position: int, damage: bytes) -> None:
    data = bytearray(module(b"depends=a\0"))
    data[position : position + len(damage)] = damage
    try:
        lines = modinfo(bytes(data), "x")
    except BadInputError:
        return
    assert all(isinstance(line, str) for line in lines)
