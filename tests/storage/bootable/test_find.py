"""What a boot loader would start: its configurations as distributions write them, whole disks, and disks that start nothing."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError, NotFoundError, UnsupportedError
from gasang.storage.bootable import bls, extlinux, grub
from gasang.storage.bootable.find import DiskBoot, disk_boot
from gasang.storage.ext4 import write_ext4
from gasang.storage.filesystems.window import Window
from gasang.storage.tree import Entry, Kind
from support.disks import MIB, FatMaker, gpt

ROOT, BOOT = UUID(int=0x11112222), UUID(int=0x33334444)
DEBIAN = f"""
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   save_env next_entry
else
   set default="0"
fi
if [ x"${{feature_menuentry_id}}" = xy ]; then menuentry_id_option="--id"; fi
export menuentry_id_option
function load_video {{
  if [ x$feature_all_video_module = xy ]; then insmod all_video; else insmod efi_gop; fi
}}
if loadfont unicode ; then set gfxmode=auto ; fi
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-{ROOT}' {{
\tload_video
\tif [ x$feature_platform_search_hint = xy ]; then
\t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2  {BOOT}
\telse
\t  search --no-floppy --fs-uuid --set=root {BOOT}
\tfi
\techo\t'Loading Linux 6.12 ...'
\tlinux\t/vmlinuz-6.12 root=UUID={ROOT} ro  quiet
\tinitrd\t/initrd.img-6.12
}}
submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced' {{
\tmenuentry 'Debian, with 6.1' $menuentry_id_option 'gnulinux-6.1' {{
\t\tsearch --no-floppy --fs-uuid --set=root {BOOT}
\t\tlinux\t/vmlinuz-6.1 root=/dev/sda3 ro single
\t\tinitrd\t/initrd.img-6.1
\t}}
}}
"""


def file(path: str, data: bytes | str = b"") -> Entry:
    return Entry(path=path, kind=Kind.FILE, data=data.encode() if isinstance(data, str) else data)


def folder(path: str) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)


def ext4(place: Path, uuid: UUID, *entries: Entry) -> bytes:
    parents = {parent: None for entry in entries for parent in reversed(Path(str(entry.path)).parents) if str(parent) != "."}
    path = place / f"{uuid}.img"
    write_ext4(path, [*(folder(str(parent)) for parent in parents), *entries], 2 * MIB, uuid=uuid)
    return path.read_bytes()


def boot(disk: bytes) -> DiskBoot:
    return disk_boot(Window(lambda offset, length: disk[offset : offset + length], 0, len(disk), "disk x"))


def three(place: Path, *entries: Entry) -> bytes:
    """An ESP, a /boot of its own and a root, as Debian's installer makes them."""
    maker = FatMaker(5000)
    esp = maker.add(maker.add(maker.root, "EFI", None), "debian", None)
    maker.add(esp, "grub.cfg", f"search.fs_uuid {BOOT} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n".encode())
    names = {str(entry.path) for entry in entries}
    kernels = [file(f"{name}-{version}", f"{name} {version}") for name in ("vmlinuz", "initrd.img") for version in ("6.1", "6.12")]
    boots = ext4(place, BOOT, *(entry for entry in kernels if str(entry.path) not in names), *entries)
    return gpt([maker.done(), boots, ext4(place, ROOT, file("etc/fstab"))])


def test_grub(tmp_path: Path) -> None:
    found = boot(three(tmp_path, file("grub/grub.cfg", DEBIAN)))
    assert (found.kernel, found.initrd) == (b"vmlinuz 6.12", b"initrd.img 6.12\0")
    assert (found.options, found.root, found.title) == (f"root=UUID={ROOT} ro quiet", "/dev/vda3", "Debian GNU/Linux")
    assert found.files is not None
    assert found.files.find("/etc/fstab")
    chosen = file("grub/grubenv", "# GRUB Environment Block\nnext_entry=gnulinux-advanced>gnulinux-6.1\n####")
    found = boot(three(tmp_path, file("grub/grub.cfg", DEBIAN), chosen))
    assert (found.kernel, found.options, found.root) == (b"vmlinuz 6.1", "ro single root=/dev/vda3", "/dev/vda3")


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        ("linux /a x\ninitrd /b\nboot\n", ["/a"]),
        ("menuentry a { linux /a }\nmenuentry b { linux (hd0,gpt1)/b }\nset default=1\n", ["/b", "/a"]),
        ("set default='b'; menuentry a { linux /a; }; menuentry \"b\" { linux /b; }", ["/b", "/a"]),
        (
            ("if [ 1 = 2 ]; then menuentry a { linux /a; }\n" + "elif test x = x; then menuentry b { linux /b; }; else x; fi"),
            ["/b"],
        ),
        ("set k=/x-1\nmenuentry a {\n linux \\\n ${k}.old $k\n}", ["/x-1.old"]),
        ("menuentry a {\nlinux16 /memtest }", ["/memtest"]),
        ("menuentry 'no end { linux /a", ["/a"]),
    ],
)
def test_grubs_language(text: str, kernels: list[str]) -> None:
    assert [entry.kernel for entry in grub.menu(text, {}).entries] == kernels


