"""Queues served by compiled code, on a thread that needs no interpreter for it. What is not plain it leaves to the devices' own code."""
