#!/usr/bin/env python3
"""A real server behind a door that can be told to do wrong, for faults that it would not have.

    faulty_server.py COMMAND... --port PORT ...

Runs the command with another port, and passes on to it what is asked at PORT. HPCJOBS_TEST_FAULTS
is a JSON object: `delay` (seconds before each answer), `error_every` (HTTP 500 for each Nth
question; 1: for all), `error_from` (HTTP 500 from the Nth on), `die_after` (questions; then it is
gone), `rename` (it serves under another name than it says).
"""

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = json.loads(os.environ.get("HPCJOBS_TEST_FAULTS", "{}"))
QUESTIONS = itertools.count(1)


class Door(BaseHTTPRequestHandler):
    """Passes on one request after the other."""

    behind = 0

    def do_GET(self) -> None:
        self.pass_on(self.body())

    def do_POST(self) -> None:
        body = self.body()
        if body == b"{}":  # no question: the job tries a wrong key
            self.pass_on(body)
            return
        number = next(QUESTIONS)
        if number > FAULTS.get("die_after", number):
            os._exit(1)
        time.sleep(FAULTS.get("delay", 0))
        lost = number % FAULTS.get("error_every", number + 1) == 0
        if lost or number >= FAULTS.get("error_from", number + 1):
            self.answer(500, b'{"error": {"message": "injected", "code": 500}}')
        elif FAULTS.get("rename"):
            self.answer(404, b'{"error": {"message": "The model does not exist.", "code": 404}}')
        else:
            self.pass_on(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def pass_on(self, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.behind)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self.answer(answer.status, answer.read())
        except OSError:
            self.answer(503, b"{}")
        finally:
            connection.close()

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    command = sys.argv[1:]
    place = command.index("--port") + 1
    port = int(command[place])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        Door.behind = free.getsockname()[1]
    command[place] = str(Door.behind)
    server = subprocess.Popen(command)
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Door).serve_forever()
    server.wait()


if __name__ == "__main__":
    main()
