"""`python -m ganzoo_core`, the same as `ganzoo`."""

import sys

from ganzoo_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
