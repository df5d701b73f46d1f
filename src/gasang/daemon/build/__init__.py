"""Images from Dockerfiles: the classic builder."""
