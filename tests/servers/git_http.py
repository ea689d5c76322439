#!/usr/bin/env python3
"""git's own http-backend behind a small web server on loopback.

    from servers.git_http import GitHttp
    with GitHttp(folder_of_bare_repositories) as server: server.url + "/name.git"

version2=False hides the client's protocol version, as an old server does; tls=(certificate, key) speaks TLS. While it runs:
cut=N ends the next upload-pack answer of more than N bytes after N bytes, stall=N falls silent there; hang="/info/refs" gives
requests for paths with this end no answer; busy=N answers the next N with 503; status=503 answers all so, refuse={"/info/refs": 401} to such paths only; token=T
wants the authorization that checkout makes of T; lfs (servers/lfs.py) answers for contents of Git LFS; page=b"..." is what info/refs gives instead. requests lists what was asked;
an absolute URI in the request line (what a proxy gets) is served like any other and counted in proxied."""
import base64
import http.server
import os
import ssl
import subprocess
import threading
import urllib.parse


class GitHttp:
    def __init__(self, folder, version2=True, tls=None, lfs=None):
        self.folder, self.version2, self.requests, self.proxied = folder, version2, [], 0
        self.cut = self.stall = self.status = self.hang = self.token = self.page = None
        self.busy = 0
        self.refuse = {}
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1   # head and body in one piece: else the second waits for the first to be acknowledged

            def plain(self, status, body=b"", kind="text/plain"):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.path.startswith("http://"):
                    outer.proxied += 1
                    whole = urllib.parse.urlsplit(self.path)
                    self.path = whole.path + ("?" + whole.query if whole.query else "")
                path, _, query = self.path.partition("?")
                authorization = self.headers.get("Authorization")
                outer.requests.append((self.command, path, authorization))
                if outer.hang and path.endswith(outer.hang):
                    outer.released.wait(60)
                    self.close_connection = True
                    return
                if outer.busy > 0:
                    outer.busy -= 1
                    return self.plain(503)
                for end, status in outer.refuse.items():
                    if path.endswith(end):
                        return self.plain(status, b"refused here\n")
                if outer.status:
                    return self.plain(outer.status)
                if outer.token and authorization != "Basic " + base64.b64encode(b"x-access-token:" + outer.token.encode()).decode():
                    return self.plain(401)
                if lfs and lfs.takes(path):
                    return lfs.answer(self, path, body)
                if outer.page is not None and path.endswith("/info/refs"):
                    return self.plain(200, outer.page, "text/html; charset=utf-8")
                self.backend(path, query, body)

            def backend(self, path, query, body):
                env = dict(os.environ, GIT_PROJECT_ROOT=outer.folder, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                           QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=str(len(body)), REMOTE_ADDR="127.0.0.1",
                           CONTENT_TYPE=self.headers.get("Content-Type", ""),
                           GIT_PROTOCOL=self.headers.get("Git-Protocol", "") if outer.version2 else "")
                if self.headers.get("Content-Encoding"):
                    env["HTTP_CONTENT_ENCODING"] = self.headers["Content-Encoding"]
                done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=env, check=False)
                head, _, rest = done.stdout.partition(b"\r\n\r\n")
                status, headers = 200, []
                for line in head.decode().split("\r\n"):
                    name, _, value = line.partition(": ")
                    if name == "Status":
                        status = int(value[:3])
                    elif name:
                        headers.append((name, value))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                if path.endswith("/git-upload-pack"):
                    if outer.cut is not None and len(rest) > outer.cut:
                        rest, outer.cut = rest[:outer.cut], None
                        self.close_connection = True
                    elif outer.stall is not None and len(rest) > outer.stall:
                        self.wfile.write(rest[:outer.stall])
                        self.wfile.flush()
                        outer.released.wait(60)
                        rest, self.close_connection = b"", True
                self.wfile.write(rest)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *unused: None   # a client that was killed is no news
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
