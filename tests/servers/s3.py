#!/usr/bin/env python3
"""An S3 service on loopback: Ceph's gateway over one monitor and one store in memory, each with a free port. It checks signatures.

    why = Ceph.why_not()                 # None, or what is missing
    with Ceph() as s3:
        s3.url, s3.access_key, s3.secret_key
        s3.bucket("copies")              # made
        s3.request("GET", "/copies/?list-type=2") → (status, body)     # signed here, by another implementation than davit's

As a program it prints one JSON object and runs until its standard input closes.
"""
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
mon data = {dir}/mon
osd data = {dir}/osd
keyring = {dir}/admin.keyring
log file = {dir}/$name.log
admin socket = {dir}/$name.asok
pid file = {dir}/$name.pid
run dir = {dir}
[osd]
keyring = {dir}/osd.keyring
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {dir}/rgw
rgw thread pool size = 16
keyring = {dir}/rgw.keyring
"""


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Ceph:
    access_key, secret_key = "AKDAVIT", "SKDAVIT0123456789/+="

    @staticmethod
    def why_not():
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            return f"{missing[0]} is missing (radosgw, ceph-mon, ceph-osd, ceph-common)"
        return None if os.geteuid() == 0 else "Ceph's programs want root"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="davit-s3-")
        self.daemons = []
        for name in ("mon", "osd", "rgw"):
            os.mkdir(os.path.join(self.dir, name))
        v2, v1, self.port = free_ports(3)
        self.fsid = str(uuid.uuid4())
        self.url = f"http://127.0.0.1:{self.port}"
        self.ends = (v2, v1)
        self.env = dict(os.environ, CEPH_CONF=os.path.join(self.dir, "ceph.conf"))
        with open(self.env["CEPH_CONF"], "w") as f:
            f.write(CONF.format(dir=self.dir, fsid=self.fsid, v2=v2, v1=v1, port=self.port))

    def run(self, *words, seconds=120):
        return subprocess.run(words, cwd=self.dir, env=self.env, capture_output=True, text=True, timeout=seconds, check=True).stdout

    def daemon(self, *words):
        with open(os.path.join(self.dir, words[0] + ".out"), "w") as log:
            self.daemons.append(subprocess.Popen([*words, "-f"], cwd=self.dir, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 start_new_session=True))

    def start(self):
        osd = str(uuid.uuid4())
        self.run("ceph-authtool", "-C", "mon.keyring", "-g", "-n", "mon.", "--cap", "mon", "allow *")
        self.run("ceph-authtool", "-C", "admin.keyring", "-g", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *")
        self.run("ceph-authtool", "mon.keyring", "--import-keyring", "admin.keyring")
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", f"[v2:127.0.0.1:{self.ends[0]},v1:127.0.0.1:{self.ends[1]}]", "monmap")
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "mon.keyring")
        self.daemon("ceph-mon", "-i", "a")
        self.run("ceph", "osd", "new", osd)
        self.run("ceph", "auth", "get-or-create", "osd.0", "mon", "allow profile osd", "osd", "allow *", "-o", "osd.keyring")
        self.run("ceph", "auth", "get-or-create", "client.rgw.a", "mon", "allow rw", "osd", "allow rwx", "-o", "rgw.keyring")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.daemon("ceph-osd", "-i", "0")
        self.daemon("radosgw", "-n", "client.rgw.a")
        self.run("radosgw-admin", "user", "create", "--uid", "davit", "--display-name", "davit", "--access-key", self.access_key,
                 "--secret", self.secret_key)
        self.until_it_answers()
        return self

    def until_it_answers(self):
        end = time.monotonic() + 120
        while True:
            try:
                self.request("GET", "/")
                return
            except OSError:
                if time.monotonic() > end or self.daemons[-1].poll() is not None:
                    raise RuntimeError("the gateway does not start") from None
                time.sleep(0.1)

    def stop(self):
        # The gateway first: it waits for ever once its store is gone.
        for process in reversed(self.daemons):
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    # ---- a client of its own ----

    def request(self, method, path, body=b""):
        """path: encoded, with its query sorted."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        where, _, query = path.partition("?")
        host, digest = f"127.0.0.1:{self.port}", hashlib.sha256(body).hexdigest()
        names = "host;x-amz-content-sha256;x-amz-date"
        canonical = f"{method}\n{where}\n{query}\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n\n{names}\n{digest}"
        scope = f"{day}/us-east-1/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret_key).encode()
        for word in (day, "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers = {"x-amz-content-sha256": digest, "x-amz-date": stamp,
                   "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def bucket(self, name):
        status, body = self.request("PUT", f"/{name}")
        assert status == 200, body

    def keys(self, bucket, prefix=""):
        status, body = self.request("GET", f"/{bucket}/?list-type=2&prefix={urllib.parse.quote(prefix, safe='')}")
        assert status == 200, body
        return [part.split("</Key>")[0] for part in body.decode().split("<Key>")[1:]]

    def uploads(self, bucket):
        status, body = self.request("GET", f"/{bucket}/?uploads=")
        assert status == 200, body
        return body.decode().count("<UploadId>")

    def target(self, bucket, **more):
        """An entry of a deployment file's targets."""
        return {"s3": {"url": self.url, "bucket": bucket, "access_key": self.access_key, "secret_key": self.secret_key, **more}}


def main():
    with Ceph() as s3:
        print(json.dumps({"url": s3.url, "access_key": s3.access_key, "secret_key": s3.secret_key}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
