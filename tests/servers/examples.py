#!/usr/bin/env python3
"""What the examples of the steps' schemas speak to: a web server with a health page and as much of GitHub's REST as notify needs, and a
git server with the repository example/shop. Prints their addresses as one JSON object; ends when its input closes."""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers.git_http import GitHttp  # noqa: E402


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/repos/"):   # a page that is asked, in whatever way
            status, body = 200, {"state": "up"}
        elif self.command == "GET":
            status, body = 200, []
        else:
            status, body = (201, {"id": 1}) if json.loads(given or b"{}") else (422, {"message": "something is missing"})
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *args):
        pass


def make_repository(folder):
    bare = os.path.join(folder, "example", "shop.git")
    work = os.path.join(folder, "work")

    def git(*words):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@shop.example", "-C", work, *words], check=True,
                       stdout=subprocess.DEVNULL)
    os.makedirs(work)
    git("init", "--quiet", "--initial-branch=main")
    with open(os.path.join(work, "README"), "w", encoding="ascii") as f:
        f.write("a shop\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "The shop.")
    subprocess.run(["git", "clone", "--quiet", "--bare", work, bare], check=True)
    os.symlink("shop.git", os.path.join(folder, "example", "shop"))


def main():
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="davit-examples-") as folder:
        make_repository(folder)
        with GitHttp(folder) as git:
            print(json.dumps({"web": f"http://127.0.0.1:{web.server_address[1]}", "git": git.url}), flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main()
