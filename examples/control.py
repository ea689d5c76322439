"""How an example looks at the stand-ins that it has started."""
import http.server
import json
import os
import signal
import sys


def serve(facts, said, look, act=None):
    """Until this process is ended: GET /look answers with what look() gives; before that, act() has the words of any other path. facts: the file that holds
    what is said, and where this is (`control`)."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            words = self.path.strip("/").split("/")
            if words != ["look"]:
                act(*words)
            body = json.dumps(look()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    # Whoever ends it, what it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with open(os.open(facts + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as f:
        json.dump({**said, "control": f"http://127.0.0.1:{control.server_port}"}, f)
    os.rename(facts + ".new", facts)
    try:
        control.serve_forever()
    except KeyboardInterrupt:
        pass
