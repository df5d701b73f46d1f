"""A store (store.py) that is a bucket and a prefix.

boto3 signs, tries again and sends what is large in parts; keys, region and endpoint are found as the AWS tools find them. An object
appears whole, when its PUT or the last step of its upload in parts is answered (S3 user guide, "data consistency model").
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import time
from collections import OrderedDict
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Final, cast

from gasang.core.errors import BadInputError, UnsupportedError, UsageError
from gasang.storage.backup.folder import telling as telling_of_host
from gasang.storage.backup.s3.lease import Lease
from gasang.storage.backup.store import S3, Entry

try:
    from boto3.s3.transfer import TransferConfig
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    raise UnsupportedError("backups in S3", "boto3 is not installed", "install it: pip install 'gasang[s3]'") from missing

from gasang.storage.backup.s3.telling import UNKNOWN, code_of, telling

_PLACE: Final = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", re.DOTALL)
PART: Final = 8 << 20
"""Bytes of a part of an upload, and of the most that is read ahead."""
_LARGE: Final = 16 << 20
_TRIES: Final = 4
_MOST: Final = 256 << 20
"""Bytes of an object that is read at once: those of a manifest at most."""
_MOST_LISTED: Final = 1 << 20
_WINDOWS: Final = 8
CONFIG: Final[dict[str, Any]] = {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard", "total_max_attempts": 5}}
"""What botocore is told. Between tries are growing pauses, of 15 s together at most (botocore.retries.standard)."""


def open_bucket(place: str) -> Bucket:
    """The store s3://BUCKET/PREFIX. Raises UsageError, PermissionDeniedError."""
    match = _PLACE.fullmatch(place)
    if match is None or not place.isprintable():
        raise UsageError(f"backups in {place[:200]!r}", "it names no bucket", f"use {S3}BUCKET/PREFIX")
    with telling(f"backups in {place}"):
        client = Session().client("s3", config=Config(**CONFIG))
    return Bucket(client, match[1], (match[2] or "").strip("/"), place)


