"""Words, settings and names of images that nobody knows, and a store that is damaged: one sentence, its exit code, nothing left behind."""

from __future__ import annotations

import pytest

from gasang.images.cpio import archive
from gasang.images.store import DISK, INITRD, KERNEL, Store
from support.command import Home
from support.fake_registry import serving
from support.kernels import image


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--frob"), "option --frob: gasang run has no such option; did you mean --rm"),
        (("run", "--memroy", "1G"), "option --memroy: gasang run has no such option; did you mean --memory"),
        (("run", "-q"), "option -q: gasang run has no such option"),
        (("pull", "-x"), "option -x: gasang pull has no such option; see gasang pull --help"),
        (("run", "--memory"), "option --memory: its value is missing; write --memory SIZE"),
        (("run", "--vm=maybe", "debian:trixie"), "option --vm: 'maybe' is neither true nor false"),
        (("run", "--cpus", "0", "debian:trixie"), "--cpus: '0' is no number of processors"),
        (("run", "--cpus", "9" * 5000, "debian:trixie"), "--cpus: '9+' is no number of processors"),
        (("run", "--memory", "lots", "debian:trixie"), "--memory: 'lots' is no size"),
        (("run", "--vm", "--memory", "1M", "debian:trixie"), "--memory: a machine cannot have 1M of memory; write a size from 32M to 1T"),
        (("run", "--vm", "--memory", "9E", "debian:trixie"), "--memory: .* is no whole number of bytes|cannot have 9E"),
        (("run", "-e", "=x", "debian:trixie"), "--env '=x': it names no variable"),
        (("run",), "gasang run: it needs an IMAGE or a --kernel"),
        (("run", "--vm", "debian:Trixie!", "--", "ls"), "image debian:Trixie!: that is no image's name"),
        (("run", "--progress", "loud", "debian:trixie"), "--progress: there is no 'loud'"),
        (("pull",), "gasang pull: IMAGE is missing"),
        (("pull", "a", "b"), "argument 'b': gasang pull takes no such argument"),
        (("pull", "--agian", "a"), "option --agian: .* did you mean --again"),
        (("pull", "x\ty"), r"image x\?y: that is no image's name"),
        (("rmi", ""), "the argument '' names nothing"),
        (("rmi", "A"), "image A: that is no image's name"),
        (("images", "--format", "{nothing}"), "--format"),
        (("trace", "--format", "json", "Image"), "--format json: a trace is a stream"),
        (("trace", "--limit", "-1", "Image"), "--limit: '-1' is no count"),
        (("disasm", "--start", "there", "program"), "--start: 'there' is no address"),
        (("doctor", "health"), "health"),
        (("completion", "csh"), "SHELL: there is no 'csh'; choose one of"),
        (("rnu",), "verb 'rnu': there is no such verb; did you mean run"),
        (("\x1b[31m",), "verb '.x1b.31m': there is no such verb"),
        (("--debugg",), "command line: the verb is missing|option --debugg"),
    ],
)
def test_words_nobody_knows(home: Home, words: tuple[str, ...], says: str) -> None:
    home.refused(*words, code=2, says=f"^gasang: .*({says})")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GASANG_CPUS", "many", "GASANG_CPUS: 'many' is no number of processors"),
        ("GASANG_MEMORY", "-1", "GASANG_MEMORY: '-1' is no size"),
        ("GASANG_MIRROR", "file:///etc", "GASANG_MIRROR: 'file:///etc' is no address of a mirror"),
        ("GASANG_TIMEOUT", "0s", "GASANG_TIMEOUT: '0s' is too short"),
        ("GASANG_PROGRESS", "loud", "GASANG_PROGRESS: there is no 'loud'"),
        ("GASANG_DEBUG", "maybe", "GASANG_DEBUG: 'maybe' is neither true nor false"),
    ],
)
def test_settings(home: Home, name: str, value: str, says: str) -> None:
    home.settings[name] = value
    home.refused("run", "--vm", "debian:trixie", "--", "true", code=2, says=says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"cpus = ", "it is no TOML"),
        (b"\xff", "it is no UTF-8 text"),
        (b"colour = 'red'", "there is no setting 'colour'"),
        (b"memory = [1]", "the setting 'memory' is neither text nor a number"),
        (b"memory = '1Q'", "memory: '1Q' is no size"),
        (b"mirror = 'ftp://x'", "mirror: 'ftp://x' is no address"),
    ],
)
def test_configuration_files(home: Home, content: bytes, says: str) -> None:
    (home.home / "config.toml").write_bytes(content)
    home.refused("run", "--vm", "debian:trixie", code=2, says=f"home/config.toml.*{says}")


