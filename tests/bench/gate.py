"""A health gate of ten checks of which the slowest takes a second, against that second: with a change before it, so that the baseline is
asked too, and with nothing to change."""
import http.server
import json
import os
import threading
import time

CHECKS = 10
SLOWEST_S = 1.0


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4 * CHECKS     # all of them connect at once


class Handler(http.server.BaseHTTPRequestHandler):
    """/3 answers after 3/9 of the slowest one's time."""

    def do_GET(self):
        time.sleep(SLOWEST_S * int(self.path[1:]) / (CHECKS - 1))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def deployment(place, name, step, port):
    file = os.path.join(place, name + ".json")
    checks = [{"http": f"http://127.0.0.1:{port}/{i}", "timeout": "10s"} for i in range(CHECKS)]
    with open(file, "w", encoding="ascii") as f:
        json.dump({"name": name, "environment": "test", "targets": {"here": {"local": {}, "base": os.path.join(place, "base")}},
                   "steps": [step, {"health-gate": {"checks": checks, "deadline": "30s"}}]}, f)
    os.chmod(file, 0o600)
    return file


def rows(b):
    place = b.folder("gate")
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    deploy = ["env", f"DAVIT_STATE={os.path.join(place, 'state')}", b.program("bin/davit"), "deploy"]
    changing = deployment(place, "changing", {"run": {"command": ["true"], "undo": "none"}}, server.server_port)
    still = deployment(place, "still", {"apply": {"resources": [{"directory": {"path": os.path.join(place, "there")}}]}}, server.server_port)
    try:
        for case, file in (("a change before it", changing), ("nothing to change", still)):
            b.compare(f"gate of {CHECKS} checks, {case}", deploy + [file], {"its slowest check": (lambda: time.sleep(SLOWEST_S), 1.2, 1.05)})
    finally:
        server.shutdown()
