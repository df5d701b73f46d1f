"""A store that speaks S3, and the relay that is before it."""

from support.s3_fixtures import s3, s3_server

__all__ = ["s3", "s3_server"]
