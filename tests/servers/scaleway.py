"""A stand-in of Scaleway's interfaces on loopback: instances, block volumes, IPs, security groups and images of one project in one zone.

    with Scaleway() as s:
        s.target()                              # the entry of a deployment file
        s.server("web")["state"]
        s.fault("POST /instance/v1/zones/{zone}/servers", "lost")

Requests and answers are checked against the published schema where the contracts are at hand (scaleway_schema.py). A start, a stop, the making and
the growth of a volume take `task_s` and are told by the state of their object only: the task of an answer is of no use, as in the service. Lists come in
pages of at most `page`. IPs are of `network`. Faults, each for one request of its kind:
  lost   it is done, but the connection ends without a reply     away   the connection ends before anything is done
  late   the connection ends without a reply, and it is done a while afterwards
  500    an empty status 500, nothing is done                    429    too fast: nothing is done (429 N: Retry-After: N)
  stock  no capacity                                             busy   refused since something goes on with it
  fails  what it began comes to nothing                          hangs  what it began never ends
  strange  a reply that is not JSON
"""
import http.server
import json
import re
import socket
import threading
import time
import urllib.parse

from servers import scaleway_schema
from servers.in_flight import InFlight
from servers.scaleway_objects import DEFAULT_GROUP, GROUP, IMAGES, LISTS, ROUTES, Refused, image_id, new_id, now

PROJECT, TOKEN, ZONE = "105bdce1-64c0-48ab-899d-868455867ecf", "7d1f8a52-1111-4c0e-9b4a-2f0a6f4f1c11", "fr-par-1"
CREATE_SERVER, ACTION = "POST /instance/v1/zones/{zone}/servers", "POST /instance/v1/zones/{zone}/servers/{server_id}/action"
CREATE_IP, CREATE_VOLUME, PATCH_VOLUME = "POST /instance/v1/zones/{zone}/ips", "POST /block/v1/zones/{zone}/volumes", "PATCH /block/v1/zones/{zone}/volumes/{volume_id}"


