"""Mistakes as data: what a user types, the files that it meets, and what must come of it."""
