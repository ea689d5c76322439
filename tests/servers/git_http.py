#!/usr/bin/env python3
"""git's own http-backend behind a small web server on loopback.

    from servers.git_http import GitHttp
    with GitHttp(folder_of_bare_repositories) as server: server.url + "/name.git"

version2=False hides the client's protocol version, as an old server does; cut=N ends the next upload-pack answer after N
bytes; status=503 answers that."""
import http.server
import os
import subprocess
import threading


class GitHttp:
    def __init__(self, folder, version2=True):
        self.folder, self.version2, self.cut, self.status, self.requests = folder, version2, None, None, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                path, _, query = self.path.partition("?")
                outer.requests.append((self.command, path, self.headers.get("Authorization")))
                if outer.status:
                    self.send_response(outer.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                env = dict(os.environ, GIT_PROJECT_ROOT=outer.folder, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                           QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=str(length), REMOTE_ADDR="127.0.0.1",
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
                if outer.cut is not None and path.endswith("/git-upload-pack"):
                    rest, outer.cut = rest[:outer.cut], None
                    self.close_connection = True
                self.wfile.write(rest)

            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *unused: None   # a client that was killed is no news
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.server.server_close()
