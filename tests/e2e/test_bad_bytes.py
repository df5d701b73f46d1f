"""Sound files with faults in them, thousands of them: each is taken or refused in one sentence, whatever the fault."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cli.main import main
from gasang.cli.table import VERBS as TABLE
from gasang.core.errors import GasangError, NotFoundError
from gasang.images.clearsign import take_apart
from gasang.images.compression import expand_bytes
from gasang.images.cpio import archive
from gasang.images.deb import read_control, read_data
from gasang.images.dpkg import Unpacked, database
from gasang.images.initrd import unpacked_size
from gasang.images.packages import Index
from gasang.images.release import parse_release
from gasang.images.resolve import resolve
from gasang.images.root import Root
from gasang.images.spool import Spool
from gasang.kinds.vm.loader import MAX_KERNEL, load_kernel
from gasang.storage.tree import Entry, Kind
from support.command import Done, check_sentence
from support.damage import damaged
from support.debian_archive import COMPRESS, deb_of, member, small_debian, tar_of
from support.fake_daemon import FakeDaemon
from support.kernels import RAM_BASE, efi_image, elf, image

CODE = bytes(range(256)) * 4
KERNELS = {"Image": image(CODE), "EFI Image": efi_image(CODE), "ELF": elf(CODE), "Image.gz": gzip.compress(image(CODE), mtime=0)}
INITRD = archive([Entry(path=f"file-{number}", kind=Kind.FILE, data=CODE[: number * 100]) for number in range(5)])
DEBS = {
    form: deb_of(
        {"control": b"Package: x\nVersion: 1\nArchitecture: riscv64\n", "conffiles": b"/etc/x\n", "triggers": b"interest /usr\n"},
        tar_of(member("./etc/"), member("./etc/x"), member("./etc/y", target="x"), data={"./etc/x": CODE}),
        form,
    )
    for form in COMPRESS
}
RELEASE_TEXT = "Codename: trixie\nArchitectures: all riscv64\nValid-Until: Sat, 01 Jan 2099 00:00:00 UTC\n"
RELEASE_TEXT += f"SHA256:\n {'a' * 64} 5 main/binary-riscv64/Packages.xz\n"
SIGNED = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{RELEASE_TEXT}-----BEGIN PGP SIGNATURE-----\n\nabc\n"
SIGNED += "-----END PGP SIGNATURE-----\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return "\n".join(small_debian(tmp_path_factory.mktemp("mirror")).entries).encode()


def told(action: Callable[[], object]) -> None:
    """The action works, or fails with a sentence that names a thing and a cause."""
    try:
        action()
    except GasangError as error:
        if not (error.subject and error.cause and error.hint):
            raise AssertionError(f"no whole sentence: {error}") from error


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=400)
@given(st.data())
def test_kernels(name: str, data: st.DataObject) -> None:
    content = data.draw(damaged(KERNELS[name]))

    def load() -> None:
        kernel = load_kernel(content, name, RAM_BASE)
        assert all(piece.address >= RAM_BASE and len(piece.data) <= piece.size <= MAX_KERNEL for piece in kernel.pieces)
        assert kernel.end < 1 << 64

    told(load)


@pytest.mark.parametrize("form", ["", ".gz", ".xz", ".zst"])
@settings(max_examples=150)
@given(st.data())
def test_initrds(form: str, data: st.DataObject) -> None:
    content = data.draw(damaged(COMPRESS[form](INITRD)))
    told(lambda: unpacked_size(content, "initrd"))


@pytest.mark.parametrize("form", COMPRESS)
@settings(max_examples=150)
@given(st.data())
def test_packages(form: str, data: st.DataObject) -> None:
    content = data.draw(damaged(DEBS[form]))
    with tempfile.TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        path = Path(folder, "x_1_riscv64.deb")
        path.write_bytes(content)

        def unpack() -> None:
            package = Unpacked(read_control(path), read_data(path, spool))
            root = Root()
            root.add_all(package.entries)
            root.add_all(database([package]))
            for entry in root.entries():
                assert b".." not in bytes(entry.path if isinstance(entry.path, bytes) else entry.path.encode()).split(b"/")

        told(unpack)


@settings(max_examples=400)
@given(st.data())
def test_indexes(index: bytes, data: st.DataObject) -> None:
    content = data.draw(damaged(index))

    def plan() -> None:
        read = Index(content.decode("utf-8", "surrogateescape"), "index")
        for package in resolve(read, [*read.selected(frozenset({"required"})), "apt", "linux-image-riscv64", "busybox-static"]):
            assert ".." not in package.filename.split("/")
            assert package.size >= 0
            assert len(package.sha256) == 64

    told(plan)


@settings(max_examples=150)
@given(st.data())
def test_packed_indexes(index: bytes, data: st.DataObject) -> None:
    content = data.draw(damaged(lzma.compress(index)))
    told(lambda: expand_bytes(content, "index", 1 << 20, "xz"))


@settings(max_examples=400)
@given(st.data())
def test_release_files(data: st.DataObject) -> None:
    content = data.draw(damaged(SIGNED.encode()))
    told(lambda: parse_release(take_apart(content, "release").text, "trixie", "release").index("main", "riscv64"))


@settings(max_examples=400)
@given(st.data())
def test_release_files_whose_signature_is_right(data: st.DataObject) -> None:
    content = data.draw(damaged(RELEASE_TEXT.encode())).decode("utf-8", "replace")
    told(lambda: parse_release(content, "trixie", "release").index("main", "riscv64"))


def command(*words: str) -> Done:
    """The command in this process: a fault of gasang fails the test."""
    err = io.StringIO()
    with tempfile.TemporaryFile("w+") as out, redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return Done(code, b"", err.getvalue())


def refuse(*words: object) -> None:
    """In the place of asking a registry."""
    raise NotFoundError("registry", "it has no such image", "choose another")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for commands in this process."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GASANG_")]:
            patch.delenv(name)
        patch.setenv("GASANG_HOME", str(folder))
        patch.chdir(folder)
        patch.setattr("gasang.kinds.vm.converting.find", refuse)
        daemon = FakeDaemon(folder / "run" / "docker.sock")  # whatever it is asked, there is no such thing
        with open(os.devnull) as nothing:
            patch.setattr(sys, "stdin", nothing)
            yield folder
        daemon.close()


@settings(max_examples=300)
@given(st.data())
def test_programs_to_disassemble(world: Path, data: st.DataObject) -> None:
    path = world / "program"
    path.write_bytes(data.draw(damaged(elf(CODE))))
    done = command("disasm", str(path))
    if done.code:
        check_sentence(done, done.code, "program: ")
    assert done.code in (0, 1, 3)


REAL = {"daemon", "doctor", "oci", "login"}
"""Verbs that start, measure, change or ask for something beyond their home."""
VERBS = st.sampled_from([*sorted(set(TABLE) - REAL), "frob", "", "-", "--", "help"])
FLAGS = (
    "--vm --cpus --memory -m --kernel --initrd --disk -e --env -i -t --format --limit --skip --start --stop --symbol --section --progress"
)
FLAGS += " --debug --again --append -- - --- -x --= --vm="
VALUES = ["1", "0", "-1", "64M", "1T", "9" * 5000, "text", "/", "nothing", "a:b", "json", "bash", "A=1"]
VALUES += ["{name}", "{", "{0!r:>9}", "{name.__class__}"]
WORDS = st.sampled_from([*FLAGS.split(), *VALUES]) | st.text(max_size=6)


@settings(max_examples=500)
@given(st.lists(WORDS | VERBS, max_size=1), VERBS, st.lists(WORDS, max_size=5))
def test_command_lines(world: Path, before: list[str], verb: str, words: list[str]) -> None:
    (world / "text").write_text("no kernel\n")
    done = command(*before, verb, *words)
    if done.code and "--debug" not in [*before, *words]:
        for line in done.err.splitlines() or [""]:  # one for each name that was given
            check_sentence(Done(done.code, b"", line), done.code, "")
    assert done.code in (0, 1, 2, 3, 5, 125)
    assert sorted(path.name for path in world.iterdir() if path.name not in ("program", "cache")) == ["run", "text"]
    assert [path.name for path in (world / "cache").glob("**/*")] in ([], ["kvm.json"])
    assert os.listdir(world / "run") == ["docker.sock"]
