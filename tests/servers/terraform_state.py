"""A state store that speaks terraform's http protocol, and holds each side to it.

LOCK gives the lock to one and answers 423 with the holder's own words to any other. UNLOCK frees it by the id of the holder; terraform's
`force-unlock` sends none, which frees it too and is noted in `forced`. A write is taken from the holder of the lock only (`?ID=…`), with a
Content-MD5 that fits, never with an older serial or another lineage. What breaks the protocol is noted in `broken` and answered 400.
`password`: Basic authentication is asked for. `fail_writes`: how many writes from now on answer 500. `faults`: what becomes of the next
writes, one each: "500 before" and "500 after" it is stored, "cut after" (no reply at all), "other" (somebody else's document is there instead),
"away" (as below, from then on), "kill after" (`on_kill` is called once it is stored, and no reply comes). `away`: nothing is answered from now on. `many`: each path has a state and a lock of its own.
"""
import base64
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StateServer:
    def __init__(self, password=None, many=False):
        self.state, self.lock, self.forced, self.broken, self.locks, self.writes = None, None, [], [], [], 0
        self.fail_writes, self.password = 0, password
        self.faults, self.away, self.on_kill, self.holder, self.other = [], False, None, None, None
        self.mutex = threading.Lock()
        self.places = {}
        outer, places = self, self.places

        class Handler(BaseHTTPRequestHandler):
            def body(self):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def reply(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def serve(self):
                given = self.body()
                with outer.mutex:
                    if outer.password and self.headers.get("Authorization") != "Basic " + base64.b64encode(f"davit:{outer.password}".encode()).decode():
                        return self.reply(401)
                    if outer.away:
                        self.close_connection = True
                        return None
                    path = urllib.parse.urlsplit(self.path).path
                    if many:
                        outer.state, outer.lock = places.get(path, (None, None))
                    status, *body = getattr(outer, f"on_{self.command.lower()}")(self, given)
                    places[path] = outer.state, outer.lock
                    if status == 0:
                        self.close_connection = True
                        return None
                    return self.reply(status, *body)

            do_GET = do_POST = do_DELETE = do_LOCK = do_UNLOCK = serve

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/state"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def breaks(self, why):
        self.broken.append(why)
        return 400, why.encode()

    def on_get(self, _request, _given):
        return (200, self.state) if self.state is not None else (404, b"")

    def on_lock(self, _request, given):
        info = json.loads(given)
        self.locks.append((info["Operation"], info["ID"]))
        if self.holder is not None:
            return 423, self.holder
        if self.lock is not None:
            return 423, json.dumps(self.lock).encode()
        self.lock = info
        return 200, b""

    def on_unlock(self, _request, given):
        if self.lock is None:
            return self.breaks("an unlock of what is not locked")
        if not given:
            self.forced.append(self.lock["ID"])
        elif json.loads(given)["ID"] != self.lock["ID"]:
            return self.breaks("an unlock of somebody else's lock")
        self.lock = None
        return 200, b""

    def on_post(self, request, given):
        holder = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query).get("ID", [None])[0]
        if self.lock is None or holder != self.lock["ID"]:
            return self.breaks(f"a write by {holder}, while the lock is {self.lock and self.lock['ID']}")
        if base64.b64decode(request.headers.get("Content-MD5", "")) != hashlib.md5(given).digest():
            return self.breaks("a write whose Content-MD5 does not fit")
        if self.fail_writes > 0:
            self.fail_writes -= 1
            return 500, b"no"
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "500 before":
            return 500, b"no"
        if fault == "away":
            self.away = True
            return (0,)
        if fault == "other":
            self.state = self.other
            return 500, b"no"
        new, old = json.loads(given), self.parsed()
        if old and (new["lineage"] != old["lineage"] or new["serial"] < old["serial"]):
            return self.breaks("a write of an older state, or of another one")
        self.state, self.writes = given, self.writes + 1
        if fault == "kill after":
            self.on_kill()
        if fault in ("cut after", "kill after"):
            return (0,)
        return (500, b"no") if fault == "500 after" else (200, b"")

    def parsed(self):
        """What is there, as far as it is JSON."""
        try:
            return json.loads(self.state or b"{}")
        except ValueError:
            return {}

    def on_delete(self, _request, _given):
        return self.breaks("nothing deletes a state")

    def resources(self):
        return sorted(f"{r['type']}.{r['name']}" for r in json.loads(self.state or b"{}").get("resources", []))

    def all_resources(self):
        """With `many`: path → the resources of its state."""
        with self.mutex:
            states = {path: json.loads(state) for path, (state, _) in self.places.items() if state}
        return {path: sorted(f"{r['type']}.{r['name']}" for r in state["resources"]) for path, state in states.items()}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
