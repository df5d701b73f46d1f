"""Initial RAM disks: what a kernel would unpack is let through, what it could not is told."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.cpio import archive
from gasang.images.initrd import unpacked_size
from gasang.storage.tree import Entry, Kind

COMPRESS = {"plain": bytes, "gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress}
FILES = st.lists(st.binary(max_size=3000), max_size=4)


def cpio_of(files: list[bytes]) -> bytes:
    entries = [Entry(path="dir", kind=Kind.DIRECTORY), Entry(path="link", kind=Kind.SYMLINK, target="dir")]
    return archive([*entries, *(Entry(path=f"dir/{number}", kind=Kind.FILE, data=data) for number, data in enumerate(files))])


PART = st.tuples(FILES, st.sampled_from(sorted(COMPRESS)), st.integers(0, 3))


@given(st.lists(PART, min_size=1, max_size=3))
def test_archives_one_after_the_other(parts: list[tuple[list[bytes], str, int]]) -> None:
    """As kernels take them: microcode before, settings behind, and zeroes between them."""
    data = b""
    for files, form, zeroes in parts:
        data += COMPRESS[form](cpio_of(files)) + bytes(4 * zeroes)
        data += bytes(-len(data) % 4)
    links = len(parts) * len("dir")
    assert unpacked_size(data, "x") == links + sum(len(data) for files, _, _ in parts for data in files)


@pytest.mark.parametrize("form", sorted(COMPRESS))
def test_a_large_one(form: str) -> None:
    data = COMPRESS[form](cpio_of([bytes(3 << 20), b"abc", bytes(range(256)) * 9000]))
    assert unpacked_size(data, "x") == (3 << 20) + 3 + 256 * 9000 + len("dir")


@pytest.mark.parametrize("form", sorted(COMPRESS))
@given(st.data())
def test_one_cut_off_anywhere_is_told(form: str, data: st.DataObject) -> None:
    whole = cpio_of([b"hello" * 20, b"world" * 500])
    packed = COMPRESS[form](whole)
    end = whole.rindex(b"TRAILER!!!") + 11 if form == "plain" else len(packed)
    cut = data.draw(st.integers(0, end - 1))
    with pytest.raises(BadInputError, match=r"^initrd x: .*; give a complete one with --initrd$"):
        unpacked_size(packed[:cut], "x")


@pytest.mark.parametrize("form", ["gz", "xz"])  # a Zstandard frame need not have a checksum
@given(st.data())
def test_one_bit_in_compressed_data_is_told(form: str, data: st.DataObject) -> None:
    whole = cpio_of([bytes(range(256)) * 4])
    packed = bytearray(COMPRESS[form](whole))
    where = data.draw(st.integers(16, len(packed) - 17))
    packed[where] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(zlib.error, lzma.LZMAError, OSError, EOFError):
        expand = {"gz": gzip.decompress, "xz": lzma.decompress}[form]
        assume(expand(bytes(packed)) != whole)  # a few bits of deflate's tables say nothing
    with pytest.raises(BadInputError, match=r"^initrd x: "):
        unpacked_size(bytes(packed), "x")


@given(st.binary(max_size=2000))
def test_any_bytes_end_in_a_size_or_a_sentence(data: bytes) -> None:
    for head in (b"", b"070701", b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"):
        with suppress(BadInputError):
            assert unpacked_size(head + data, "x") >= 0


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it is empty"),
        (bytes(5000), "it is empty"),
        (b"\x7fELF" + bytes(5000), "it is neither a cpio archive nor a file system's image"),
        (b"070707" + b"0" * 200, "it is neither a cpio archive"),
        (cpio_of([]) + b"hello", "what stands at byte 512 is no archive"),
        (gzip.compress(b"hello"), "its archive ends early"),
        (gzip.compress(b"hello" * 100), "a header in its archive is damaged"),
        (b"070701\n\n" + b"0" * 200, "a header in its archive is damaged"),
        (b"07070100zz" + b"0" * 200, "a header in its archive is damaged"),
        (cpio_of([b"x"]).replace(b"070701", b"070709")[:-5].replace(b"070709", b"070701", 1), "a header in its archive is damaged"),
    ],
)
def test_what_it_is_instead(data: bytes, cause: str) -> None:
    with pytest.raises(BadInputError) as caught:
        unpacked_size(data, "x")
    assert caught.value.cause.startswith(cause)


def test_sizes_nobody_has_cost_nothing() -> None:
    header = b"070701" + b"%08X" * 13 % (1, 0o100644, 0, 0, 1, 0, 0xFFFFFFFF, 0, 0, 0, 0, 2, 0)
    with pytest.raises(BadInputError, match="its archive ends early"):
        unpacked_size(header + b"a\0" + bytes(100), "x")


@pytest.mark.parametrize("data", [bz2.compress(cpio_of([])), lzma.compress(cpio_of([]), lzma.FORMAT_ALONE), b"\x02\x21\x4c\x18..."])
def test_compressions_that_only_kernels_expand(data: bytes) -> None:
    assert unpacked_size(data, "x") == 0


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_image_of_a_file_system(compress: type[bytes]) -> None:
    image = bytearray(1 << 20)
    image[0x438:0x43A] = b"\x53\xef"
    assert unpacked_size(compress(bytes(image)), "x") == 1 << 20


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
@pytest.mark.parametrize("form", ["newc", "crc"])
def test_what_cpio_writes(form: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    done = subprocess.run(["cpio", "-o", "-H", form, "--quiet"], input=b"a\n", cwd=tmp_path, capture_output=True, check=True)
    assert unpacked_size(done.stdout, "x") == 5
