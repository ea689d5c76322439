"""A container registry on loopback: Debian's docker-registry on a free port, with its own storage, and a token service where asked for.

    with Registry() as r:                       # or Registry(users={"deployer": "secret"}): tokens, RS256
        index = r.push_index("shop/web", "staging", architectures=("amd64", "arm64"))
        r.digest("shop/web", "staging")

Registry.available() says whether the machine has one.
"""
import base64
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PROGRAM = shutil.which("docker-registry")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ACCEPT = f"{INDEX}, {MANIFEST}, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Tokens:
    """The token service of a registry: signs what a user may do; everybody may pull what is `public`."""

    def __init__(self, folder, users, allowed):
        self.folder, self.users, self.allowed, self.asked = folder, users, allowed, []
        self.key, self.certificate = os.path.join(folder, "key.pem"), os.path.join(folder, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "2",
                        "-subj", "/CN=tokens"], check=True, capture_output=True)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                given = self.headers.get("Authorization", "")
                user, _, password = base64.b64decode(given[6:]).decode().partition(":") if given.startswith("Basic ") else ("", "", "")
                outer.asked.append((user, query.get("scope", [])))
                if user and outer.users.get(user) != password:
                    self.answer(401, {"errors": [{"code": "UNAUTHORIZED"}]})
                else:
                    self.answer(200, {"token": outer.token(user, query), "expires_in": 300})

            def answer(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def access(self, user, scope, all_of_it):
        kind, name, actions = scope.split(":")
        allowed = self.allowed(user, name)
        return {"type": kind, "name": name, "actions": [a for a in actions.split(",") if all_of_it or a in allowed]}

    def token(self, user, query, all_of_it=False):
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        with open(self.certificate) as f:
            der = "".join(line for line in f.read().splitlines() if "CERTIFICATE" not in line)
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        claims = {"iss": "tokens", "aud": "registry", "sub": user, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": os.urandom(8).hex(),
                  "access": [self.access(user, s, all_of_it) for s in query.get("scope", [])]}
        text = part(json.dumps(head).encode()) + b"." + part(json.dumps(claims).encode())
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text, capture_output=True, check=True).stdout
        return (text + b"." + part(signed)).decode()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Registry:
    @staticmethod
    def available():
        return PROGRAM is not None

    def __init__(self, users=None, delete=True, allowed=None):
        self.folder = tempfile.mkdtemp(prefix="davit-registry-")
        self.users = users or {}
        self.tokens = Tokens(self.folder, self.users, allowed or (lambda user, name: {"pull", "push", "delete"} if user else set())) if users else None
        self.delete, self.own_tokens = delete, {}
        self.port = free_port()
        self.url, self.host = f"http://127.0.0.1:{self.port}", f"127.0.0.1:{self.port}"

    def __enter__(self):
        config = {"version": "0.1", "log": {"level": "warn"}, "http": {"addr": self.host},
                  "storage": {"filesystem": {"rootdirectory": self.folder + "/data"}, "delete": {"enabled": self.delete}}}
        if self.tokens:
            config["auth"] = {"token": {"realm": self.tokens.url, "service": "registry", "issuer": "tokens", "rootcertbundle": self.tokens.certificate}}
        with open(self.folder + "/config.yml", "w") as f:
            json.dump(config, f)
        self.log = open(self.folder + "/log", "wb")
        self.process = subprocess.Popen([PROGRAM, "serve", self.folder + "/config.yml"], stdout=self.log, stderr=self.log)
        end = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(self.url + "/v2/", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        if self.tokens:
            self.tokens.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _own_token(self, name):
        """Signing costs a process: one is good for a minute."""
        token, made = self.own_tokens.get(name, ("", -60))
        if time.monotonic() > made + 60:
            token, made = self.tokens.token(next(iter(self.users)), {"scope": [f"repository:{name}:pull,push,delete"]}, True), time.monotonic()
            self.own_tokens[name] = (token, made)
        return token

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body); logs in as the first user."""
        headers = dict(headers or {})
        if self.tokens:
            name = path.split("/v2/")[1].split("/manifests/")[0].split("/blobs/")[0]
            headers["Authorization"] = "Bearer " + self._own_token(name)
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def push_blob(self, name, data):
        status, headers, _ = self.request("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert status == 202, status
        location = headers["Location"]
        location += ("&" if "?" in location else "?") + "digest=" + digest_of(data)
        status, _, body = self.request("PUT", location, data, {"Content-Type": "application/octet-stream"})
        assert status == 201, (status, body)
        return {"digest": digest_of(data), "size": len(data)}

    def put_manifest(self, name, reference, document, media_type):
        data = json.dumps(document, indent=3).encode()
        status, _, body = self.request("PUT", f"/v2/{name}/manifests/{reference or digest_of(data)}", data, {"Content-Type": media_type})
        assert status == 201, (status, body)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def push_manifest(self, name, reference, layers, architecture="amd64"):
        config = self.push_blob(name, json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode())
        parts = [dict(self.push_blob(name, layer), mediaType="application/vnd.oci.image.layer.v1.tar") for layer in layers]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": dict(config, mediaType="application/vnd.oci.image.config.v1+json"), "layers": parts}
        return self.put_manifest(name, reference, document, MANIFEST)

    def push_index(self, name, tag, text="one", architectures=("amd64", "arm64"), layers=2, size=1000):
        """The digest of the index."""
        children = []
        for architecture in architectures:
            content = [(f"{text} {architecture} {i} ".encode() * (size // 8 + 1))[:size] for i in range(layers)]
            child = self.push_manifest(name, None, content, architecture)
            children.append(dict(child, platform={"os": "linux", "architecture": architecture}))
        return self.put_manifest(name, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, INDEX)["digest"]

    def digest(self, name, reference):
        status, headers, _ = self.request("HEAD", f"/v2/{name}/manifests/{reference}", headers={"Accept": ACCEPT})
        return headers["Docker-Content-Digest"] if status == 200 else None

    def whole(self, name, reference):
        """Every manifest and blob that it names is there; the number of blobs."""
        status, _, body = self.request("GET", f"/v2/{name}/manifests/{reference}", headers={"Accept": ACCEPT})
        assert status == 200, status
        document = json.loads(body)
        if "manifests" in document:
            return sum(self.whole(name, child["digest"]) for child in document["manifests"])
        for part in [document["config"], *document["layers"]]:
            status, _, body = self.request("GET", f"/v2/{name}/blobs/{part['digest']}")
            assert status == 200 and digest_of(body) == part["digest"], part
        return 1 + len(document["layers"])
