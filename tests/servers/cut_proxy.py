#!/usr/bin/env python3
"""A TCP proxy on loopback that breaks connections when told so: cut_proxy.py TARGET_PORT.

Prints {"port": N}. Then, a line at a time on standard input, each answered by a line:
    cut            every connection is closed at once (a reset)
    cut-after N    the same, once N more bytes have gone to the target
    lose WORD N    the same, in place of the Nth piece with that word that comes from the target
    garble-to N    one bit is changed, once N more bytes have gone to the target
    garble-from N  the same of what comes from it
    hang-at WORD N as hang, from the Nth piece with that word on that goes to the target: that one is kept too
    hung           answered by "no" until that is so
    hang           nothing is passed on any more, connections stay open
    refuse         cut, and new connections are closed
    pass           everything works again
"""
import json
import selectors
import socket
import struct
import sys

target = int(sys.argv[1])
sel = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", 0))
pairs = {}          # socket → (peer, is_client)
state = {"hang": False, "refuse": False, "left": None, "lose": None, "hang_at": None}
garble = {}         # is_client → bytes until the one that is changed


def drop(sock):
    for s in (sock, pairs.get(sock, (None,))[0]):
        if s is None or s not in pairs:
            continue
        sel.unregister(s)
        del pairs[s]
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()


def cut():
    for s in list(pairs):
        if s in pairs:
            drop(s)


def accept():
    client, _ = listener.accept()
    if state["refuse"]:
        client.close()
        return
    server = socket.create_connection(("127.0.0.1", target))
    for a, b, is_client in ((client, server, True), (server, client, False)):
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pairs[a] = (b, is_client)
        sel.register(a, selectors.EVENT_READ)


def changed(data, is_client):
    left = garble.pop(is_client, None)
    if left is None:
        return data
    if left >= len(data):
        garble[is_client] = left - len(data)
        return data
    return data[:left] + bytes([data[left] ^ 4]) + data[left + 1:]


def is_the_one(data, which):
    if state[which] is None or state[which][0] not in data:
        return False
    word, count = state[which]
    state[which] = (word, count - 1) if count > 1 else None
    return count == 1


def forward(sock):
    peer, is_client = pairs[sock]
    try:
        data = sock.recv(65536)
        if is_client and data and state["left"] is not None:
            data = data[:state["left"]]
            state["left"] -= len(data)
        if not is_client and is_the_one(data, "lose"):
            drop(sock)
            return
        if is_client and is_the_one(data, "hang_at"):
            state["hang"] = True
            return
        if data:
            peer.sendall(changed(data, is_client))
        if not data or (is_client and state["left"] == 0):
            if state["left"] == 0:
                state["left"] = None
            drop(sock)
    except OSError:
        drop(sock)


def order(line):
    word, *rest = line.split()
    if word == "cut":
        cut()
    elif word == "cut-after":
        state["left"] = int(rest[0])
    elif word in ("lose", "hang-at"):
        state[word.replace("-", "_")] = (rest[0].encode(), int(rest[1]))
    elif word == "hung" and not state["hang"]:
        print("no", flush=True)
        return
    elif word in ("garble-to", "garble-from"):
        garble[word == "garble-to"] = int(rest[0])
    elif word == "hang":
        state["hang"] = True
    elif word == "refuse":
        state["refuse"] = True
        cut()
    elif word == "pass":
        if state["hang"]:
            cut()
        state.update(hang=False, refuse=False, left=None, lose=None, hang_at=None)
    print("ok", flush=True)


sel.register(listener, selectors.EVENT_READ)
sel.register(sys.stdin, selectors.EVENT_READ)
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
while True:
    if state["hang"]:
        text = sys.stdin.readline()
        if not text:
            break
        order(text)
        continue
    for key, _ in sel.select():
        if state["hang"]:
            break
        if key.fileobj is listener:
            accept()
        elif key.fileobj is sys.stdin:
            text = sys.stdin.readline()
            if not text:
                sys.exit(0)
            order(text)
            break
        elif key.fileobj in pairs:
            forward(key.fileobj)
