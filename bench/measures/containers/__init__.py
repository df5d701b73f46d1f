"""What is measured of container engines: each file one kind of measurement, for any number of engines in turn."""
