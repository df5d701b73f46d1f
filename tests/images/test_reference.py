"""Names of images, by the distribution reference grammar and by Docker's habits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.images.reference import Reference, parse_reference

D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "plain", "qualified", "familiar"),
    [
        ("debian", "debian:latest", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:trixie", "debian:trixie", "docker.io/library/debian:trixie", "debian:trixie"),
        ("docker.io/library/debian:12", "docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
        ("docker.io/debian", "docker.io/debian:latest", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/a/b", "index.docker.io/a/b:latest", "docker.io/a/b:latest", "a/b:latest"),
        ("a/b/c", "a/b/c:latest", "docker.io/a/b/c:latest", "a/b/c:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest", "localhost/x:latest"),
        (f"localhost:5000/x@{D}", f"localhost:5000/x@{D}", f"localhost:5000/x@{D}", f"localhost:5000/x@{D}"),
        (f"x:1@{D}", f"x:1@{D}", f"docker.io/library/x:1@{D}", f"x:1@{D}"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
        (
            "host:80/a__b/c-d.e--f:T.a_g-1",
            "host:80/a__b/c-d.e--f:T.a_g-1",
            "host:80/a__b/c-d.e--f:T.a_g-1",
            "host:80/a__b/c-d.e--f:T.a_g-1",
        ),
        ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest", "UPPER/x:latest"),
        ("docker.io/library/gh.io/x", "docker.io/library/gh.io/x:latest", "docker.io/library/gh.io/x:latest", "library/gh.io/x:latest"),
    ],
)
def test_names(text: str, plain: str, qualified: str, familiar: str) -> None:
    found = parse_reference(text)
    assert str(found) == plain
    assert str(found.qualified()) == qualified
    assert str(found.qualified().familiar()) == familiar
    assert parse_reference(familiar).qualified() == found.qualified()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        "a@",
        "A",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a:.x",
        "a:" + "x" * 129,
        "x" * 256,
        "a b",
        "a\n",
        "a@sha256:1",
        f"a@{D}0",
        f"a@sha512:{'a' * 64}",
        f"@{D}",
        "b" * 64,
        "host:/x",
        "host:999999/x",
        "-host.io/x",
        "a@b@c",
        "http://x/y",
        "é",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"^image .*: that is no image's name; write it like debian:trixie$"):
        parse_reference(text)


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_a_usage_error(text: str) -> None:
    try:
        found = parse_reference(text)
    except UsageError:
        return
    assert parse_reference(str(found)) == found
    assert parse_reference(str(found.qualified())).qualified() == found.qualified()


def test_parts() -> None:
    found = parse_reference(f"ghcr.io/a/b:c@{D}")
    assert found == Reference("ghcr.io", "a/b", "c", D)
    assert found.repository == "ghcr.io/a/b"
    assert str(found.at(tag="d")) == "ghcr.io/a/b:d"
    assert str(found.at(digest=D)) == f"ghcr.io/a/b@{D}"
