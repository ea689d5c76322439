"""An nginx of a test's own on loopback, and certificates for it.

    with Nginx("server { listen 127.0.0.1:{tls} ssl; ssl_certificate {dir}/c.pem; ssl_certificate_key {dir}/k.pem; … }") as web:
        web.port["tls"], web.dir, web.ca (the authority's file)

{NAME} of a word that is not `dir` is a free port; `{{` and `}}` are not needed: only these words are replaced."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def lacking():
    return None if os.access(NGINX, os.X_OK) else "nginx is not installed"


def _openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


class Authority:
    """Signs certificates; its own is self.file."""

    def __init__(self, folder, organisation="Davit Test"):
        self.folder = folder
        self.file, self.key = os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.key, "-out", self.file,
                 "-days", "3650", "-subj", f"/O={organisation}/CN=Authority")

    def sign(self, name, names, days):
        """FOLDER/NAME.pem and .key: for these names, valid for so many days."""
        base = os.path.join(self.folder, name)
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", base + ".key", "-out", base + ".csr",
                 "-subj", "/CN=" + names[0])
        with open(base + ".ext", "w", encoding="ascii") as f:
            f.write("subjectAltName=" + ",".join(("IP:" if re.fullmatch(r"[0-9.]+", n) else "DNS:") + n for n in names))
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.file, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
                 "-extfile", base + ".ext", "-out", base + ".pem")


class Nginx:
    def __init__(self, servers, prepare=None):
        self.dir = tempfile.mkdtemp(prefix="davit-nginx-")
        self.port = {}
        self.servers = servers
        if prepare:
            prepare(self)

    def _free(self, name):
        if name not in self.port:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.port[name] = s.getsockname()[1]
        return str(self.port[name])

    def configure(self, servers):
        text = re.sub(r"\{(\w+)\}", lambda m: self.dir if m[1] == "dir" else self._free(m[1]), servers)
        temporary = " ".join(f"{kind}_temp_path {self.dir}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(os.path.join(self.dir, "conf"), "w", encoding="utf-8") as f:
            f.write(f"{'user root;' if os.geteuid() == 0 else ''} pid {self.dir}/pid; error_log {self.dir}/log; worker_processes 1; "
                    f"events {{ worker_connections 256; }} http {{ access_log {self.dir}/access; {temporary} {text} }}")

    def __enter__(self):
        self.configure(self.servers)
        subprocess.run([NGINX, "-c", os.path.join(self.dir, "conf")], check=True, capture_output=True)
        self._until_it_listens()
        return self

    def _until_it_listens(self):
        end = time.monotonic() + 20
        for port in self.port.values():
            while time.monotonic() < end:
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)

    def reload_command(self):
        return [NGINX, "-c", os.path.join(self.dir, "conf"), "-s", "reload"]

    def __exit__(self, *_):
        pid = os.path.join(self.dir, "pid")
        subprocess.run([NGINX, "-c", os.path.join(self.dir, "conf"), "-s", "stop"], check=False, capture_output=True)
        end = time.monotonic() + 10
        while os.path.exists(pid) and time.monotonic() < end:
            time.sleep(0.01)
        shutil.rmtree(self.dir, ignore_errors=True)
