"""`python -m hpcjobs.local`."""

import sys

from hpcjobs.local.cli import main

if __name__ == "__main__":
    sys.exit(main())
