"""A bucket that behaves as one is told to, for what no real service does when it is asked to. It checks no signature: Ceph's gateway (s3.py) does.

`conditions`: how If-None-Match and If-Match of a PUT are taken: "honoured", "bare" (If-Match compares without quotes, as Ceph's gateway 16 does), "ignored"
or "refused" (501, as services answered that have none). `faults`: what becomes of the next writes of a key that ends with `faulty`, one each: "500 before",
"500 after" it is stored, "cut after" (no reply), "409" (not stored), "412" (not stored), "slow" (half a second late). `read_only`: each PUT is 403.
"""
import hashlib
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BareS3:
    def __init__(self, conditions="honoured", faulty="state.json"):
        self.objects, self.faults, self.conditions, self.faulty, self.puts, self.read_only = {}, [], conditions, faulty, [], False
        self.mutex = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def serve(self):
                given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer.mutex:
                    status, body, headers = outer.answer(self.command, self.path, self.headers, given)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = serve

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @staticmethod
    def etag(data):
        return f'"{hashlib.md5(data).hexdigest()}"'

    @staticmethod
    def error(status, code):
        return status, f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode(), {}

    def answer(self, method, path, headers, given):
        split = urllib.parse.urlsplit(path)
        key = urllib.parse.unquote(split.path)
        if "list-type" in split.query:
            prefix = split.path + urllib.parse.parse_qs(split.query).get("prefix", [""])[0]
            found = "".join(f"<Contents><Key>{name[len(split.path):]}</Key></Contents>" for name in sorted(self.objects) if name.startswith(prefix))
            return 200, f"<ListBucketResult>{found}<IsTruncated>false</IsTruncated></ListBucketResult>".encode(), {}
        return getattr(self, f"on_{method.lower()}")(key, headers, given)

    def on_get(self, key, _headers, _given):
        if key not in self.objects:
            return self.error(404, "NoSuchKey")
        return 200, self.objects[key], {"ETag": self.etag(self.objects[key])}

    def on_delete(self, key, _headers, _given):
        self.objects.pop(key, None)
        return 204, b"", {}

    def fits(self, key, headers):
        none, match = headers.get("If-None-Match"), headers.get("If-Match")
        there = self.etag(self.objects[key]) if key in self.objects else None
        if none and there:
            return False
        return not match or there is not None and match == (there.strip('"') if self.conditions == "bare" else there)

    def on_put(self, key, headers, given):
        conditional = headers.get("If-None-Match") or headers.get("If-Match")
        self.puts.append(key)
        if self.read_only:
            return self.error(403, "AccessDenied")
        if conditional and self.conditions == "refused":
            return self.error(501, "NotImplemented")
        if conditional and self.conditions != "ignored" and not self.fits(key, headers):
            return self.error(412, "PreconditionFailed")
        fault = self.faults.pop(0) if self.faults and key.endswith(self.faulty) else ""
        if fault in ("409", "412", "500 before"):
            return self.error(int(fault[:3]), "AsTold")
        if fault == "slow":
            time.sleep(0.5)
        self.objects[key] = given
        if fault == "cut after":
            return 0, b"", {}
        return self.error(500, "InternalError") if fault == "500 after" else (200, b"", {"ETag": self.etag(given)})

    def target(self, **more):
        return {"s3": {"url": self.url, "bucket": "bare", "access_key": "AK", "secret_key": "SK", **more}}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
