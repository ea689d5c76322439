"""A health gate of ten checks of which the slowest takes a second, against that second: with a change before it, so that the baseline is
asked too, and with nothing to change; and one of two hundred."""
import http.server
import json
import os
import threading
import time

CHECKS = 10
MANY = 200
SLOWEST_S = 1.0


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 4 * MANY       # all of them connect at once


class Handler(http.server.BaseHTTPRequestHandler):
    """/3/9 answers after 3/9 of the slowest one's time."""

    def do_GET(self):
        number, last = self.path[1:].split("/")
        time.sleep(SLOWEST_S * int(number) / int(last))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def deployment(place, name, step, port, count=CHECKS):
    file = os.path.join(place, name + ".json")
    checks = [{"http": f"http://127.0.0.1:{port}/{i}/{count - 1}", "timeout": "10s"} for i in range(count)]
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
    unchanged = {"apply": {"resources": [{"directory": {"path": os.path.join(place, "there")}}]}}
    still = deployment(place, "still", unchanged, server.server_port)
    many = deployment(place, "many", unchanged, server.server_port, MANY)
    try:
        for case, file in ((f"{CHECKS} checks, a change before it", changing), (f"{CHECKS} checks, nothing to change", still), (f"{MANY} checks", many)):
            b.compare(f"gate of {case}", deploy + [file], {"its slowest check": (lambda: time.sleep(SLOWEST_S), 1.2, 1.05)})
    finally:
        server.shutdown()
