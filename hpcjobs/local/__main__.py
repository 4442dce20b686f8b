"""`python -m hpcjobs.local`."""

import signal
import sys

from hpcjobs.local.cli import main

if __name__ == "__main__":
    # hpcjobs.commands blocks SIGINT. The jobs that start from here must have it: a Ctrl-C that came
    # before our session was our own is forgotten, later ones count.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sys.exit(main())
