"""What the rows of tests/bench share: a tmpfs, trees of files, rounds that interleave the variants, and the table.

A row compares one of our commands with one or more tools: every round runs each variant once, in turn, after an untimed
preparation; the ratio of a round is our wall time over the tool's, and the figure is the median over the rounds. Seconds of a
shared machine are worth little, ratios of neighbours are.
"""
import contextlib
import ctypes
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


class Skip(Exception):
    """The row cannot run here; its text says why."""


class Bench:
    def __init__(self, build, place, pairs, quick):
        self.build = build
        self.place = place      # a folder on tmpfs, or where TMPDIR says
        self.pairs = pairs
        self.quick = quick      # small trees: to try the rows themselves
        self.results = []

    def program(self, *names):
        for name in names:
            path = os.path.join(self.build, name)
            if os.path.exists(path):
                return path
        raise Skip(f"{names[0]} is not built")

    def tool(self, name):
        path = shutil.which(name)
        if not path:
            raise Skip(f"{name} is not installed")
        return path

    def folder(self, name):
        path = os.path.join(self.place, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def compare(self, case, ours, tools, before=None, note=None):
        """ours: a command or a callable; tools: {name: (command or callable, must, aim)}. before(variant) prepares, untimed."""
        variants = {"ours": ours, **{name: tool[0] for name, tool in tools.items()}}
        times = {name: [] for name in variants}
        for round_ in range(self.pairs + 1):                      # the first round warms up
            for name, command in variants.items():
                if before:
                    before(name)
                start = time.monotonic()
                run(command)
                spent = time.monotonic() - start
                if round_ > 0:
                    times[name].append(spent)
        for name, (_, must, aim) in tools.items():
            ratios = [a / b for a, b in zip(times["ours"], times[name])]
            self.add(case, name, statistics.median(ratios), must, aim, unit="ratio", note=note,
                     ours=statistics.median(times["ours"]), theirs=statistics.median(times[name]),
                     spread=[min(ratios), max(ratios)])

    def add(self, case, against, value, must, aim, unit="ratio", faster=False, **more):
        """faster: a rate over the tool's, which should be high; else a time, which should be low."""
        sign = -1 if faster else 1
        verdict = "aim" if sign * value <= sign * aim else "must" if sign * value <= sign * must else "missed"
        self.results.append({"case": case, "against": against, "value": value, "unit": unit, "must": must, "aim": aim,
                             "verdict": verdict, **{k: v for k, v in more.items() if v is not None}})
        print(line(self.results[-1]), flush=True)

    def broken(self, case, why):
        self.results.append({"case": case, "verdict": "broken", "why": f"{type(why).__name__}: {why}"})
        print(f"{case:<50} broken: {type(why).__name__}: {why}", flush=True)

    def skip(self, case, why):
        self.results.append({"case": case, "verdict": "skipped", "why": why})
        print(f"{case:<50} skipped: {why}", flush=True)


def run(command):
    if callable(command):
        command()
        return
    shell = isinstance(command, str)
    done = subprocess.run(command, shell=shell, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: status {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")


def head():
    return f"{'case':<50} {'against':<20} {'value':>9} {'must':>8} {'aim':>8}  verdict"


def line(r):
    def show(x):
        return f"{x:.2f}" if r["unit"] == "ratio" else f"{x:.1f} {r['unit']}"
    seconds = f"  ({r['ours']:.2f} s / {r['theirs']:.2f} s)" if "ours" in r else ""
    note = f"  {r['note']}" if "note" in r else ""
    return (f"{r['case']:<50} {r['against']:<20} {show(r['value']):>9} {show(r['must']):>8} {show(r['aim']):>8}  "
            f"{r['verdict']:<7}{seconds}{note}")


@contextlib.contextmanager
def quiet_place(size="6G"):
    """A folder on a tmpfs of its own when root, else below TMPDIR: a journal-less disk makes file-heavy rows a lottery."""
    path = tempfile.mkdtemp(prefix="davit-bench-")
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = os.geteuid() == 0 and libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, f"size={size},mode=755".encode()) == 0
    if not mounted:
        print(f"no tmpfs of its own could be mounted: measuring in {path}", file=sys.stderr)
    try:
        yield path
    finally:
        if mounted:
            libc.umount2(path.encode(), 2)
        shutil.rmtree(path, ignore_errors=True)


REAL_TREES = ["/usr/include", "/usr/share", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/git-core", "/usr/src"]


def real_contents(limit):
    """Contents of files of this machine, in the order of their paths: sources, pages, data, as a web project has them."""
    taken = 0
    for top in REAL_TREES:
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path) or name.endswith((".gz", ".xz", ".mo")):
                    continue
                size = os.path.getsize(path)
                if not 0 < size <= 4 << 20:
                    continue
                with open(path, "rb") as f:
                    yield f.read()
                taken += size
                if taken >= limit:
                    return


def make_tree(top, files, total, per_dir=10, seed=1):
    """`files` files of together `total` bytes, cut from real contents; sizes vary as those of source files do. Returns the bytes."""
    stock = b"".join(real_contents(total))
    if len(stock) < min(total, 20_000_000):
        raise Skip(f"this machine has too few files below {', '.join(REAL_TREES)}")
    rng = random.Random(seed)
    weights = [rng.expovariate(1.0) + 0.01 for _ in range(files)]
    scale = total / sum(weights)
    made = at = 0
    for i, weight in enumerate(weights):
        number = i // per_dir
        folder = os.path.join(top, f"d{number % 37:02d}", f"e{number // 37 % 29:02d}", f"f{number:05d}")
        if i % per_dir == 0:
            os.makedirs(folder, exist_ok=True)
        size = max(1, int(weight * scale))
        if at + size > len(stock):
            at = rng.randrange(1000)                # the stock again, cut elsewhere
        with open(os.path.join(folder, f"file-{i:05d}.txt"), "wb") as f:
            f.write(stock[at:at + size])
        at += size
        made += size
    return made
