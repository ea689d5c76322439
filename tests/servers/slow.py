"""A relay in front of a service that is slow on purpose: to one request of each rule its answer comes a byte at a time, or has headers without end. All
else passes through, a connection a request."""
import select
import socket
import threading

from servers.relay import Listener, join

STEP = 0.03


class SlowRelay(Listener):
    """rules: (part of the path, method, "bytes" | "headers"). With "bytes" the service has acted on the request, with "headers" it never saw it."""

    def __init__(self):
        self.target, self.rules, self.ended, self.lock = None, [], [], threading.Lock()
        super().__init__()

    def rule_for(self, method, path):
        with self.lock:
            found = next((r for r in self.rules if r[0] in path and r[1] == method), None)
            if found:
                self.rules.remove(found)
        return found

    def serve(self, client):
        with client:
            head, rest = read_head(client)
            if head is None:
                return
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            rule = self.rule_for(method, path)
            try:
                self.pass_on(client, head, rest, rule)
            finally:
                if rule:
                    self.ended.append(rule)

    def pass_on(self, client, head, rest, rule):
        if rule and rule[2] == "headers":
            drip(client, b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 100000)
            return
        service = socket.create_connection(("127.0.0.1", self.target))
        if b"\r\nupgrade: websocket" in head.lower():
            service.sendall(head + rest)
            join(client, service)
            return
        with service:
            service.sendall(head[:-2] + b"Connection: close\r\n\r\n" + rest)
            self.answer(client, service, rule)

    def answer(self, client, service, rule):
        kept = b""
        while True:
            ready, _, _ = select.select([client, service], [], [])
            if client in ready:
                data = client.recv(65536)
                if not data:
                    return  # it waits no more: nor must the service
                service.sendall(data)
            if service in ready:
                data = service.recv(65536)
                if rule:
                    kept += data
                elif data:
                    client.sendall(data)
                if not data:
                    break
        if rule:
            # However short it is, it takes longer than the client's patience.
            drip(client, kept[:-1] or b"H")
            wait_for_end(client)


def read_head(client):
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more or len(data) > 1 << 20:
            return None, b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def drip(client, data):
    """Until the client goes, or all but its end is said."""
    for i in range(len(data)):
        ready, _, _ = select.select([client], [], [], STEP)
        if ready and not client.recv(65536):
            return
        try:
            client.sendall(data[i:i + 1])
        except OSError:
            return


def wait_for_end(client):
    try:
        while client.recv(65536):
            pass
    except OSError:
        pass
