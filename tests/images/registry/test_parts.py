"""The parts without a network: challenges, credentials, platforms, manifests, settings."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, UsageError
from gasang.images.descriptors import Blob
from gasang.images.registry.challenge import Challenge, parse_challenges
from gasang.images.registry.credentials import NOBODY, Credentials, Keyring, from_registry_auth, from_registry_config
from gasang.images.registry.manifests import choose, diff_ids_of, is_layer, parse_image_manifest, parse_offers
from gasang.images.registry.platform import Platform, host_platform, parse_platform, read_platform, suits
from gasang.images.registry.reach import reach
from gasang.images.registry.settings import Endpoint, Registries, is_loopback
from support.fake_registry import FakeRegistry

# challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [Challenge("basic", {})]),
        ('Basic realm="a \\"b\\" c"', [Challenge("basic", {"realm": 'a "b" c'})]),
        (
            'Bearer realm="https://x/t",service=s, scope="repository:a:pull,push"',
            [Challenge("bearer", {"realm": "https://x/t", "service": "s", "scope": "repository:a:pull,push"})],
        ),
        ('Negotiate, Basic realm="x", NTLM', [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"}), Challenge("ntlm", {})]),
        ("@@@", []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


@given(st.text(max_size=300))
def test_any_header_is_survived(header: str) -> None:
    for found in parse_challenges(header):
        assert found.scheme == found.scheme.lower()


# credentials


def packed(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


def test_registry_auth() -> None:
    assert from_registry_auth("") == NOBODY
    assert not NOBODY
    found = from_registry_auth(packed({"username": "u", "password": "p?>", "serveraddress": "x"}))
    assert found == Credentials("u", "p?>")
    assert found.basic() == "Basic " + base64.b64encode(b"u:p?>").decode()
    assert from_registry_auth(packed({"identitytoken": "t"}).rstrip("=")) == Credentials(identity_token="t")
    assert from_registry_auth(packed({"auth": base64.b64encode(b"a:b:c").decode()})) == Credentials("a", "b:c")
    assert from_registry_auth(packed({})) == NOBODY
    for wrong in ("!", packed([]), "e30x"):
        with pytest.raises(UsageError, match="X-Registry-Auth: it is no base64url of a JSON object"):
            from_registry_auth(wrong)


def test_a_build_has_credentials_of_many_registries() -> None:
    document = {"https://index.docker.io/v1/": {"username": "a", "password": "1"}, "localhost:5000": {"identitytoken": "t"}, "odd": "text"}
    found = from_registry_config(base64.urlsafe_b64encode(json.dumps(document).encode()).decode())
    assert found == {"docker.io": Credentials("a", "1"), "localhost:5000": Credentials(identity_token="t")}
    assert from_registry_config("") == {}
    with pytest.raises(UsageError, match="X-Registry-Config"):
        from_registry_config("!")


def keyring(tmp_path: Path, document: object) -> Keyring:
    (tmp_path / "config.json").write_text(json.dumps(document))
    return Keyring.of_user({"DOCKER_CONFIG": str(tmp_path)})


def test_the_users_keyring(tmp_path: Path) -> None:
    assert Keyring.of_user({"HOME": str(tmp_path)}).find("ghcr.io") == NOBODY
    auth = base64.b64encode(b"me:secret").decode()
    auths = {
        "ghcr.io": {"auth": auth},
        "https://index.docker.io/v1/": {"auth": auth},
        "https://old.example/v1/": {"username": "o", "password": "p"},
    }
    found = keyring(tmp_path, {"auths": auths})
    assert found.find("ghcr.io") == found.find("docker.io") == Credentials("me", "secret")
    assert found.find("old.example") == Credentials("o", "p")
    assert found.find("quay.io") == NOBODY
    with pytest.raises(BadInputError, match="an auth in it is no base64"):
        keyring(tmp_path, {"auths": {"x.y": {"auth": "???"}}}).find("x.y")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadInputError, match=r"config.json: it is no JSON"):
        Keyring.of_user({"DOCKER_CONFIG": str(tmp_path)})


def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-made"
    helper.write_text(
        '#!/bin/sh\nread key\ncase $key in\n  a.example) echo \'{"Username":"u","Secret":"s"}\';;\n'
        '  b.example) echo \'{"Username":"<token>","Secret":"t"}\';;\n  *) echo no; exit 1;;\nesac\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = keyring(tmp_path, {"credsStore": "made", "credHelpers": {"c.example": "missing"}})
    assert found.find("a.example") == Credentials("u", "s")
    assert found.find("b.example") == Credentials(identity_token="t")
    assert found.find("c.example") == found.find("d.example") == NOBODY
    with pytest.raises(UsageError, match="that is no helper's name"):
        keyring(tmp_path, {"credsStore": "../../bin/sh"}).find("a.example")


# platforms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("x86_64", Platform("linux", "amd64")),
        ("linux/arm64", Platform("linux", "arm64", "v8")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("Linux/ARMHF", Platform("linux", "arm", "v7")),
        ("riscv64", Platform("linux", "riscv64")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_platforms(text: str, expected: Platform) -> None:
    assert parse_platform(text) == expected
    assert parse_platform(str(expected)) == expected
    assert read_platform(expected.document()) == expected


def test_what_suits() -> None:
    arm = [Platform("linux", "arm", variant) for variant in ("v5", "v6", "v7")]
    assert [suits(offer, Platform("linux", "arm", "v6")) > 0 for offer in arm] == [True, True, False]
    assert suits(Platform("linux", "arm64"), parse_platform("arm64")) > 0
    assert suits(Platform("windows", "amd64"), parse_platform("amd64")) == 0
    assert host_platform().os == "linux"
    assert parse_platform("linux") == Platform("linux", host_platform().architecture, host_platform().variant) or host_platform().variant
    assert read_platform("nonsense") == Platform("", "")
    for wrong in ("", "a/b/c/d", "a b", "linux/"):
        with pytest.raises(UsageError, match="that is none; write it like linux/amd64"):
            parse_platform(wrong)


# manifests

DIGEST = "sha256:" + "0" * 64
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DIGEST),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schemaVersion", "config", "layers", "manifests", "digest", "size", "mediaType", "platform", "rootfs"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_document_is_understood_or_refused(document: object) -> None:
    raw = json.dumps(document).encode()
    blob = Blob("", DIGEST, len(raw))
    with suppress(GasangError):
        parse_image_manifest(raw, blob, "image x")
    with suppress(GasangError):
        choose(parse_offers(raw, "image x"), host_platform(), "image x")
    if isinstance(document, dict):
        with suppress(BadInputError):
            assert diff_ids_of(document, 1, "image x") == (DIGEST,)


@given(st.binary(max_size=100))
def test_no_noise_is_a_manifest(raw: bytes) -> None:
    with pytest.raises(GasangError, match=r"^image x: "):
        parse_image_manifest(raw, Blob("", DIGEST, len(raw)), "image x")


def test_layers_kinds() -> None:
    assert is_layer("application/vnd.oci.image.layer.v1.tar+zstd")
    assert is_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    assert not is_layer("application/vnd.oci.image.layer.v1.tar+brotli")
    assert not is_layer("application/vnd.gasang.vm.disk.raw+zstd")


# settings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.8.9.1:80", True),
        ("[::1]:5000", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected


def test_endpoints() -> None:
    settings = Registries(
        insecure=frozenset({"10.0.0.0/8", "plain.example", "port.example:5000"}), mirrors={"docker.io": ("https://m.example/",)}
    )
    assert settings.endpoints("docker.io") == [Endpoint("https://registry-1.docker.io")]
    assert settings.mirrors_of("docker.io") == [Endpoint("https://m.example")]
    assert settings.endpoints("ghcr.io") == [Endpoint("https://ghcr.io")]
    assert settings.endpoints("localhost:5000")[0] == Endpoint("http://localhost:5000")
    for name in ("10.1.2.3:5000", "plain.example:80", "port.example:5000"):
        assert [endpoint.base.partition(":")[0] for endpoint in settings.endpoints(name)] == ["https", "http"]
        assert not settings.endpoints(name)[0].verified
    assert settings.endpoints("port.example:5001") == [Endpoint("https://port.example:5001")]
    with pytest.raises(UsageError, match="that is no network"):
        Registries(insecure=frozenset({"10.0.0.0/99"})).endpoints("10.0.0.1")
    with pytest.raises(UsageError, match="mirror 'ftp://x': that is no address"):
        Registries(mirrors={"a.b": ("ftp://x",)}).mirrors_of("a.b")


def test_a_damaged_certificate(tmp_path: Path) -> None:
    (tmp_path / "x.example").mkdir()
    (tmp_path / "x.example" / "ca.crt").write_text("nonsense")
    with pytest.raises(UsageError, match="a certificate in it cannot be used"):
        Registries(certificates=tmp_path).tls(Endpoint("https://x.example"))


def test_reaching(fake: FakeRegistry) -> None:
    assert reach(fake.address, Registries()) == Endpoint(f"http://{fake.address}")
    fake.rules.append(lambda handler: handler.answer(400))
    with pytest.raises(GasangError, match="registry"):
        reach(fake.address, Registries())