class Scaleway:
    def __init__(self, task_s=0.05, page=50, quota=20, may_write=True, network="51.15.0"):
        self.task_s, self.page, self.quota, self.may_write = task_s, page, quota, may_write
        self.project, self.zone, self.network = PROJECT, ZONE, network
        self.lock = threading.RLock()
        self.servers, self.volumes, self.local_volumes, self.snapshots, self.ips, self.groups, self.data = {}, {}, {}, {}, {}, {}, {}
        self.requests, self.faults, self.pending, self.wrong = [], [], [], []
        self.sold_out, self.grows_only_when_off, self.names = set(), False, {}
        self.outcome = None
        self.flight = InFlight()
        self.schema = scaleway_schema.load()
        self.default_group = new_id()
        self.groups[self.default_group] = {**GROUP, "id": self.default_group, "name": DEFAULT_GROUP, "project": PROJECT, "organization": PROJECT, "creation_date": now(),
                                           "modification_date": now(), "project_default": True, "servers": [], "zone": ZONE, "_rules": []}

    def __enter__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize, disable_nagle_algorithm = -1, True   # head and body in one piece

            def answer_all(self):
                with outer.flight.one(self.command == "GET"):
                    outer.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer_all

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        self.httpd = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.thread.join()
        self.httpd.server_close()

    def target(self, **more):
        return {"scaleway": {"url": self.url, "project": PROJECT, "zone": ZONE, "token": "${{ secrets.SCW_TOKEN }}", **more}}

    # ---- what a test sees and sets ----

    def knows(self, token):
        return token == TOKEN

    def fault(self, request, how, times=1):
        self.faults += [(request, how)] * times

    def server(self, name):
        found = [s for s in self.servers.values() if s["name"] == name]
        assert len(found) == 1, f"{len(found)} instances are called {name}"
        return found[0]

    def root(self, name):
        return self.volumes[self.server(name)["volumes"]["0"]["id"]]

    def ip(self, name):
        return next(i for i in self.ips.values() if f"davit-name={name}" in i["tags"])

    def volume(self, name):
        return next(v for v in self.volumes.values() if v["name"] == name)

    def group(self, name):
        return next(g for g in self.groups.values() if g["name"] == name)

    def asked(self, method, pattern):
        return sum(1 for m, path, _ in self.requests if m == method and re.fullmatch(pattern, path))

    def changed(self):
        return [(m, path) for m, path, _ in self.requests if m != "GET"]

    def image_labels(self):
        return {image_id(label, arch, kind): (label, arch) for label in IMAGES for arch in ("arm64", "x86_64") for kind in ("instance_sbs", "instance_local")}

    def leads_back(self, name, address):
        return self.names.get(name) == address

    def wait_for(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                self.advance()
                if condition():
                    return
            time.sleep(0.02)
        raise AssertionError("it did not come about")

    # ---- time ----

    def later(self, effect, after=None):
        self.pending.append((time.monotonic() + (self.task_s if after is None else after), effect))

    def advance(self):
        due = [p for p in self.pending if p[0] <= time.monotonic()]
        self.pending = [p for p in self.pending if p not in due]
        for _, effect in due:
            effect()

    def take_outcome(self):
        how, self.outcome = self.outcome, None
        return how

    # ---- requests ----

    def serve(self, handler):
        data = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        kind = (handler.headers.get("Content-Type") or "").split(";")[0]
        try:
            with self.lock:
                self.advance()
                how, status, body, headers = self.handle(handler, url.path, query, data, kind)
        except Refused as e:
            return self.send(handler, e.status, e.body if e.body else None, e.headers)
        if how in ("lost", "away", "late"):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return None
        if how == "strange":
            return self.send(handler, 200, "<html>a proxy's page</html>", {})
        return self.send(handler, status, body, headers)

    def send(self, handler, status, body, headers):
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        handler.send_header("X-Request-Id", new_id())
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if status != 204:
            handler.wfile.write(data)
        handler.wfile.flush()

    def find(self, method, path):
        best = None
        for of, template in ROUTES:
            match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)), path)
            if of == method and match and (best is None or len(match.groupdict()) < len(best[1])):
                best = (template, match.groupdict())
        if best is None:
            raise Refused(404, type="unknown_resource", message=f'"{path}" not found')
        return best

    def read_body(self, method, path, query, data, kind):
        body = None
        if data:
            body = json.loads(data) if kind == "application/json" else data.decode()
        fault = self.schema.request_fault(method, path, query, body, kind) if self.schema else None
        if fault:
            self.wrong.append(fault)
            raise Refused(400, type="invalid_arguments", message="invalid argument(s)", details=[{"argument_name": "", "reason": "unknown", "help_message": fault}])
        return body

    def take_fault(self, request):
        for i, (of, how) in enumerate(self.faults):
            if of == request:
                del self.faults[i]
                return how
        return None

    def refuse(self, how):
        if how == "500":
            raise Refused(500)
        if how and how.startswith("429"):
            refused = Refused(429)
            refused.headers = {"x-envoy-ratelimited": "true", **({"Retry-After": how[4:]} if how[4:] else {})}
            raise refused
        if how == "stock":
            raise Refused(503, type="out_of_stock", message="out of stock", resource="DEV1-S")
        if how == "busy":
            raise Refused(409, type="transient_state", message="resource is in a transient state", resource="instance_server", current_state="stopping")

    def handle(self, handler, path, query, data, kind):
        method = handler.command
        if not self.knows(handler.headers.get("X-Auth-Token") or ""):
            raise Refused(401, type="denied_authentication", method="api_key", reason="not_found", message="authentication is denied")
        template, given = self.find(method, path)
        self.requests.append((method, path, query))
        if given.get("zone", self.zone) != self.zone:
            raise Refused(404, type="unknown_resource", message=f'"{given["zone"]}" not found')
        body = self.read_body(method, path, query, data, kind)
        if method != "GET" and not self.may_write:
            raise Refused(403, type="permissions_denied", message="insufficient permissions", details=[{"resource": "instance", "action": "write"}])
        how, route = self.take_fault(f"{method} {template}"), ROUTES[method, template]
        self.refuse(how)
        if how == "away":
            return how, 0, None, {}
        if how == "late":
            self.later(lambda: route(self, given, query, body), 0.3)
            return how, 0, None, {}
        self.outcome = how
        status, answer = route(self, given, query, body)
        headers = {}
        if route in LISTS:
            answer, headers = self.paged(path, query, answer, LISTS[route])
        fault = self.schema.answer_fault(method, path, status, answer) if self.schema and not isinstance(answer, str) else None
        if fault:
            self.wrong.append(fault)
        return how, status, json.loads(json.dumps(answer)), headers

    def paged(self, path, query, answer, key):
        """Instances tell the whole number in a header, the newer interfaces in the body."""
        old, rows = path.startswith("/instance/"), answer[key]
        size = min(int(query.get("per_page" if old else "page_size", 50)), self.page)
        begin = (int(query.get("page", 1)) - 1) * size
        if isinstance(rows, dict):
            part = dict(list(rows.items())[begin:begin + size])
        else:
            part = rows[begin:begin + size]
        return ({key: part}, {"X-Total-Count": str(len(rows))}) if old else ({key: part, "total_count": len(rows)}, {})
