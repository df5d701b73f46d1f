"""LUKS disks of qemu-img's and cryptsetup's making, judged by them; and headers that somebody damaged."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, PermissionDeniedError
from gasang.storage.encrypted import open_encrypted
from gasang.storage.formats import open_given
from gasang.storage.images.store import File, Volatile
from gasang.storage.luks.disk import unlock
from gasang.storage.luks.headers import parse
from gasang.storage.luks.sectors import Xts
from gasang.storage.throttle import Limits
from storage.images.judge import needs_qemu_img, qemu_img

pytestmark = pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="cryptsetup is not installed (Debian: cryptsetup-bin)")

SIZE = 2 << 20
SECRET = b"open sesame\n"
FAST = ("--pbkdf-force-iterations", "1000")
ARGON = ("--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1")


def secret(folder: Path) -> Path:
    path = folder / "secret"
    path.write_bytes(SECRET)
    return path


def cryptsetup(*words: object) -> None:
    subprocess.run(["cryptsetup", "-q", *map(str, words)], check=True, capture_output=True, timeout=60)


def made(folder: Path, kind: str, *more: object, cipher: str = "aes-xts-plain64") -> Path:
    path = folder / f"{kind}.img"
    with path.open("wb") as file:
        file.truncate(24 << 20)
    cryptsetup("luksFormat", "--type", kind, "--cipher", cipher, *more, path, secret(folder))
    return path


def judged(path: Path, folder: Path, model: bytes) -> None:
    """qemu-img finds what `model` is at the begin of a LUKS1 container."""
    source = f"driver=luks,file.filename={path},key-secret=key"
    qemu_img("convert", "--object", f"secret,id=key,file={folder / 'secret'}", "--image-opts", source, "-O", "raw", folder / "plain.raw")
    assert (folder / "plain.raw").read_bytes()[: len(model)] == model


def scribbled(path: Path, size: int) -> bytes:
    model = bytearray(size)
    rng = random.Random(1)
    with closing(unlock(File.open(path, read_only=False), SECRET)) as store:
        store.write(0, model)
        for _ in range(25):
            at, length = rng.randrange(size), rng.choice((1, 511, 4096, 9000))
            data = rng.randbytes(min(length, size - at))
            store.write(at, data)
            model[at : at + len(data)] = data
            begin = max(0, at - 3)
            assert store.read(begin, min(600, size - begin)) == model[begin : begin + 600]
        store.flush()
    return bytes(model)


@needs_qemu_img
def test_version_1_in_chained_mode(tmp_path: Path) -> None:
    path = made(tmp_path, "luks1", *FAST, "--key-size", "256", cipher="aes-cbc-essiv:sha256")
    judged(path, tmp_path, scribbled(path, SIZE))


@needs_qemu_img
@pytest.mark.parametrize("how", [("--pbkdf", "pbkdf2", *FAST), ARGON])
def test_version_2_as_cryptsetup_makes_it(how: tuple[str, ...], tmp_path: Path) -> None:
    """The same key in a container of version 1 has qemu-img judge what was written."""
    (tmp_path / "volume.key").write_bytes(random.Random(2).randbytes(64))
    same = ("--key-size", "512", "--volume-key-file", tmp_path / "volume.key")
    two = made(tmp_path, "luks2", *how, "--sector-size", "512", *same)
    model = scribbled(two, SIZE)
    one = made(tmp_path, "luks1", *FAST, *same)
    begin = parse(File.open(one, read_only=True).read, "one").offset
    with two.open("rb") as source, one.open("r+b") as target:
        source.seek(16 << 20)
        target.seek(begin)
        target.write(source.read(SIZE))
    judged(one, tmp_path, model)


@pytest.mark.parametrize("how", [("luks1", *FAST), ("luks2", *ARGON)], ids=["luks1", "luks2"])
def test_a_header_that_is_a_file_of_its_own(how: tuple[str, ...], tmp_path: Path) -> None:
    header = tmp_path / "header"
    path = made(tmp_path, how[0], *how[1:], "--header", header)
    assert not any(path.read_bytes()), "all of it is the disk"
    with closing(open_encrypted(str(path), SECRET, read_only=False, header=header)) as disk:
        assert disk.size == 24 << 20
        disk.write(0, b"first")
        disk.write(disk.size - 4, b"last")
    assert any(path.read_bytes()[:512])
    limits = Limits(10_000, 0)
    with closing(open_given(str(path), key=SECRET, header=header, limits=limits)) as again:
        assert (again.read(0, 5), again.read(again.size - 4, 4)) == (b"first", b"last")
    with pytest.raises(BadInputError, match="not encrypted with LUKS"):
        open_encrypted(str(path), SECRET, read_only=True)
    with pytest.raises(PermissionDeniedError):
        open_encrypted(str(path), b"wrong", read_only=True, header=header)


def test_large_sectors_and_the_second_header(tmp_path: Path) -> None:
    path = made(tmp_path, "luks2", "--pbkdf", "pbkdf2", *FAST, "--sector-size", "4096")
    model = scribbled(path, 100_000)
    with path.open("r+b") as file:
        file.write(bytes(4096))
    with closing(unlock(File.open(path, read_only=True), SECRET)) as store:
        assert store.read(0, len(model)) == model


def test_it_is_a_machines_disk(tmp_path: Path) -> None:
    path = made(tmp_path, "luks1", *FAST)
    with closing(open_given(str(path), key=SECRET)) as disk:
        disk.write(512, b"kept" * 128)
    with closing(open_given(str(path), key=SECRET, read_only=True)) as disk:
        assert disk.read(512, 512) == b"kept" * 128
    with pytest.raises(GasangError, match="opens none"):
        open_given(str(path), key=b"open sesame")
    (tmp_path / "plain.img").write_bytes(bytes(1 << 20))
    with pytest.raises(GasangError, match="not encrypted"):
        open_given(str(tmp_path / "plain.img"), key=SECRET)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"keyslots": {}}, "opens none"),
        ({"segments": []}, "damaged"),
        ({"digests": {}}, "damaged"),
        ({"config": {"requirements": {"mandatory": ["online-reencrypt"]}}}, "needs online-reencrypt"),
        ({"segments": {"0": {"type": "linear"}}}, "not simply encrypted"),
    ],
)
def test_headers_that_say_other_things(change: dict[str, object], why: str, tmp_path: Path) -> None:
    store = Volatile(made(tmp_path, "luks2", "--pbkdf", "pbkdf2", *FAST).read_bytes())
    text = json.loads(bytes(store.content[4096:16384]).split(b"\0")[0])
    signed(store, json.dumps(text | change).encode())
    with pytest.raises(GasangError, match=why):
        unlock(store, SECRET)


def signed(store: Volatile, text: bytes) -> None:
    """Put a text with a good checksum into the first header, and take the second away."""
    store.content[4096:16384] = text.ljust(12288, b"\0")
    store.content[448:512] = bytes(64)
    store.content[448:480] = hashlib.sha256(store.content[:16384]).digest()
    store.content[16384:32768] = bytes(16384)


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("luks")
    return [made(folder, "luks1", *FAST).read_bytes(), made(folder, "luks2", "--pbkdf", "pbkdf2", *FAST).read_bytes()]


NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**32 - 1, 2**63, 2**64, "", "0", "-1", "9" * 30, None, [], {}])


@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_header_may_say_anything(containers: list[bytes], data: st.DataObject) -> None:
    kind = data.draw(st.integers(0, 1))
    store = Volatile(containers[kind])
    if kind == 0:
        at = data.draw(st.integers(6, 590))
        value = data.draw(st.binary(min_size=1, max_size=4))
        store.content[at : at + len(value)] = value
    else:
        text = json.loads(bytes(store.content[4096:16384]).split(b"\0")[0])
        here = text
        while True:
            key = data.draw(st.sampled_from(sorted(here)))
            if isinstance(here[key], dict) and here[key] and data.draw(st.integers(0, 5)):
                here = here[key]
                continue
            here[key] = data.draw(NUMBERS)
            break
        signed(store, json.dumps(text).encode())
    with suppress(GasangError, OSError), closing(unlock(store, SECRET)) as found:
        found.read(0, 4096)


@pytest.mark.parametrize("size", [512, 4096])
def test_all_sectors_at_once_are_each_alone(size: int) -> None:
    """The library's own XTS, sector by sector, says the same."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    rng = random.Random(size)
    key, data = rng.randbytes(64), rng.randbytes(5 * size)
    for number in (0, 7, (1 << 64) - 3):
        numbers = [(number + index * size // 512) % (1 << 64) for index in range(5)]
        alone = b"".join(
            Cipher(algorithms.AES(key), modes.XTS(each.to_bytes(16, "little"))).encryptor().update(data[index * size : (index + 1) * size])
            for index, each in enumerate(numbers)
        )
        cipher = Xts(key, size, (1 << 64) - 1)
        assert cipher.encrypt(number, data) == alone
        assert cipher.decrypt(number, alone) == data
