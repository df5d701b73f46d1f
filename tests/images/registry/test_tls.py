"""Registries behind TLS: a certificate is right, made right by the user, or refused; the loopback is taken as it is."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.images.content.content import Content
from gasang.images.registry import settings as module
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.push import push
from gasang.images.registry.settings import Registries
from support.fake_registry import FakeRegistry, make_image, serving
from support.tars import Item, archive

AMD64 = parse_platform("linux/amd64")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of 127.0.0.1, signed by itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of this test, and it is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "crt")]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeRegistry]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "crt", certificate / "key")
    with serving(context) as registry:
        yield registry


def get(name: str, content: Content, settings: Registries) -> str:
    return pull(name, content, platform=AMD64, keyring=Keyring(), registries=settings).digest


def test_the_loopback_is_taken_as_it_is(secure: FakeRegistry, content: Content, quick: Registries) -> None:
    made = make_image([archive([Item("a", b"1")])])
    name = secure.add("app", "1", made)
    assert get(name, content, quick) == made.digest
    assert push(name, content, keyring=Keyring(), registries=quick) == made.digest


def test_elsewhere_a_certificate_must_be_right(
    secure: FakeRegistry, content: Content, quick: Registries, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_loopback", lambda registry: False)
    made = make_image([archive([Item("a", b"1")])])
    name = secure.add("app", "1", made)
    with pytest.raises(PermissionDeniedError, match=r"its certificate is not trusted .*add its ca\.crt, or name it insecure"):
        get(name, content, quick)
    assert get(name, content, replace(quick, insecure=frozenset({secure.address}))) == made.digest
    folder = tmp_path / "certificates" / secure.address
    folder.mkdir(parents=True)
    shutil.copy(certificate / "crt", folder / "ca.crt")
    assert get(name, Content(tmp_path / "other"), replace(quick, certificates=tmp_path / "certificates")) == made.digest