def test_loader_entries(tmp_path: Path) -> None:
    def entry(version: str) -> str:
        files = f"linux /vmlinuz-{version}\ninitrd /initrd.img-{version} $tuned\n"
        return f"title Fedora ({version})\nversion {version}\n{files}options $kernelopts quiet\n"

    entries = [file(f"loader/entries/id-{version}.conf", entry(version)) for version in ("6.1", "6.12")]
    fedora = file(
        "grub2/grub.cfg", f'set default="${{saved_entry}}"\nload_env\nset kernelopts="root=UUID={ROOT} ro"\ninsmod blscfg\nblscfg\n'
    )
    found = boot(three(tmp_path, *entries, fedora))
    assert (found.kernel, found.options) == (b"vmlinuz 6.12", f"root=UUID={ROOT} ro quiet")
    saved = file("grub2/grubenv", "saved_entry=id-6.1\n")
    late = file("grub2/grub.cfg", 'load_env\nset default="${saved_entry}"\nblscfg\n')
    assert boot(three(tmp_path, *entries, late, saved)).kernel == b"vmlinuz 6.1"
    assert boot(three(tmp_path, *entries, file("loader/loader.conf", "timeout 3\ndefault id-6.1.*\n"))).kernel == b"vmlinuz 6.1"
    versions = ["6.1.0-9", "6.1.0-13", "6.1.0", "6.2.0-rc1", "6.2.0"]
    assert sorted(versions, key=bls.newest) == ["6.1.0", "6.1.0-9", "6.1.0-13", "6.2.0-rc1", "6.2.0"]


def test_extlinux(tmp_path: Path) -> None:
    text = "DEFAULT two\nLABEL one\n  KERNEL ../vmlinuz-6.1\nLABEL two\n  LINUX /vmlinuz-6.12\n"
    text += "  APPEND initrd=/initrd.img-6.12 rw console=tty0\n"
    found = boot(three(tmp_path, file("extlinux/extlinux.conf", text)))
    assert (found.kernel, found.initrd[:15], found.options) == (b"vmlinuz 6.12", b"initrd.img 6.12", "rw console=tty0 root=/dev/vda3")
    assert [each.kernel for each in extlinux.menu(text).entries] == ["/vmlinuz-6.12", "../vmlinuz-6.1"]
    assert not extlinux.menu("LABEL x\nKERNEL vesamenu.c32\n").entries


def test_kernels_by_their_names(tmp_path: Path) -> None:
    found = boot(three(tmp_path))
    assert (found.path, found.initrd[:15], found.options) == ("/vmlinuz-6.12", b"initrd.img 6.12", "root=/dev/vda3")
    alone = boot(ext4(tmp_path, ROOT, file("boot/Image", "kernel"), file("etc/os-release")))
    assert (alone.kernel, alone.initrd, alone.options, alone.root) == (b"kernel", b"", "root=/dev/vda", "/dev/vda")


def test_what_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no Linux kernel is found on it; not read here: Btrfs, XFS"):
        boot(gpt([b"XFSB" + bytes(MIB), bytes(0x10040) + b"_BHRfS_M" + bytes(MIB), ext4(tmp_path, ROOT, file("etc/fstab"))]))
    with pytest.raises(UnsupportedError, match="Windows"):
        boot(gpt([b"\xeb\x52\x90NTFS    " + bytes(MIB)]))
    with pytest.raises(NotFoundError, match=r"initial RAM disk /no: .*'x'"):
        boot(three(tmp_path, file("grub/grub.cfg", "menuentry x { linux /vmlinuz-6.1\ninitrd /no\n}")))
    assert boot(three(tmp_path, file("grub/grub.cfg", "menuentry x { linux /gone\n}"))).path == "/vmlinuz-6.12"


WORDS = st.sampled_from([
    "menuentry", "submenu", "'a b'", '"x', "{", "}", "if", "then", "else", "elif", "fi", "[", "]", "=", "$x", "${", "set x=$x$x$x",
    "linux", "/a", "initrd", "search --fs-uuid --set=root 1234-ABCD", "\n", ";", "\\", "#", "while", "do", "done", "function f", "default",
    "label", "blscfg",
])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS | st.text(max_size=6), max_size=60))
def test_hostile_configurations(words: list[str]) -> None:
    text = " ".join(words)
    for entry in (*grub.menu(text, {"x": text}).entries, *extlinux.menu(text).entries):
        assert entry.kernel
    bls.parse(text.replace(";", "\n"), {"x": text})
    bls.newest(text)


def test_deep_and_long_configurations() -> None:
    for text in (
        "if x; then\n" * 1000,
        "menuentry a {\n" * 1000,
        "set x=${x}${x}a\n" * 1000,
        "'" * 9999,
        "menuentry a { linux /a\n}\n" * 1000,
    ):
        assert len(grub.menu(text, {}).entries) <= 512


def test_a_disk_that_cannot_be_read() -> None:
    def read(offset: int, length: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(GasangError, match="disk x: it cannot be read"):
        disk_boot(Window(read, 0, MIB, "disk x"))
