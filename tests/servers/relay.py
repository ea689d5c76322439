"""What stands between an agent and its service: TLS by a private authority, which may ask for the client's certificate, and a proxy that
wants a password. Both pass bytes on and know nothing of what they mean."""
import base64
import os
import socket
import ssl
import subprocess
import threading


class Authority:
    """A private CA in a folder, by openssl."""

    def __init__(self, folder):
        self.folder, self.ca = folder, os.path.join(folder, "ca.pem")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.path("ca.key"), "-out", self.ca,
                     "-days", "2", "-subj", "/CN=a private authority")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def issue(self, name, alternative):
        """Certificate and key of that name, as files."""
        cert, key, request, more = (self.path(f"{name}.{end}") for end in ("pem", "key", "csr", "ext"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        with open(more, "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{alternative}\n")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", more, "-out", cert)
        return cert, key


def pass_on(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def join(one, other):
    with one, other:
        back = threading.Thread(target=pass_on, args=(other, one), daemon=True)
        back.start()
        pass_on(one, other)
        back.join(5)


class Listener:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port, self.seen = self.socket.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_one, args=(client,), daemon=True).start()

    def serve_one(self, client):
        try:
            self.serve(client)
        except OSError:
            client.close()

    def serve(self, client):
        raise NotImplementedError

    def close(self):
        self.socket.close()


class TlsRelay(Listener):
    """To a port of this machine that is set later. client_ca: only clients with a certificate of that authority."""

    def __init__(self, cert, key, client_ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        self.target = None
        super().__init__()

    def serve(self, client):
        with self.context.wrap_socket(client, server_side=True) as tls:
            peer = tls.getpeercert()
            self.seen.append(dict(part[0] for part in peer["subject"])["commonName"] if peer else None)
            join(tls, socket.create_connection(("127.0.0.1", self.target)))


class Proxy(Listener):
    """CONNECT alone, with Basic; it knows the names that it is given and no other."""

    def __init__(self, user, password, names):
        self.wanted, self.names, self.refused = base64.b64encode(f"{user}:{password}".encode()).decode(), names, 0
        super().__init__()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head and len(head) < 65536:
            data = client.recv(4096)
            if not data:
                client.close()
                return
            head += data
        first, *lines = head.split(b"\r\n\r\n")[0].decode().split("\r\n")
        method, where, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.seen.append(where)
        host = where.rpartition(":")[0]
        if headers.get("proxy-authorization") != "Basic " + self.wanted:
            self.refused += 1
            client.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
            client.close()
        elif method != "CONNECT" or host not in self.names:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            client.close()
        else:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            join(client, socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2]))))
