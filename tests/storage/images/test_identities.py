from __future__ import annotations

import uuid

from gasang.storage.images.identities import as_text, from_text, new_identity, turned


def test_an_identity_is_a_random_uuid_of_version_4() -> None:
    made = {uuid.UUID(bytes=new_identity()) for _ in range(100)}
    assert len(made) == 100
    assert {(each.version, each.variant) for each in made} == {(4, uuid.RFC_4122)}


def test_orders_and_text_are_those_of_the_standard() -> None:
    known = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
    assert from_text(str(known)) == known.bytes
    assert as_text(known.bytes) == str(known)
    assert turned(known.bytes) == known.bytes_le
    assert turned(turned(known.bytes)) == known.bytes
