"""`python -m autorec_kernel.cli` is `autorec`."""

from __future__ import annotations

import sys

from autorec_kernel.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