def test_a_projects_settings(home: Home) -> None:
    (home.root / "gasang.toml").write_text("memory = '1Q'")
    home.refused("run", "--vm", "debian:trixie", code=2, says="gasang.toml, memory: '1Q' is no size")
    (home.root / "gasang.toml").write_text("keyring = 'keys.gpg'")
    home.refused("pull", "debian:trixie", code=2, says="gasang.toml: a project cannot set 'keyring'; set it in your own config.toml")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--vm", "REGISTRY/x:1", "--", "ls"), "image REGISTRY/x:1: it is not here for linux/"),
        (("pull", "--vm", "REGISTRY/a/b:1"), "image REGISTRY/a/b:1: it is not here for linux/"),
        (("rmi", "debian:potato"), "image debian:potato: it is not here; try gasang pull"),
    ],
)
def test_images_that_are_missing(home: Home, words: tuple[str, ...], says: str) -> None:
    with serving() as registry:
        named = [word.replace("REGISTRY", registry.address) for word in words]
        home.refused(*named, code=3, says=f"^gasang: {says.replace('REGISTRY', registry.address)}")


def test_a_registry_that_is_not_there(home: Home) -> None:
    says = "image localhost:9/x:1: it is not here for linux/.*, and registry localhost:9"
    home.refused("run", "--vm", "localhost:9/x:1", code=1, says=says)


def test_asking_in_vain_makes_no_folder(home: Home) -> None:
    home.refused("rmi", "debian:potato", code=3, says="debian:potato")
    assert home.files() == set()
    assert {path.name for path in home.home.iterdir()} <= {"cache"}


def keep(home: Home, **config: object) -> Store:
    """An image whose kernel does nothing, in the home's store."""
    store = Store(home.home / "data" / "images")
    settings = {"kind": "vm", "architecture": "riscv64", "disk_size": 4096, "append": "", "packages": [], **config}
    with store.changing():
        layers = [store.add_bytes(data, kind) for data, kind in ((image(), KERNEL), (archive([]), INITRD), (b"no disk", DISK))]
        store.tag("debian:small", layers, settings)
    return store


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (b"", "a document of it is no JSON"),
        (b'{"manifests": [{}]}', "a descriptor in it is damaged"),
        (b"[1]", "a document of it is no JSON object"),
        (b"[" * 100_000, "a document of it is no JSON"),
    ],
)
def test_a_store_whose_index_is_damaged(home: Home, index: bytes, says: str) -> None:
    (keep(home).root / "index.json").write_bytes(index)
    home.refused("images", code=1, says=f"store .*: {says}.*; remove its index.json and pull again")


@pytest.mark.parametrize("words", [("run", "--vm", "debian:small"), ("rmi", "debian:small"), ("pull", "debian:small")])
def test_every_verb_tells_of_a_damaged_index(home: Home, words: tuple[str, ...]) -> None:
    (keep(home).root / "index.json").write_bytes(b"{}")
    home.refused(*words, code=1, says="store .*: a list in it is damaged; remove its index.json and pull again")


def test_a_stored_image_that_is_damaged(home: Home) -> None:
    store = keep(home)
    again = "; remove it and pull it again$"
    home.refused("run", "--vm", "debian:small", "--", "true", code=1, says=f"debian:small.*{again}")  # its disk is none
    kernel = store.path(store.resolve("debian:small").layer(KERNEL))
    kernel.write_bytes(kernel.read_bytes()[:-1])
    home.refused("run", "--vm", "debian:small", code=1, says=f"image debian:small: part of it is damaged in the store{again}")
    kernel.unlink()
    home.refused("images", code=1, says=f"image debian:small: part of it is missing from the store{again}")
    assert home.run("rmi", "debian:small").out == b"removed debian:small\n"
    assert home.run("images", "--format", "name").out == b""


@pytest.mark.parametrize("config", [{"disk_size": "large"}, {"disk_size": -1}, {"append": 7}, {"packages": 7, "disk_size": None}])
def test_a_stored_image_of_another_make(home: Home, config: dict[str, object]) -> None:
    keep(home, **config)
    home.refused("run", "--vm", "debian:small", code=1, says="image debian:small: its configuration has no .*; remove it and pull")
    assert home.run("images", "--format", "name").out == b"debian:small\n"


def test_a_store_that_another_process_changes(home: Home) -> None:
    with keep(home).changing():
        home.refused("rmi", "debian:small", code=4, says="another gasang is changing it; wait for that one to end")
        home.refused("pull", "--again", "debian:small", code=4, says="another gasang is changing it")
