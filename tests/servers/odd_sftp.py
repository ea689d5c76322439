#!/usr/bin/env python3
"""The program behind the subsystem `sftp` of a test's sshd: a server that is old, odd or ill-willed, by the word that the
file MODE_FILE holds:  odd_sftp.py MODE_FILE

    plain       speaks SFTP without any extension, answers readings shorter than they were asked for
    backwards   the same, but holds answers back for a moment and gives the last one first
    silent      says nothing at all            mute      says nothing after its version
    greeting    begins with what a .bashrc prints
    slash       lists a name with a slash      many      lists names without end
    huge        announces a message of 1 GiB   stranger  answers what nobody asked
    twice       answers every writing twice    short     cuts its list of names off
    gone        ends in the middle of a writing
"""
import os
import select
import struct
import sys

INIT, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, FSETSTAT, OPENDIR, READDIR = 1, 3, 4, 5, 6, 7, 8, 10, 11, 12
REMOVE, MKDIR, STAT, RENAME = 13, 14, 17, 18
OK, EOF, NO_SUCH_FILE, FAILURE, UNSUPPORTED = 0, 1, 2, 4, 8

with open(sys.argv[1]) as f:
    MODE = f.read().strip()
held = []


def text(data):
    return struct.pack(">I", len(data)) + data


def put(kind, body):
    message = struct.pack(">IB", len(body) + 1, kind) + body
    if MODE == "backwards" and kind in (101, 103):
        held.append(message)
        return
    sys.stdout.buffer.write(message)
    sys.stdout.buffer.flush()


def release():
    while held:
        sys.stdout.buffer.write(held.pop())
    sys.stdout.buffer.flush()


def status(number, code):
    put(101, struct.pack(">II", number, code))     # no text, as old servers have it


def status_of(number, error):
    status(number, NO_SUCH_FILE if isinstance(error, FileNotFoundError) else FAILURE)


def attributes(st):
    return struct.pack(">IQIIIII", 15, st.st_size, st.st_uid, st.st_gid, st.st_mode, int(st.st_atime) & 0xffffffff,
                       int(st.st_mtime) & 0xffffffff)


class Reader:
    def __init__(self, body):
        self.body = body

    def u32(self):
        value, self.body = struct.unpack(">I", self.body[:4])[0], self.body[4:]
        return value

    def u64(self):
        return self.u32() << 32 | self.u32()

    def text(self):
        size = self.u32()
        value, self.body = self.body[:size], self.body[size:]
        return value


def open_file(number, r):
    path, flags = r.text(), r.u32()
    mode = os.O_RDONLY if flags == 1 else os.O_WRONLY | (os.O_CREAT if flags & 8 else 0) | (os.O_EXCL if flags & 32 else 0)
    put(102, struct.pack(">I", number) + text(b"%d" % os.open(path, mode, 0o600)))


def list_names(number, listed=[0]):
    listed[0] += 1
    names = {"slash": [b"../../etc/passwd"], "many": [b"name%d-%d" % (listed[0], i) for i in range(1000)]}.get(MODE, [b"a"])
    if listed[0] > 1 and MODE != "many":
        return status(number, EOF)
    body = b"".join(text(n) + text(b"") + struct.pack(">I", 0) for n in names)
    if MODE == "short":
        body = body[:-2]
    return put(104, struct.pack(">II", number, len(names)) + body)


def answer(kind, number, r):
    if kind in (OPEN,):
        open_file(number, r)
    elif kind == OPENDIR:
        put(102, struct.pack(">I", number) + text(b"dir"))
    elif kind == READDIR:
        list_names(number)
    elif kind == CLOSE:
        handle = r.text()
        if handle != b"dir":
            os.close(int(handle))
        status(number, OK)
    elif kind == READ:
        handle, offset, size = r.text(), r.u64(), r.u32()
        data = os.pread(int(handle), min(size, 10000), offset)
        put(103, struct.pack(">I", number) + text(data)) if data else status(number, EOF)
    elif kind == WRITE:
        handle, offset, data = r.text(), r.u64(), r.text()
        if MODE == "gone" and offset > 100000:
            sys.exit(1)
        os.pwrite(int(handle), data, offset)
        for _ in range(2 if MODE == "twice" else 1):
            status(number, OK)
    elif kind in (FSTAT, STAT, LSTAT):
        what = r.text()
        put(105, struct.pack(">I", number) + attributes(
            os.fstat(int(what)) if kind == FSTAT else os.stat(what) if kind == STAT else os.lstat(what)))
    elif kind == FSETSTAT:
        handle = r.text()
        r.u32()
        os.fchmod(int(handle), r.u32() & 0o7777)
        status(number, OK)
    elif kind == REMOVE:
        os.unlink(r.text())
        status(number, OK)
    elif kind == RENAME:
        # As OpenSSH does it by this request: what is there stays.
        source, to = r.text(), r.text()
        os.link(source, to)
        os.unlink(source)
        status(number, OK)
    else:
        status(number, UNSUPPORTED)


def read_exactly(size):
    data = b""
    while len(data) < size:
        if held and not select.select([sys.stdin.buffer.raw], [], [], 0.05)[0]:
            release()
        piece = sys.stdin.buffer.raw.read(size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


if MODE == "greeting":
    sys.stdout.buffer.write(b"Welcome to shop.example!\n")
    sys.stdout.buffer.flush()
while True:
    body = read_exactly(struct.unpack(">I", read_exactly(4))[0])
    if MODE in ("silent", "greeting"):
        continue
    if body[0] == INIT:
        put(2, struct.pack(">I", 3))
        continue
    if MODE == "mute":
        continue
    asked = struct.unpack(">I", body[1:5])[0]
    if MODE == "huge":
        sys.stdout.buffer.write(struct.pack(">IB", 1 << 30, 101))
        sys.stdout.buffer.flush()
        continue
    try:
        answer(body[0], asked + 1000 if MODE == "stranger" else asked, Reader(body[5:]))
    except OSError as e:
        status_of(asked, e)
