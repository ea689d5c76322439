"""A receiver of webhooks: http_server.py as a process, which remembers what came, and the proof of a signature."""
import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import urllib.request

SECRET = "the key of the shop"


@contextlib.contextmanager
def running():
    """The server's URL; http_server.py says what its paths answer."""
    server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "http_server.py")
    process = subprocess.Popen([sys.executable, server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.communicate("")


def received(url, key):
    with urllib.request.urlopen(f"{url}/received/{key}", timeout=10) as answer:
        return json.load(answer)


def proven(request, secret=SECRET):
    """The body, once both signatures are what they say."""
    headers, body = {k.lower(): v for k, v in request["headers"].items()}, request["body"].encode("latin-1")
    dated = f"{headers['x-davit-timestamp']}.{headers['x-davit-delivery']}.".encode() + body
    for name, signed in (("x-hub-signature-256", body), ("x-davit-signature-256", dated)):
        wanted = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(headers[name], wanted), (name, headers)
    return json.loads(body)
