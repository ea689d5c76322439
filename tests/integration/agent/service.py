"""The runner services on a free port of loopback, for the agent's tests: registration, tokens, message queue, run service. Each
route answers well unless a test has queued faults for it: service.fail("poll", 500, 2). It checks what the agent sends: signatures of
assertions, tokens, bodies. Everything received is kept in service.log as (route, details)."""
import base64
import hashlib
import json
import queue
import threading
import time
import uuid
import xml.etree.ElementTree as xml
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def unpad(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def mgf1(seed, length):
    out = b""
    for counter in range((length + 31) // 32):
        out += hashlib.sha256(seed + counter.to_bytes(4, "big")).digest()
    return out[:length]


def pss_is_valid(message, signature, n, e):
    """RSASSA-PSS with SHA-256 and a salt of 32 bytes (RFC 8017, 8.1.2)."""
    bits = n.bit_length() - 1
    size = (bits + 7) // 8
    encoded = pow(int.from_bytes(signature, "big"), e, n).to_bytes(size, "big")
    if encoded[-1] != 0xBC:
        return False
    masked, digest = encoded[: size - 33], encoded[size - 33: -1]
    block = bytearray(a ^ b for a, b in zip(masked, mgf1(digest, len(masked))))
    block[0] &= 0xFF >> (8 * size - bits)
    if bytes(block[: len(block) - 33]) != b"\0" * (len(block) - 33) or block[-33] != 1:
        return False
    again = hashlib.sha256(b"\0" * 8 + hashlib.sha256(message).digest() + bytes(block[-32:])).digest()
    return again == digest


class Service:
    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.log = []
        self.faults = {}
        self.runners = {}            # id → {"name", "key", "client", "queue", "session", "statuses"}
        self.tokens = {}             # access token → runner id
        self.jobs = {}               # request id → {"message", "state", "token", …}
        self.token_life = 3000
        self.registration_token = "REGTOKEN"
        self.hold_s = 30
        self.use_v2 = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                outer.route(self, self.command, self.path, body)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_any

            def answer(self, status, value=None, content_type="application/json"):
                data = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
                try:
                    self.send_response(status)
                    if data:
                        self.send_header("Content-Type", content_type)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        ThreadingHTTPServer.daemon_threads = True
        ThreadingHTTPServer.request_queue_size = 256
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        with self.changed:
            for runner in self.runners.values():
                runner["closed"] = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    # ---- What a test says and asks.
    def fail(self, route, status, times=1, body=None, drop=False):
        with self.lock:
            self.faults.setdefault(route, []).extend([(status, body, drop)] * times)

    def note(self, route, **details):
        with self.changed:
            self.log.append((route, details))
            self.changed.notify_all()

    def seen(self, route):
        with self.lock:
            return [details for name, details in self.log if name == route]

    def wait_for(self, what, condition, seconds=30):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                value = condition()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not seen within {seconds} s: {what}; log: {[n for n, _ in self.log][-40:]}")
                self.changed.wait(min(left, 0.25))

    def wait_seen(self, route, count=1, seconds=30):
        return self.wait_for(f"{count} × {route}", lambda: len(self.seen(route)) >= count and self.seen(route), seconds)

    def runner(self, path=None):
        with self.lock:
            return next(r for r in self.runners.values() if path is None or r["path"] == path)

    def send(self, runner, message):
        with self.changed:
            runner["queue"].append(message)
            self.changed.notify_all()

    def job(self, runner, steps=None, acknowledge=True, **extra):
        """Announces a job; returns its record."""
        request = str(uuid.uuid4())
        plan, job_id = str(uuid.uuid4()), str(uuid.uuid4())
        token = "job-" + uuid.uuid4().hex
        message = {
            "messageType": "RunnerJobRequest", "plan": {"planId": plan, "planType": "actions", "version": 0,
                                                        "scopeIdentifier": str(uuid.UUID(int=0))},
            "timeline": {"id": plan}, "jobId": job_id, "jobDisplayName": extra.pop("name", "build"), "jobName": "__default",
            "requestId": 0, "billingOwnerId": "U_1",
            "resources": {"endpoints": [{"name": "SystemVssConnection", "url": f"{self.base}/run/7/",
                                         "authorization": {"scheme": "OAuth", "parameters": {"AccessToken": token}},
                                         "data": {"ResultsServiceUrl": f"{self.base}/results/"}}]},
            "variables": {"system.github.token": {"value": "ghs_secret", "isSecret": True}},
            "contextData": {"github": {"t": 2, "d": [{"k": "repository", "v": runner["path"]},
                                                     {"k": "sha", "v": "0123456789012345678901234567890123456789"},
                                                     {"k": "api_url", "v": f"{self.base}/api/v3"},
                                                     {"k": "run_id", "v": "77"}]}},
            "steps": steps or [], "fileTable": [], "mask": [],
        }
        record = {"request": request, "plan": plan, "job": job_id, "token": token, "message": message, "state": "queued",
                  "renewals": 0, "completion": None, "runner": runner["id"]}
        with self.lock:
            self.jobs[request] = record
        body = {"id": "1", "runner_request_id": request, "run_service_url": f"{self.base}/run/7", "billing_owner_id": "U_1",
                "should_acknowledge": acknowledge}
        self.send(runner, {"messageId": len(self.jobs), "messageType": "RunnerJobRequest", "body": json.dumps(body)})
        record["announcement"] = body
        return record

    def cancel(self, record, timeout="00:05:00"):
        self.send(self.runners[record["runner"]], {"messageId": 900, "messageType": "JobCancellation", "body": json.dumps(
            {"jobId": record["job"], "timeout": timeout})})

    def wait_completed(self, record, seconds=60):
        return self.wait_for("completejob", lambda: record["completion"], seconds)

    # ---- Routes.
    def route(self, h, method, path, body):
        parts = urlsplit(path)
        name = self.name_of(method, parts.path)
        with self.lock:
            faults = self.faults.get(name)
            fault = faults.pop(0) if faults else None
        if fault is not None:
            self.note("fault:" + name, status=fault[0])
            if fault[2]:
                h.close_connection = True
                h.connection.close()
                return
            h.answer(fault[0], fault[1])
            return
        getattr(self, "do_" + name, self.do_unknown)(h, parts, body)

    @staticmethod
    def name_of(method, path):
        last = path.rstrip("/").split("/")[-1]
        if path.startswith("/api/v3"):
            if last == "runner-registration":
                return "hello"
            if last == "runner-groups":
                return "groups"
            if last == "register":
                return "register"
            if last in ("registration-token", "remove-token"):
                return "exchange"
            if last == "runners":
                return "find"
            if method == "DELETE":
                return "unregister"
            return "unknown"
        return {"token": "token", "session": "session" if method == "POST" else "unsession", "message": "poll",
                "acknowledge": "acknowledge", "acquirejob": "acquire", "renewjob": "renew",
                "completejob": "complete"}.get(last, "unknown")

    def do_unknown(self, h, parts, body):
        self.note("unknown", path=parts.path)
        h.answer(404, {"message": "no such route"})

    def authorized(self, h):
        if h.headers.get("Authorization") in (f"RemoteAuth {self.registration_token}", "Bearer MANAGE"):
            return True
        self.note("unauthorized", header=(h.headers.get("Authorization") or "")[:12])
        h.answer(401, {"message": "Bad credentials"})
        return False

    def do_exchange(self, h, parts, body):
        expected = "basic " + base64.b64encode(b"github:PAT").decode()
        self.note("exchange", path=parts.path)
        if h.headers.get("Authorization") != expected:
            h.answer(401, {"message": "Bad credentials"})
        else:
            h.answer(201, {"token": self.registration_token, "expires_at": "2099-01-01T00:00:00Z"})

    def do_hello(self, h, parts, body):
        data = json.loads(body)
        self.note("hello", agent=h.headers.get("User-Agent"), **data)
        if self.authorized(h):
            h.answer(200, {"url": f"{self.base}/tenant", "token_schema": "OAuthAccessToken", "token": "MANAGE",
                           "use_v2_flow": self.use_v2})

    def do_groups(self, h, parts, body):
        if self.authorized(h):
            h.answer(200, {"total_count": 2, "runner_groups": [
                {"id": 1, "name": "Default", "default": True, "is_hosted": False}, {"id": 2, "name": "special", "default": False}]})

    def do_find(self, h, parts, body):
        if self.authorized(h):
            wanted = parse_qs(parts.query).get("name", [""])[0]
            found = [{"id": r["id"], "name": r["name"]} for r in self.runners.values() if r["name"] == wanted]
            h.answer(200, {"total_count": len(found), "runners": found})

    def do_register(self, h, parts, body):
        if not self.authorized(h):
            return
        data = json.loads(body)
        key = xml.fromstring(data["public_key"])
        numbers = {child.tag: int.from_bytes(base64.b64decode(child.text), "big") for child in key}
        with self.lock:
            number = data.get("runner_id") or 20 + len(self.runners)
            self.runners[number] = {"id": number, "name": data["name"], "n": numbers["Modulus"], "e": numbers["Exponent"],
                                    "client": str(uuid.uuid4()), "queue": [], "session": None, "closed": False,
                                    "path": urlsplit(data["url"]).path.strip("/"), "body": data}
            runner = self.runners[number]
        self.note("register", **data)
        h.answer(200, {"id": number, "name": data["name"], "authorization": {
            "client_id": runner["client"], "authorization_url": f"{self.base}/token", "server_url": f"{self.base}/broker"}})

    def do_unregister(self, h, parts, body):
        if not self.authorized(h):
            return
        number = int(parts.path.rstrip("/").split("/")[-1])
        with self.lock:
            known = self.runners.pop(number, None)
        self.note("unregister", id=number)
        h.answer(204 if known else 404)

    def do_token(self, h, parts, body):
        form = parse_qs(body.decode())
        header, claims, signature = form["client_assertion"][0].split(".")
        told = json.loads(unpad(claims))
        runner = next((r for r in self.runners.values() if r["client"] == told["sub"]), None)
        self.note("token", claims=told, algorithm=json.loads(unpad(header))["alg"])
        if runner is None:
            h.answer(400, {"error": "invalid_client", "error_description": "no such client"})
            return
        good = pss_is_valid(f"{header}.{claims}".encode(), unpad(signature), runner["n"], runner["e"])
        if not good or told["aud"] != f"{self.base}/token" or told["nbf"] > time.time() or told["exp"] < time.time():
            h.answer(400, {"error": "invalid_request", "error_description": "bad assertion"})
            return
        token = "access-" + uuid.uuid4().hex
        with self.lock:
            self.tokens[token] = runner["id"]
        h.answer(200, {"access_token": token, "token_type": "JWT", "expires_in": self.token_life})

    def bearer(self, h):
        """The runner of the request's token, or None after a 401."""
        token = (h.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.lock:
            runner = self.runners.get(self.tokens.get(token))
        if runner is None:
            h.answer(401)
        return runner

    def do_session(self, h, parts, body):
        runner = self.bearer(h)
        if runner is None:
            return
        data = json.loads(body)
        with self.lock:
            runner["session"] = str(uuid.uuid4())
        self.note("session", runner=runner["id"], **data)
        h.answer(200, {**data, "sessionId": runner["session"]})

    def do_unsession(self, h, parts, body):
        runner = self.bearer(h)
        if runner is None:
            return
        runner["session"] = None
        self.note("unsession", runner=runner["id"], query=parts.query)
        h.answer(204)

    def do_poll(self, h, parts, body):
        runner = self.bearer(h)
        if runner is None:
            return
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.note("poll", runner=runner["id"], **query)
        if query.get("sessionId") != runner["session"]:
            h.answer(400, {"source": "actions-broker-listener", "errorKind": "RunnerSessionInvalid", "statusCode": 400,
                           "errorMessage": "session"})
            return
        serial = object()
        end = time.monotonic() + self.hold_s
        with self.changed:
            runner["poll"] = serial
            while not runner["queue"] and runner["poll"] is serial and not runner["closed"] and time.monotonic() < end:
                self.changed.wait(min(0.5, max(end - time.monotonic(), 0)))
            message = runner["queue"].pop(0) if runner["queue"] and runner["poll"] is serial else None
        if message is None:
            h.answer(202)
        elif isinstance(message, bytes):
            h.answer(200, message)
        else:
            h.answer(200, message)

    def do_acknowledge(self, h, parts, body):
        if self.bearer(h) is None:
            return
        self.note("acknowledge", **json.loads(body))
        h.answer(200)

    def do_acquire(self, h, parts, body):
        runner = self.bearer(h)
        if runner is None:
            return
        data = json.loads(body)
        self.note("acquire", **data)
        record = self.jobs.get(data["jobMessageId"])
        if record is None or record["state"] != "queued":
            h.answer(409, {"source": "actions-run-service", "statusCode": 409, "errorMessage": "job already acquired"})
            return
        record["state"] = "acquired"
        h.answer(200, record["message"])

    def job_of(self, h, body):
        data = json.loads(body)
        token = (h.headers.get("Authorization") or "").removeprefix("Bearer ")
        record = next((r for r in self.jobs.values() if r["token"] == token and r["job"] == data["jobId"]), None)
        if record is None or record["state"] == "completed":
            h.answer(404, {"source": "actions-run-service", "statusCode": 404, "errorMessage": "no such job"})
            return None, data
        return record, data

    def do_renew(self, h, parts, body):
        record, _ = self.job_of(h, body)
        if record is None:
            return
        record["renewals"] += 1
        self.note("renew", job=record["job"])
        until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 600))
        h.answer(200, {"lockedUntil": until + ".1234567Z"})

    def do_complete(self, h, parts, body):
        record, data = self.job_of(h, body)
        if record is None:
            return
        with self.changed:
            record["state"] = "completed"
            record["completion"] = data
        self.note("complete", **data)
        h.answer(200)
