#!/usr/bin/env python3
"""Run ``lmdeploy serve api_server`` with a key that other users cannot see.

    SERVER_KEY=... python3 serve_lmdeploy.py WEIGHTS --model-name NAME ...

LMDeploy takes its key only as an argument. Here it becomes one inside the process, where ``ps``
does not show it.
"""

import os
import sys

if __name__ == "__main__":
    key = os.environ.pop("SERVER_KEY", "")
    if not key:
        sys.exit("serve_lmdeploy: the environment variable SERVER_KEY is not set")
    sys.argv = ["lmdeploy", "serve", "api_server", *sys.argv[1:], "--api-keys", key]
    from lmdeploy.cli import run

    run()
