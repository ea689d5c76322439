#!/usr/bin/env python3
"""A server of Git LFS contents (Batch API, basic transfers), which looks at every request as its documents have it; wrong lists what was not so.

    lfs = Lfs()
    with GitHttp(folder, lfs=lfs) as server: ...    below the repositories' own addresses, as GitHub has it
    with lfs.alone() as other: other.url            a server of its own, for .lfsconfig and for contents on another host

contents: OID → bytes. href_base: where downloads are (None: the host that was asked). Faults by OID: errors (code of the batch), statuses (list, one a download),
instead (other bytes), cut (bytes after which the connection ends, once). requests: (method, path, Authorization, headers)."""
import contextlib
import hashlib
import http.server
import json
import re
import secrets
import threading

MEDIA = "application/vnd.git-lfs+json"


class Lfs:
    def __init__(self):
        self.contents, self.wrong, self.requests, self.batches = {}, [], [], []
        self.errors, self.statuses, self.instead, self.cut = {}, {}, {}, {}
        self.href_base, self.token, self.batch_status, self.text, self.href = None, None, None, None, None
        self.ticket = secrets.token_hex(8)

    def put(self, content):
        oid = hashlib.sha256(content).hexdigest()
        self.contents[oid] = content
        return oid

    def takes(self, path):
        return "/info/lfs/" in path or path.startswith("/lfs-contents/")

    def check(self, good, what):
        if not good:
            self.wrong.append(what)

    def answer(self, handler, path, body):
        authorization = handler.headers.get("Authorization")
        self.requests.append((handler.command, path, authorization, dict(handler.headers)))
        if path.endswith("/objects/batch") and handler.command == "POST":
            return self.batch(handler, body, authorization)
        if path.startswith("/lfs-contents/"):
            return self.content(handler, path.rsplit("/", 1)[1], body)
        return self.say(handler, 404, {"message": "not here"})

    @staticmethod
    def say(handler, status, value, kind=MEDIA):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def batch(self, handler, body, authorization):
        if self.token and authorization != self.token:
            return self.say(handler, 401, {"message": "who are you"})
        if self.batch_status:
            return self.say(handler, self.batch_status, {"message": "not now"})
        self.check(handler.headers.get("Accept") == MEDIA, "Accept")
        self.check((handler.headers.get("Content-Type") or "").split(";")[0] == MEDIA, "Content-Type")
        asked = json.loads(body)
        self.check(set(asked) <= {"operation", "transfers", "ref", "objects", "hash_algo"}, f"members {sorted(asked)}")
        self.check(asked["operation"] in ("download", "upload"), "operation")
        self.check("basic" in asked.get("transfers", ["basic"]), "transfers")
        self.check(asked.get("hash_algo", "sha256") == "sha256", "hash_algo")
        self.check(0 < len(asked["objects"]) <= 100, f"{len(asked['objects'])} objects")
        self.check(len({o["oid"] for o in asked["objects"]}) == len(asked["objects"]), "an object twice")
        for o in asked["objects"]:
            self.check(set(o) == {"oid", "size"} and re.fullmatch("[0-9a-f]{64}", o["oid"]) and isinstance(o["size"], int) and o["size"] >= 0, f"object {o}")
        self.batches.append(len(asked["objects"]))
        if self.text is not None:
            return self.say(handler, 200, self.text)
        base = self.href_base or f"http://{handler.headers['Host']}"
        answer = {"transfer": "basic", "objects": [self.object(o, asked["operation"], base) for o in asked["objects"]]}
        return self.say(handler, 200, answer)

    def object(self, asked, operation, base):
        oid, own = asked["oid"], {"oid": asked["oid"], "size": asked["size"]}
        code = self.errors.get(oid) or (404 if operation == "download" and oid not in self.contents and oid not in self.instead else None)
        if code:
            return {**own, "error": {"code": code, "message": "Object does not exist" if code == 404 else "no"}}
        if operation == "upload" and oid in self.contents:
            return own
        header = {"X-Ticket": self.ticket}
        return {**own, "authenticated": True, "actions": {operation: {"href": self.href or f"{base}/lfs-contents/{oid}", "header": header, "expires_in": 600}}}

    def content(self, handler, oid, body):
        self.check(handler.headers.get("X-Ticket") == self.ticket, "the header of the action")
        if handler.command == "PUT":
            self.check(hashlib.sha256(body).hexdigest() == oid, "what was uploaded")
            self.contents[oid] = body
            return self.say(handler, 200, b"")
        if self.statuses.get(oid):
            return self.say(handler, self.statuses[oid].pop(0), {"message": "no"})
        body = self.instead.get(oid, self.contents.get(oid))
        if body is None:
            return self.say(handler, 404, {"message": "none"})
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        cut = self.cut.pop(oid, None)
        handler.wfile.write(body[:cut])
        handler.close_connection = cut is not None

    @contextlib.contextmanager
    def alone(self):
        lfs = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1   # head and body in one piece: else the second waits for the first to be acknowledged

            def any(self):
                lfs.answer(self, self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_GET = do_POST = do_PUT = any

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *unused: None
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
            server.server_close()
