"""Which process of how many, on which device; started here or by a launcher, watched while it works."""
