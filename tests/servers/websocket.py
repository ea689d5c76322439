#!/usr/bin/env python3
"""A WebSocket server that behaves as the path of the URL says: /good takes messages and answers the close, and the others are the ways to
fail: /refused, /accept, /extension, /plain, /silent, /closes, /drops, /rubbish, /huge, /masked, /pings, /deaf. By itself it prints its port."""
import base64
import hashlib
import socket
import struct
import sys
import threading


def frame(kind, data, final=True, mask=None):
    head = bytes([(0x80 if final else 0) | kind])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(data))
    if mask:
        data = bytes(c ^ mask[i % 4] for i, c in enumerate(data))
    return head + (mask or b"") + data


class Closed(Exception):
    pass


class WebSocketServer:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.messages, self.heads, self.pongs, self.closes = [], [], [], []
        self.open = []
        self.changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, how):
        return f"ws://127.0.0.1:{self.port}/{how}"

    def connections(self):
        return len(self.heads)

    def wait(self, look, timeout=20):
        with self.changed:
            assert self.changed.wait_for(look, timeout), (self.messages, self.heads)

    def note(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def close(self):
        self.listener.close()
        for connection in self.open:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self._talk(connection)
        except (Closed, OSError):
            pass
        finally:
            if connection.fileno() >= 0:
                connection.close()

    def _talk(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                raise Closed
            head += piece
        text = head.split(b"\r\n\r\n")[0].decode()
        how = text.split()[1].lstrip("/").split("?")[0]
        fields = dict(line.split(": ", 1) for line in text.split("\r\n")[1:])
        self.note(self.heads, {"path": text.split()[1], **fields})
        if how == "silent":
            while connection.recv(4096):
                pass
            raise Closed
        if how == "refused":
            connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            raise Closed
        if how == "plain":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            raise Closed
        if how == "endless":
            while True:
                connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        key = fields["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        more = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if how == "extension" else ""
        if how == "accept":
            accept = base64.b64encode(b"x" * 20).decode()
        answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n{more}Sec-WebSocket-Accept: {accept}\r\n\r\n"
        early = {"pings": frame(9, b"are you there"), "rubbish": b"\xff\xfe rubbish \x00" * 100, "masked": frame(1, b"x", mask=b"abcd"),
                 "huge": b"\x81\x7f" + struct.pack(">Q", 1 << 40), "closes": frame(8, struct.pack(">H", 1001) + b"going away")}.get(how, b"")
        connection.sendall(answer.encode() + early)
        if how == "deaf":
            with self.changed:
                self.changed.wait()         # until the server is closed: nothing is read
                self.changed.wait_for(lambda: self.listener.fileno() < 0)
            return
        self._read(connection, how)

    def _read(self, connection, how):
        stream = connection.makefile("rb")
        whole = b""
        while True:
            head = stream.read(2)
            if len(head) < 2:
                raise Closed
            assert head[1] & 0x80, "a client's frame is masked"
            length = head[1] & 0x7f
            if length > 125:
                wide = 2 if length == 126 else 8
                length = int.from_bytes(stream.read(wide), "big")
            mask = stream.read(4)
            data = bytes(c ^ mask[i % 4] for i, c in enumerate(stream.read(length)))
            kind = head[0] & 0xf
            if kind == 8:
                self.note(self.closes, int.from_bytes(data[:2], "big"))
                connection.sendall(frame(8, data[:2]))
                raise Closed
            if kind == 10:
                self.note(self.pongs, data.decode())
            if kind > 7:
                continue
            whole += data
            if head[0] & 0x80:
                self.note(self.messages, whole.decode())
                if how == "echo":
                    connection.sendall(frame(1, whole[:3], final=False) + frame(9, b"") + frame(0, whole[3:]))
                whole = b""
                if how == "drops":
                    raise Closed


if __name__ == "__main__":
    server = WebSocketServer()
    print(server.port, flush=True)
    sys.stdin.read()