class Bucket:
    """The objects under a prefix. `client` is boto3's; one is safe to use by several threads."""

    def __init__(self, client: Any, bucket: str, prefix: str, place: str) -> None:
        self.place = place
        self.subject = f"backups in {place}"
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._lease: Lease | None = None
        self._ahead: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    # A store.

    def lock(self, *, shared: bool) -> None:
        """Have the lease of it to write. To read needs none: nothing changes, and what `rm` takes away meanwhile is missed."""
        if not shared:
            self._lease = Lease(self)
            self._clear()

    def _clear(self) -> None:
        """Parts of uploads that were never finished are not listed, and are paid for."""
        with telling(self.subject), contextlib.suppress(ClientError):  # not every store tells of them, nor lets everybody see them
            found = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=f"{self._prefix}packs/")
            for each in found.get("Uploads") or ():
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=each["Key"], UploadId=each["UploadId"])

    def entries(self, part: str = "") -> list[Entry]:
        """The objects of a part."""
        return self.listed(part)[0]

    def listed(self, part: str) -> tuple[list[Entry], float]:
        """The same, and what time it is there."""
        prefix = f"{self._prefix}{part}/" if part else self._prefix
        words: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        found: list[Entry] = []
        with telling(self.subject):
            while True:
                answer = self._client.list_objects_v2(**words)
                for each in answer.get("Contents") or ():
                    key, size, modified = each["Key"], each["Size"], each["LastModified"].timestamp()
                    if key.startswith(prefix) and size >= 0:
                        found.append(Entry(key[len(self._prefix) :], size, modified))
                if not answer.get("IsTruncated") or not part:
                    return found, _time_of(answer)
                words["ContinuationToken"] = answer.get("NextContinuationToken")
                if len(found) > _MOST_LISTED or not answer.get("Contents") or not words["ContinuationToken"]:
                    raise BadInputError(self.subject, "the store lists without end", "use another store")

    def read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Bytes of an object. Where they follow those that were read before more is asked for, twice as much each time."""
        if length < 0:
            return self._get(name, f"bytes={offset}-" if offset else "", None)
        if not length:
            return b""
        begin, held = self._ahead.get(name, (0, b""))
        end = begin + len(held)
        if not begin <= offset <= offset + length <= end:
            follows = held and begin <= offset <= end
            wanted = max(length, min(2 * len(held), PART) if follows else 0)
            begin, held = offset, self._get(name, f"bytes={offset}-{offset + wanted - 1}", (length, wanted))
            self._ahead[name] = begin, held
            if len(self._ahead) > _WINDOWS:
                self._ahead.popitem(last=False)
        self._ahead.move_to_end(name)
        return held[offset - begin : offset - begin + length]

    def _get(self, name: str, piece: str, size: tuple[int, int] | None) -> bytes:
        """A GET whose body is whole, tried again where it breaks off, which botocore does not. `size`: bytes at least and at most."""
        least, most = size or (0, _MOST)
        for number in range(_TRIES):
            with telling(self.subject):
                answer = self._client.get_object(**self._key(name), **({"Range": piece} if piece else {}))
                promised = int(answer.get("ContentLength") or 0)
                try:
                    with contextlib.closing(answer["Body"]) as body:
                        data: bytes = body.read(most + 1)
                except (BotoCoreError, HTTPError):
                    if number == _TRIES - 1:
                        raise
                    continue
            if len(data) > most:
                raise BadInputError(f"{self.subject}, {name}", "the store sends more than it was asked for", "use another store")
            if len(data) >= max(least, promised):
                return data
        raise BadInputError(f"{self.subject}, {name}", "it ends early", "gasang backup verify tells which backups are whole")

    def draft(self, name: str) -> BucketDraft:
        """Begin an object, in a file of this host that has no name."""
        with telling_of_host("the temporary folder"):
            return BucketDraft(self, name, cast(BinaryIO, tempfile.TemporaryFile("w+b", prefix="gasang-backup-")))

    def remove(self, name: str) -> None:
        """Remove an object."""
        self._check()
        self.erase(name)
        self._ahead.pop(name, None)

    def close(self) -> None:
        """Let others write."""
        if self._lease is not None:
            self._lease.end()
            self._lease = None
        self._client.close()

    def _check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    # What its lease and its drafts need.

    def put(self, name: str, data: bytes) -> None:
        """A small object, whatever was there."""
        with telling(self.subject):
            self._client.put_object(**self._key(name), Body=data)

    def erase(self, name: str) -> None:
        """An object is gone, or was."""
        with telling(self.subject), contextlib.suppress(FileNotFoundError):
            self._client.delete_object(**self._key(name))

    def publish(self, name: str, file: BinaryIO) -> None:
        """Have a file as an object that was not there. Raises FileExistsError where it was, if the store can tell.

        What it has then is asked for again, and compared with what was sent: nothing that is wrong stays there under its name.
        """
        self._check()
        size = file.seek(0, 2)
        file.seek(0)
        if size > _LARGE:  # its name is a random one
            with telling(self.subject):
                config = TransferConfig(multipart_threshold=_LARGE, multipart_chunksize=PART, max_concurrency=4)
                # It closes what it is given.
                _transfer(self._client, _Unclosed(file), self._key(name), config)
        else:
            self._put_new(name, file.read())
        if not self._has(name, file, size):
            self.erase(name)
            raise BadInputError(f"{self.subject}, {name}", "the store kept something else than was sent", "try again, or use another store")

    def _put_new(self, name: str, data: bytes) -> None:
        try:
            with telling(self.subject):
                try:
                    self._client.put_object(**self._key(name), Body=data, IfNoneMatch="*")
                except ClientError as error:
                    if code_of(error) not in UNKNOWN:
                        raise
                    self._client.put_object(**self._key(name), Body=data)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if self.read(name) == data:  # it was this one: an answer was lost, and it was tried again
                    return
            raise

    def _has(self, name: str, file: BinaryIO, size: int) -> bool:
        with telling(self.subject):
            try:
                found = self._client.head_object(**self._key(name))
            except ClientError as error:
                if code_of(error) in ("404", "NoSuchKey"):
                    return False
                raise
        if found.get("ContentLength") != size:
            return False
        # An ETag is an MD5 in most stores, of parts in some form; where it is another, only the object itself tells.
        return str(found.get("ETag", "")).strip('"') in _tags(file) or self._same(name, file, size)

    def _same(self, name: str, file: BinaryIO, size: int) -> bool:
        file.seek(0)
        for offset in range(0, size, PART):
            ours = file.read(PART)
            if self._get(name, f"bytes={offset}-{offset + len(ours) - 1}", (len(ours), len(ours))) != ours:
                return False
        return True


class BucketDraft:
    """An object that is not there yet: a file of this host."""

    def __init__(self, bucket: Bucket, name: str, file: BinaryIO) -> None:
        self.file = file
        self._bucket = bucket
        self._name = name

    def publish(self) -> None:
        """Send it."""
        try:
            with telling_of_host("the temporary folder"):
                self.file.flush()
            self._bucket.publish(self._name, self.file)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Close it: it is gone then."""
        with contextlib.suppress(OSError):
            self.file.close()


class _Unclosed:
    """A file that whoever is given it cannot close."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _transfer(client: Any, file: Any, key: dict[str, str], config: Any) -> None:
    client.upload_fileobj(file, Config=config, **key)


def _tags(file: BinaryIO) -> tuple[str, str]:
    """The ETags that an object of this content has: sent whole, and in parts (S3 API, "checking object integrity")."""
    file.seek(0)
    whole, parts = hashlib.md5(usedforsecurity=False), []
    while piece := file.read(PART):
        whole.update(piece)
        parts.append(hashlib.md5(piece, usedforsecurity=False).digest())
    return whole.hexdigest(), f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _time_of(answer: Any) -> float:
    """The time of an answer by the store's clock; by this host's where it does not say."""
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(told).timestamp()
    except (ValueError, TypeError):
        return time.time()
