"""Backups in a bucket that is spoken to in S3: Amazon's, MinIO, Ceph, Garage and others. Only what is under its prefix is touched."""
