#!/usr/bin/env python3
"""An HTTP server whose answers are chosen by the path; prints its port as JSON and ends when its standard input does.

/echo                 what came, as JSON: method, path, headers, body
/fail/N/KEY           503 N times, then 200; with ?after=S a Retry-After of S seconds
/status/CODE          that status
/big/N                N bytes, without a length with ?chunked
/hang                 no answer
/together/N           answers once N such requests wait, with the number of connections so far
/stall/N              N bytes of 2N, then silence
/drip                 a byte each 20 ms, for good
/cut/N                N bytes of 2N, then the connection is closed
/close                closes without an answer
/close-once/KEY       the same the first time, then 200
/redirect?to=URL      302 (or ?code=)
/loop                 302 to itself
/slow/MS              200 after so many milliseconds
/received/KEY         what came to /PATH/KEY… so far, as a JSON list: method, path, headers, body; only of POSTs
An absolute URI in the request line (what a proxy gets) is answered with "proxied URI".
"""
import http.server
import json
import sys
import threading
import urllib.parse

counts = {}
received = []
lock = threading.Lock()
stop = threading.Event()
together, connections = {}, 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.path.startswith("http://"):
            return self.answer(200, b"proxied " + self.path.encode())
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        word, *rest = url.path.strip("/").split("/")
        if self.command == "POST":
            with lock:
                received.append({"method": self.command, "path": self.path, "headers": dict(self.headers.items()),
                                 "body": body.decode("latin-1")})
        if word == "received":
            with lock:
                of = [r for r in received if rest[0] in urllib.parse.urlsplit(r["path"]).path.split("/")]
            return self.answer(200, json.dumps(of).encode(), [("Content-Type", "application/json")])
        if word == "slow":
            stop.wait(int(rest[0]) / 1000)
            return self.answer(200, b"slow")
        if word == "echo":
            text = json.dumps({"method": self.command, "path": self.path, "headers": dict(self.headers.items()),
                               "body": body.decode("latin-1")})
            return self.answer(200, text.encode(), [("Content-Type", "application/json"), ("X-Case", "Kept")])
        if word == "fail":
            with lock:
                counts[rest[1]] = counts.get(rest[1], 0) + 1
                seen = counts[rest[1]]
            if seen <= int(rest[0]):
                return self.answer(503, b"busy", [("Retry-After", query["after"])] if "after" in query else [])
            return self.answer(200, b"try %d with %d bytes" % (seen, len(body)))
        if word == "status":
            return self.answer(int(rest[0]), b"status")
        if word == "redirect":
            return self.answer(int(query.get("code", "302")), b"moved", [("Location", query["to"])])
        if word == "loop":
            return self.answer(302, b"moved", [("Location", "/loop")])
        if word == "big":
            total = int(rest[0])
            self.send_response(200)
            if "chunked" in query:
                self.send_header("Connection", "close")
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(total))
            self.end_headers()
            while total > 0:
                self.wfile.write(b"x" * min(total, 65536))
                total -= min(total, 65536)
            return None
        if word in ("stall", "cut"):
            self.send_response(200)
            self.send_header("Content-Length", str(2 * int(rest[0])))
            self.end_headers()
            self.wfile.write(b"x" * int(rest[0]))
            self.wfile.flush()
            if word == "stall":
                stop.wait()
            self.close_connection = True
            return None
        if word == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not stop.wait(0.02):
                try:
                    self.wfile.write(b"x")
                except OSError:
                    break
            self.close_connection = True
            return None
        if word == "together":
            with lock:
                barrier = together.setdefault(int(rest[0]), threading.Barrier(int(rest[0])))
            barrier.wait(60)
            return self.answer(200, b"%d" % connections)
        if word == "close-once":
            with lock:
                counts[rest[0]] = counts.get(rest[0], 0) + 1
                seen = counts[rest[0]]
            if seen > 1:
                return self.answer(200, b"again")
            self.close_connection = True
            return None
        if word == "hang":
            stop.wait()
            return None
        self.close_connection = True
        return None

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def process_request(self, *arguments):
        global connections
        connections += 1
        super().process_request(*arguments)

    def handle_error(self, *_args):
        pass


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_address[1]}), flush=True)
sys.stdin.read()
stop.set()
