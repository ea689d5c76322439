"""A stand-in of Proxmox VE's interface on loopback, over TLS with a certificate of its own.

    with Proxmox() as p:                        # a cluster of two nodes, a template, two storages, a token that may do all
        p.target()                              # the entry of a deployment file
        p.guests[101]["config"]["memory"]
        p.fault("POST /nodes/{node}/lxc", "lost")

Requests are checked against the published schema (method, path, types, required and unknown parameters, permissions) where the contracts are
at hand: DAVIT_CONTRACTS, else ../shared/contracts beside the source tree. What changes a guest is a task that takes `task_s` and reports its end
by its status only; a guest is locked while one works for it. Faults, each for one request of its kind:
  lost    it is done, but the connection ends without a reply       away   the connection ends before anything is done
  500     an empty status 500, nothing is done                      596    the same from the proxy in front
  twice   it is done a second time behind the first                 fails, hangs   so does its task
  strange a reply that is not JSON
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

from servers import proxmox_schema, proxmox_snapshots
from servers.in_flight import InFlight
from servers.proxmox_parts import Refused, TaskFailed, digest_of, prefix, properties, word

USER, SECRET = "deploy@pve!davit", "0d7b1c1e-5a0e-4a53-9f3c-6e5f8f0f3a10"
GIB = 1 << 30
HOT = {"lxc": None, "qemu": {"name", "description", "tags", "onboot", "protection", "net0", "net1"}}
COLD_LXC = {"features", "unprivileged", "ostype"}


class Proxmox:
    def __init__(self, task_s=0.05, rights=None, nodes=("pve", "pve2"), old=False):
        """rights: {path: privileges} of the token; None: everything. old: of a release that says what failed behind the status only."""
        self.dir = tempfile.mkdtemp(prefix="davit-proxmox-")
        self.lock = threading.RLock()
        self.task_s, self.rights, self.old = task_s, rights, old
        self.nodes = {n: "online" for n in nodes}
        self.storages = {"local": {"content": "vztmpl,iso,backup", "snapshots": False, "type": "dir"},
                         "local-lvm": {"content": "rootdir,images", "snapshots": True, "type": "lvmthin"},
                         "local-zfs": {"content": "rootdir,images", "snapshots": True, "type": "zfspool"}}
        self.templates = ["local:vztmpl/debian-12.tar.zst", "local:vztmpl/debian-13.tar.zst"]
        self.guests, self.tasks, self.requests, self.faults, self.held = {}, [], [], [], set()
        self.agent_sleeps = 0        # so many questions an agent in a guest does not hear yet
        self.flight = InFlight()
        self.forgets_start = False   # a rollback ends, and the start that it began comes to nothing
        self.wrong = []   # requests that the schema does not know: a test looks at its end
        self.schema = proxmox_schema.load()
        self.certificate, self.key = os.path.join(self.dir, "cert.pem"), os.path.join(self.dir, "key.pem")
        self.renew()

    def renew(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "2", "-subj",
                        "/CN=pve", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with open(self.certificate) as f:
            der = ssl.PEM_cert_to_DER_cert(f.read())
        self.fingerprint = ":".join(f"{b:02X}" for b in hashlib.sha256(der).digest())

    def __enter__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize, disable_nagle_algorithm = -1, True   # head and body in one piece

            def answer_all(self):
                with outer.flight.one(self.command == "GET"):
                    outer.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer_all

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def target(self, **more):
        return {"proxmox": {"url": self.url, "token_id": USER, "token_secret": "${{ secrets.PVE_TOKEN }}", "fingerprint": self.fingerprint, **more}}

    # ---- what a test sees and sets ----

    def knows(self, secret):
        return secret == SECRET

    def fault(self, request, how, times=1):
        """request: "POST /nodes/{node}/lxc", as in the schema."""
        self.faults += [(request, how)] * times

    def hold(self, kind):
        """Tasks of that kind go on for ever, until they are let go."""
        self.held.add(kind)

    def let_go(self):
        with self.lock:
            self.held.clear()

    def asked(self, method, pattern):
        """How often a request of that kind was carried out or refused."""
        return sum(1 for m, path, _ in self.requests if m == method and re.fullmatch(pattern, path))

    def wait_for(self, condition, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                self.advance()
                if condition():
                    return
            time.sleep(0.02)
        raise AssertionError("it did not come about")

    def add_guest(self, vmid, name, kind="lxc", node="pve", running=True, **config):
        config.setdefault("net0", f"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:{vmid // 256:02X}:{vmid % 256:02X},ip=dhcp,type=veth" if kind == "lxc"
                          else f"virtio=BC:24:11:01:{vmid // 256:02X}:{vmid % 256:02X},bridge=vmbr0")
        disk = f"local-lvm:vm-{vmid}-disk-0,size=8G"
        base = {"rootfs": disk, "hostname": name, "memory": 512, "swap": 512, "cores": 1, "unprivileged": 1} if kind == "lxc" else \
            {"scsi0": disk, "name": name, "memory": "2048", "cores": 1}
        self.guests[vmid] = {"type": kind, "node": node, "status": "running" if running else "stopped", "config": {**base, **config}, "pending": {}, "lock": None,
                             "snapshots": {}, "data": f"data of {name}", "tag": uuid.uuid4().hex}
        return self.guests[vmid]

    # ---- requests ----

    def serve(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        url = urllib.parse.urlsplit(handler.path)
        text = url.query if handler.command in ("GET", "DELETE") else body.decode()
        try:
            with self.lock:
                self.advance()
                pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
                if len(dict(pairs)) != len(pairs):
                    raise Refused(400, "a parameter stands twice")
                how, data = self.handle(handler, handler.command, url.path, dict(pairs), body)
        except Refused as e:
            return self.answer(handler, e.status, None, e.message, e.errors)
        if how in ("lost", "away"):
            handler.close_connection = True
            handler.connection.close()
            return None
        if how == "strange":
            return self.send(handler, 200, b"<html>a proxy's page</html>", "OK")
        return self.answer(handler, 200, data, None, None)

    def answer(self, handler, status, data, message, errors):
        value = {"data": data}
        if message and not self.old:
            value["message"] = message + "\n"
        if errors:
            value["errors"] = errors
        spoke = message or status < 400
        return self.send(handler, status, json.dumps(value).encode() if spoke else b"", message or ("OK" if spoke else "Internal Server Error"))

    def send(self, handler, status, data, reason):
        handler.send_response(status, reason.split("\n")[0])
        handler.send_header("Content-Type", "application/json;charset=UTF-8")
        handler.send_header("Content-Length", str(len(data)))
        if status >= 400:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        handler.wfile.write(data)
        handler.wfile.flush()

    def take_fault(self, request):
        for i, (of, how) in enumerate(self.faults):
            if of == request:
                del self.faults[i]
                return how
        return None

    def handle(self, handler, method, path, params, body):
        user, _, secret = handler.headers.get("Authorization", "").partition("PVEAPIToken=")[2].partition("=")
        if user != USER or not self.knows(secret):
            raise Refused(401, "Authentication failed!")
        if not path.startswith("/api2/json/"):
            raise Refused(501, f"Method '{method} {path}' not implemented")
        path = urllib.parse.unquote(path[len("/api2/json"):])
        self.requests.append((method, path, params))
        if method in ("GET", "DELETE") and body:
            raise Refused(501, "Unexpected content for method")
        if method in ("POST", "PUT") and body and handler.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            raise Refused(400, "the body is no form")
        template, given = self.find(method, path)
        self.check(method, template, {**params, **given})
        how = self.take_fault(f"{method} {template}")
        if how in ("500", "596"):
            raise Refused(int(how), "")
        if how == "away":
            return how, None
        self.next_task = how
        route = ROUTES[method, template]
        data = route(self, given, params)
        if how == "twice":
            try:
                route(self, given, params)
            except Refused:
                pass
        return how, data

    def find(self, method, path):
        for of, template in ROUTES:
            match = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)), path)
            if of == method and match:
                return template, match.groupdict()
        raise Refused(501, f"Method '{method} {path}' not implemented")

    def check(self, method, template, params):
        node = params.get("node")
        if node is not None and node not in self.nodes:
            raise Refused(500, f"hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known")
        if node is not None and self.nodes[node] != "online":
            raise Refused(595, "Connection refused")
        if self.schema is None:
            return
        errors = proxmox_schema.faults(self.schema, method, template, params)
        if errors:
            self.wrong.append((method, template, errors))
            raise Refused(400, "Parameter verification failed.", errors)
        missing = proxmox_schema.missing(self.schema, method, template, params, self.may)
        if missing:
            raise Refused(403, f"Permission check failed ({missing})")

    def may(self, path, privilege):
        if self.rights is None:
            return True
        while True:
            if path in self.rights:
                return privilege in self.rights[path]
            if path == "/":
                return False
            path = path.rsplit("/", 1)[0] or "/"

    def need(self, path, privilege):
        if not self.may(path, privilege):
            raise Refused(403, f"Permission check failed ({path}, {privilege})")

    # ---- tasks ----

    def start_task(self, kind, vmid, node, effect, lock=None, failed=None):
        """effect: what it does at its end; TaskFailed is its status, and then `failed` cleans up."""
        how, self.next_task = self.next_task, None
        number = len(self.tasks) + 1
        upid = f"UPID:{node}:{number:08X}:{number + 4096:08X}:{int(time.time()):08X}:{kind}:{vmid}:{USER}:"
        self.tasks.append({"upid": upid, "type": kind, "id": str(vmid), "node": node, "user": USER, "pid": number, "starttime": int(time.time()), "status": "running",
                           "effect": effect, "end": time.monotonic() + self.task_s, "how": how, "log": [f"{kind} of {vmid} begins"], "lock": lock, "failed": failed})
        guest = self.guests.get(int(vmid))
        if guest is not None and lock:
            guest["lock"] = lock
        return upid

    def later(self, kind, vmid, node, effect):
        """A task that another one begins at its end."""
        self.next_task = None
        self.start_task(kind, vmid, node, effect)

    def end_task(self, task, status):
        task["status"], task["exitstatus"] = "stopped", status
        task["log"].append("TASK OK" if status == "OK" else f"TASK ERROR: {status}")
        guest = self.guests.get(int(task["id"]))
        if guest is not None and task["lock"] and guest["lock"] == task["lock"]:
            guest["lock"] = None

    def advance(self):
        for task in list(self.tasks):
            if task["status"] != "running" or time.monotonic() < task["end"] or task["type"] in self.held or task["how"] == "hangs":
                continue
            try:
                if task["how"] == "fails":
                    raise TaskFailed("command 'lvcreate' failed: exit code 5")
                task["effect"]()
                self.end_task(task, "OK")
            except TaskFailed as e:
                if task["lock"] == "create":
                    self.guests.pop(int(task["id"]), None)
                if task.get("failed"):
                    task["failed"]()
                self.end_task(task, str(e))

    def guest_at(self, given, kind):
        guest = self.guests.get(int(given["vmid"]))
        if guest is None or guest["node"] != given["node"] or guest["type"] != kind:
            raise Refused(500, f"Configuration file 'nodes/{given['node']}/{'lxc' if kind == 'lxc' else 'qemu-server'}/{given['vmid']}.conf' does not exist")
        return guest

    def unlocked(self, guest):
        if guest["lock"]:
            raise TaskFailed(f"{'CT' if guest['type'] == 'lxc' else 'VM'} is locked ({guest['lock']})")


# ---- methods ----

def resources(p, given, params):
    rows = []
    if params.get("type", "vm") == "vm":
        for vmid, g in sorted(p.guests.items()):
            if p.may(f"/vms/{vmid}", "VM.Audit"):
                row = {"id": f"{g['type']}/{vmid}", "type": g["type"], "vmid": vmid, "node": g["node"], "status": g["status"], "template": 0,
                       "name": g["config"].get("hostname") or g["config"].get("name")}
                rows.append({**row, "lock": g["lock"]} if g["lock"] else row)
    return rows


def nextid(p, given, params):
    if "vmid" in params:
        if int(params["vmid"]) in p.guests:
            raise Refused(400, "Parameter verification failed.", {"vmid": f"VM {params['vmid']} already exists"})
        return params["vmid"]
    return str(next(i for i in range(100, 10 ** 6) if i not in p.guests))


def storages(p, given, params):
    return [{"storage": name, "content": s["content"], "active": 1, "enabled": 1, "type": s["type"]} for name, s in sorted(p.storages.items())
            if p.may(f"/storage/{name}", "Datastore.AllocateSpace") or p.may(f"/storage/{name}", "Datastore.Audit")]


def content(p, given, params):
    if given["storage"] not in p.storages:
        raise Refused(500, f"storage '{given['storage']}' does not exist")
    return [{"volid": t, "content": "vztmpl", "format": "tzst", "size": 1} for t in p.templates if t.startswith(given["storage"] + ":")]


def permissions(p, given, params):
    path, names = params.get("path", "/"), proxmox_schema.PRIVILEGES
    return {path: {n: 1 for n in names if p.may(path, n)}}


def allocate(p, text):
    storage, size = text.split(",")[0].split(":")
    if storage not in p.storages:
        raise Refused(500, f"storage '{storage}' does not exist")
    p.need(f"/storage/{storage}", "Datastore.AllocateSpace")
    return storage, size


def create(kind):
    def run(p, given, params):
        vmid, node = int(params["vmid"]), given["node"]
        p.need(f"/vms/{vmid}", "VM.Allocate")
        if vmid in p.guests:
            raise Refused(500, f"unable to create {'CT' if kind == 'lxc' else 'VM'} {vmid}: {'CT' if kind == 'lxc' else 'VM'} {vmid} already exists on node '{p.guests[vmid]['node']}'")
        if kind == "lxc" and params["ostemplate"] not in p.templates:
            raise Refused(500, f"volume '{params['ostemplate']}' does not exist")
        config, disk = {}, "rootfs" if kind == "lxc" else "scsi0"
        for key, value in params.items():
            if key in ("vmid", "ostemplate", "start", "storage", "ssh-public-keys", disk, "ide2"):
                continue
            config[key] = value if not re.fullmatch(r"\d+", value) else int(value)
        if disk in params:
            storage, size = allocate(p, params[disk])
            config[disk] = f"{storage}:vm-{vmid}-disk-0,size={int(float(size))}G"
        if "ide2" in params:
            config["ide2"] = f"{params['ide2'].split(':')[0]}:vm-{vmid}-cloudinit,media=cdrom"
        if "net0" in config:
            config["net0"] = made_up(kind, vmid, config["net0"])
        start, keys = params.get("start") == "1", params.get("ssh-public-keys")
        p.guests[vmid] = guest = {"type": kind, "node": node, "status": "stopped", "config": config, "pending": {}, "lock": "create", "snapshots": {}, "data": "fresh",
                                  "keys": keys, "tag": uuid.uuid4().hex}

        def effect():
            if start:
                guest["status"] = "running"
        return p.start_task(prefix(kind) + "create", vmid, node, effect, "create")
    return run


def made_up(kind, vmid, text):
    address = f"BC:24:11:{uuid.uuid4().bytes[0]:02X}:{vmid // 256 % 256:02X}:{vmid % 256:02X}"
    if kind == "lxc":
        return text if "hwaddr=" in text else f"{text},hwaddr={address},type=veth"
    model, _, rest = text.partition(",")
    return text if "=" in model else f"{model}={address}" + ("," + rest if rest else "")


def get_config(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        config = {**guest["config"], **{k: v for k, v in guest["pending"].items() if v is not None}, "digest": digest_of(guest)}
        for key, value in guest["pending"].items():
            if value is None:
                config.pop(key, None)
        return {**config, "lock": guest["lock"]} if guest["lock"] else config
    return run


NEEDS = {"cores": "CPU", "sockets": "CPU", "cpu": "CPU", "memory": "Memory", "swap": "Memory", "net0": "Network", "hostname": "Network", "nameserver": "Network",
         "searchdomain": "Network"}


def put_config(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        if params.get("digest") not in (None, digest_of(guest)):
            raise Refused(500, "detected modified configuration - file changed by other user? Try again.")
        if guest["lock"]:
            raise Refused(500, f"{word(guest)} is locked ({guest['lock']})")
        deleted = [k for k in params.get("delete", "").split(",") if k]
        changes = {k: int(v) if re.fullmatch(r"\d+", v) else v for k, v in params.items() if k not in ("digest", "delete")}
        for key in [*changes, *deleted]:
            p.need(f"/vms/{given['vmid']}", "VM.Config." + NEEDS.get(key, "Options"))
        for key, value in [*changes.items(), *((k, None) for k in deleted)]:
            hot = key not in COLD_LXC if kind == "lxc" else key in HOT["qemu"]
            if key.startswith("net") and value:
                value = made_up(kind, int(given["vmid"]), value)
            if guest["status"] == "running" and not hot:
                guest["pending"][key] = value
                if guest["config"].get(key) == value:
                    del guest["pending"][key]
            elif value is None:
                guest["config"].pop(key, None)
            else:
                guest["config"][key] = value
        return None
    return run


def pending(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        rows = []
        for key in sorted({*guest["config"], *guest["pending"]}):
            row = {"key": key}
            if key in guest["config"]:
                row["value"] = guest["config"][key]
            if key in guest["pending"]:
                row.update({"delete": 1} if guest["pending"][key] is None else {"pending": guest["pending"][key]})
            rows.append(row)
        return rows
    return run


def current(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        row = {"status": guest["status"], "vmid": int(given["vmid"]), "ha": {"managed": 0}}
        return {**row, "lock": guest["lock"]} if guest["lock"] else row
    return run


def take_over_pending(guest):
    for key, value in guest["pending"].items():
        if value is None:
            guest["config"].pop(key, None)
        else:
            guest["config"][key] = value
    guest["pending"] = {}


def power(kind, verb):
    def run(p, given, params):
        guest, vmid = p.guest_at(given, kind), given["vmid"]
        running = guest["status"] == "running"
        if kind == "lxc" and verb == "start" and running:
            raise Refused(500, f"CT {vmid} already running")
        if (kind == "lxc" or verb == "reboot") and verb != "start" and not running:
            raise Refused(500, f"{word(guest)} {vmid} not running")

        def effect():
            p.unlocked(guest)
            if verb == "start" and guest["status"] == "running":
                raise TaskFailed(f"VM {vmid} already running")
            if verb in ("start", "reboot"):
                take_over_pending(guest)
                guest["boots"] = guest.get("boots", 0) + 1
            guest["status"] = "running" if verb in ("start", "reboot") else "stopped"
            if guest["status"] == "stopped":
                take_over_pending(guest)
        return p.start_task(prefix(kind) + verb, vmid, given["node"], effect)
    return run


def resize(kind):
    def run(p, given, params):
        guest = p.guest_at(given, kind)
        if params["disk"] not in guest["config"]:
            raise Refused(500, f"disk '{params['disk']}' does not exist")

        def effect():
            p.unlocked(guest)
            disk = properties(guest["config"][params["disk"]])
            now, asked = int(disk["size"][:-1]), params["size"]
            wanted = now + int(asked[1:-1]) if asked.startswith("+") else int(asked[:-1])
            if wanted < now:
                raise TaskFailed("unable to shrink disk size" if kind == "lxc" else "shrinking disks is not supported")
            if wanted == now and kind == "lxc":
                raise TaskFailed("disk is already at specified size")
            guest["config"][params["disk"]] = f"{disk['volume']},size={wanted}G"
        return p.start_task("resize", given["vmid"], given["node"], effect)
    return run


def clone(kind):
    def run(p, given, params):
        source, newid, node = p.guest_at(given, kind), int(params["newid"]), params.get("target", given["node"])
        p.need(f"/vms/{newid}", "VM.Allocate")
        if newid in p.guests:
            raise Refused(500, f"unable to create {word(source)} {newid}: config file already exists")
        key = "hostname" if kind == "lxc" else "name"
        config = json.loads(json.dumps(source["config"]).replace(f"vm-{given['vmid']}-", f"vm-{newid}-"))
        if key in params:
            config[key] = params[key]
        if "storage" in params:
            disk = "rootfs" if kind == "lxc" else "scsi0"
            config[disk] = params["storage"] + ":" + config[disk].split(":", 1)[1]
        p.guests[newid] = {"type": kind, "node": node, "status": "stopped", "config": config, "pending": {}, "lock": "create", "snapshots": {}, "data": source["data"],
                           "tag": uuid.uuid4().hex}
        return p.start_task(prefix(kind) + "clone", newid, node, lambda: None, "create")
    return run


def destroy(kind):
    def run(p, given, params):
        guest, vmid = p.guest_at(given, kind), int(given["vmid"])
        if guest["status"] == "running" and params.get("force") != "1":
            raise Refused(500, f"{'CT' if kind == 'lxc' else 'VM'} {vmid} is running - destroy failed")
        if guest["config"].get("protection"):
            raise Refused(500, f"can't remove CT {vmid} - protection mode enabled")

        def effect():
            p.unlocked({**guest, "lock": None if guest["lock"] == "destroyed" else guest["lock"]})
            del p.guests[vmid]
        return p.start_task(prefix(kind) + "destroy", vmid, given["node"], effect, "destroyed")
    return run


def find_task(p, given):
    for task in p.tasks:
        if task["upid"] == given["upid"] and task["node"] == given["node"]:
            return task
    raise Refused(400, "Parameter verification failed.", {"upid": "no such task"})


def shown(task):
    return {k: task[k] for k in ("upid", "type", "id", "node", "user", "pid", "starttime", "status", "exitstatus") if k in task}


def tasks(p, given, params):
    rows = [t for t in p.tasks if t["node"] == given["node"] and params.get("vmid", t["id"]) == t["id"] and params.get("typefilter", t["type"]) == t["type"]]
    if params.get("source", "archive") == "active":
        rows = [t for t in rows if t["status"] == "running" or time.monotonic() < t["end"] + 5]
    # As the server does: a task that runs has no status here, one that ended the words of its end.
    return [{**{k: v for k, v in shown(t).items() if k not in ("status", "exitstatus")}, **({} if t["status"] == "running" else {"status": t["exitstatus"]})}
            for t in reversed(rows)]


def task_log(p, given, params):
    start, limit = int(params.get("start", 0)), int(params.get("limit", 50))
    lines = [{"n": i + 1, "t": text} for i, text in enumerate(find_task(p, given)["log"])]
    return lines[start:start + limit if limit else None]


def stop_task(p, given, params):
    task = find_task(p, given)
    if task["status"] == "running":
        if task["lock"] == "create":
            p.guests.pop(int(task["id"]), None)
        p.end_task(task, "interrupted by signal")


def interfaces(p, given, params):
    guest = p.guest_at(given, "lxc")
    told = [{"name": "eth0", "inet": f"192.0.2.{int(given['vmid']) % 250}/24"}] if guest["status"] == "running" and "ip=dhcp" in guest["config"].get("net0", "") else []
    return guest.get("interfaces", told)


def agents_interfaces(p, given, params):
    """What an engine in the guest made stands before the guest's own card."""
    guest, vmid = p.guest_at(given, "qemu"), int(given["vmid"])
    if str(guest["config"].get("agent", "0")).split(",")[0] not in ("1", "enabled=1"):
        raise Refused(500, "No QEMU guest agent configured")
    if guest["status"] != "running":
        raise Refused(500, f"VM {vmid} is not running")
    if p.agent_sleeps > 0:
        p.agent_sleeps -= 1
        raise Refused(500, "QEMU guest agent is not running")
    card = re.search(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", guest["config"]["net0"]).group().lower()

    def one(name, address, *ips):
        return {"name": name, "hardware-address": address, "ip-addresses": [{"ip-address": i, "ip-address-type": "ipv6" if ":" in i else "ipv4", "prefix": 24} for i in ips]}
    return {"result": [one("lo", "00:00:00:00:00:00", "127.0.0.1", "::1"), one("docker0", "02:42:00:00:00:01", "172.17.0.1"),
                       one("eth0", card, "fe80::1", "169.254.3.4", f"192.0.2.{vmid % 250}")]}


ROUTES = {
    ("GET", "/version"): lambda p, g, q: {"version": "8.3.0", "release": "8.3", "repoid": "0123456789abcdef"},
    ("GET", "/nodes"): lambda p, g, q: [{"node": n, "status": s, "type": "node", "id": f"node/{n}"} for n, s in sorted(p.nodes.items())],
    ("GET", "/cluster/resources"): resources,
    ("GET", "/cluster/nextid"): nextid,
    ("GET", "/access/permissions"): permissions,
    ("GET", "/nodes/{node}/storage"): storages,
    ("GET", "/nodes/{node}/storage/{storage}/content"): content,
    ("GET", "/nodes/{node}/tasks"): tasks,
    ("GET", "/nodes/{node}/tasks/{upid}/status"): lambda p, g, q: shown(find_task(p, g)),
    ("GET", "/nodes/{node}/tasks/{upid}/log"): task_log,
    ("DELETE", "/nodes/{node}/tasks/{upid}"): stop_task,
    ("GET", "/nodes/{node}/lxc/{vmid}/interfaces"): interfaces,
    ("GET", "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces"): agents_interfaces,
}
for _kind in ("lxc", "qemu"):
    _of = f"/nodes/{{node}}/{_kind}"
    ROUTES["POST", _of] = create(_kind)
    _of += "/{vmid}"
    ROUTES["DELETE", _of] = destroy(_kind)
    ROUTES["GET", _of + "/config"] = get_config(_kind)
    ROUTES["PUT", _of + "/config"] = put_config(_kind)
    ROUTES["GET", _of + "/pending"] = pending(_kind)
    ROUTES["GET", _of + "/status/current"] = current(_kind)
    for _verb in ("start", "stop", "shutdown", "reboot"):
        ROUTES["POST", _of + "/status/" + _verb] = power(_kind, _verb)
    ROUTES["PUT", _of + "/resize"] = resize(_kind)
    ROUTES["POST", _of + "/clone"] = clone(_kind)
ROUTES.update(proxmox_snapshots.routes())
