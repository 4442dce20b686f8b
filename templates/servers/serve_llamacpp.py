#!/usr/bin/env python3
"""Start llama.cpp's own HTTP server (OpenAI API) from the wheel ``xllamacpp``.

    LLAMA_API_KEY=... python serve_llamacpp.py --model FILE.gguf --port 8000 --alias NAME

The API key comes from the environment and never from the command line, which other users can see.
Exit status: 0 after SIGTERM or SIGINT, 1 when the server cannot start, 2 for a wrong call.  While
the model is still being loaded, such a signal ends the process at once, by that signal.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn


def fail(message: str, status: int = 1) -> NoReturn:
    """Say why and end at once, whatever threads llama.cpp may have."""
    print(f"serve_llamacpp: {message}", file=sys.stderr, flush=True)
    os._exit(status)


def on_stop_signal(action: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)  # type: ignore[arg-type]


def check_address(host: str, port: int) -> None:
    """llama.cpp would only say that it cannot start; say what is wrong with the address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            fail(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a GGUF model with llama.cpp.")
    parser.add_argument("--model", required=True, type=Path, help="GGUF file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--alias", action="append", help="model name (may be repeated)")
    parser.add_argument("--context-length", type=int, default=0, help="per request; 0: the model's")
    parser.add_argument("--parallel", type=int, default=2, help="requests at the same time")
    parser.add_argument("--threads", type=int, default=0, help="0: all CPUs of this process")
    parser.add_argument("--gpu-layers", type=int, default=-1, help="-1: as many as fit")
    args = parser.parse_args()

    key = os.environ.pop("LLAMA_API_KEY", "").strip()
    if not key:
        fail("the environment variable LLAMA_API_KEY is not set", 2)
    if not args.model.is_file():
        fail(f"no such model file: {args.model}")
    try:
        import xllamacpp
    except ImportError as error:
        fail(f"cannot import xllamacpp ({error}); install it with: pip install xllamacpp")
    check_address(args.host, args.port)

    params = xllamacpp.CommonParams()
    params.model.path = str(args.model)
    params.hostnames = [args.host]
    params.port = args.port
    params.api_keys = [key]
    params.model_alias = set(args.alias or [args.model.stem])
    params.n_ctx = args.context_length * args.parallel  # llama.cpp shares it among the requests
    params.n_parallel = args.parallel
    params.cpuparams.n_threads = args.threads or len(os.sched_getaffinity(0))
    params.n_gpu_layers = args.gpu_layers
    params.ui = False
    on_stop_signal(signal.SIG_DFL)  # while it loads, no Python handler could run
    try:
        server = xllamacpp.Server(params)
    except Exception as error:
        fail(f"llama.cpp did not start with {args.model}: {error}")
    on_stop_signal(lambda *_: os._exit(0))
    print(f"serve_llamacpp: listening on {server.listening_address}", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
