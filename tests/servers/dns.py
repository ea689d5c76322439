"""A name server of a test's own on 127.0.0.1:53: for a network namespace of the test's own, where that port is free.

    with Dns({"web.example": ["127.0.0.1"]}) as names: …      names.asked: the (name, type, "udp" or "tcp") that were asked for

A name with more addresses than a datagram holds is answered truncated, and whole over TCP; one in `silent` is not answered; all others are unknown."""
import socket
import socketserver
import struct
import threading

A, AAAA, UDP_MAX = 1, 28, 512


def _question(query):
    """→ name, type, and the bytes of the question."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii").lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0], query[12:at + 5]


class Dns:
    def __init__(self, names, silent=()):
        self.names, self.silent, self.asked = names, silent, []
        outer = self

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self):
                data, where = self.request
                answer = outer.answer(data, "udp")
                if answer:
                    where.sendto(answer, self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self):
                while len(head := self.rfile.read(2)) == 2:
                    answer = outer.answer(self.rfile.read(struct.unpack("!H", head)[0]), "tcp")
                    if answer:
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)

        class Udp(socketserver.ThreadingUDPServer):
            daemon_threads = True

        class Tcp(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True

        self.servers = [Udp(("127.0.0.1", 53), Datagram), Tcp(("127.0.0.1", 53), Stream)]
        self.threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True) for server in self.servers]

    def answer(self, query, by):
        name, kind, question = _question(query)
        self.asked.append((name, kind, by))
        if name in self.silent:
            return None
        known = self.names.get(name)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 60, 4) + socket.inet_aton(address) for address in known or ()] if kind == A else []

        def packet(records, truncated):
            # An answer, recursion wanted and there; the code of a name that does not exist.
            flags = 0x8180 | (0x0200 if truncated else 0) | (0 if known else 3)
            return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)
        whole = packet(records, False)
        return packet([], True) if by == "udp" and len(whole) > UDP_MAX else whole

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for server, thread in zip(self.servers, self.threads):
            server.shutdown()
            thread.join()
            server.server_close()
