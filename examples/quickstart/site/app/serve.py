#!/usr/bin/env python3
"""serve.py PORT SETTINGS: the shop, a web service that serves the release and the settings it was started with."""
import configparser
import http.server
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "VERSION"), encoding="utf-8") as f:
    VERSION = f.read().strip()
SETTINGS = configparser.ConfigParser()
SETTINGS.read(sys.argv[2])
CURRENCY = SETTINGS["shop"]["currency"]


def answer():
    if os.path.exists(os.path.join(HERE, "BROKEN")):
        return 500, f"shop {VERSION} cannot reach its database\n"
    if CURRENCY not in ("EUR", "SEK"):
        return 500, f"shop {VERSION} does not know the currency {CURRENCY}\n"
    return 200, f"shop {VERSION} is open, prices in {CURRENCY}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = answer()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
