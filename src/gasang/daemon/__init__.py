"""Supervises machines: their records, their lives, what watches them. It never parses what a guest says."""
