"""`python -m hfkit` is `hfkit`."""

import sys

from hfkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
