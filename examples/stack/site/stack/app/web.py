"""The shop's web service: says how many orders there are. It ends its requests before it stops."""
import http.server
import os
import signal
import threading

import database

VERSION = os.environ["VERSION"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        (orders, packed), = database.ask("SELECT count(*), count(*) FILTER (WHERE packed) FROM orders")
        body = f"shop {VERSION}: {orders} orders, {packed} packed\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64


def main():
    server = Server(("0.0.0.0", 8000), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


main()
