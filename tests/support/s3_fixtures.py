"""A store, its bucket, and the relay that is before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from gasang.storage.backup.s3 import bucket as buckets
from support.s3_server import ENVIRONMENT, Relay, real_server, relay


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with real_server() as url:
        yield url


class Sessions:
    """boto3's, whose clients are made once: that takes longer than most that is asked of them."""

    made: dict[str, Any]

    def __init__(self) -> None:
        self.made = {}

    def __call__(self) -> Sessions:
        return self

    def client(self, service: str, config: Any) -> Any:
        key = repr((buckets.CONFIG, sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))))
        if key not in self.made:
            self.made[key] = boto3.session.Session().client(service, config=config)
            self.made[key].really_close, self.made[key].close = self.made[key].close, lambda: None
        return self.made[key]

    def close(self) -> None:
        for each in self.made.values():
            each.really_close()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The relay; the environment leads to it, and its bucket "mine" is new."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(buckets.CONFIG, "retries", {"mode": "standard", "total_max_attempts": 2})
    sessions = Sessions()
    monkeypatch.setattr(buckets, "Session", sessions)
    with relay(s3_server) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
        client = boto3.session.Session().client("s3")
        for each in client.list_buckets()["Buckets"]:
            for kept in client.list_objects_v2(Bucket=each["Name"]).get("Contents") or ():
                client.delete_object(Bucket=each["Name"], Key=kept["Key"])
            for left in client.list_multipart_uploads(Bucket=each["Name"]).get("Uploads") or ():
                client.abort_multipart_upload(Bucket=each["Name"], Key=left["Key"], UploadId=left["UploadId"])
            client.delete_bucket(Bucket=each["Name"])
        client.create_bucket(Bucket="mine")
        client.close()
        made.seen.clear()
        yield made
    sessions.close()
