"""A proven snapshot of a PostgreSQL database against the same by hand: pg_dump, pg_restore into a scratch database, counts of both."""
import json
import os
import subprocess

from bench import Skip
from servers import postgres

SCALE, QUICK_SCALE = 65, 1      # of pgbench: 65 is 1 GB
PAIRS = 2                       # each takes minutes
TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_history", "pgbench_tellers")


def peak_mb(command):
    """The largest resident set of any process that it started, itself included."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
        complaints = p.stderr.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode != 0:
        raise RuntimeError(complaints.decode(errors="replace")[-2000:])
    return usage.ru_maxrss / 1024


def rows(b):
    why = postgres.lacking()
    if why:
        raise Skip(why)
    if not os.path.exists(os.path.join(postgres.programs(), "pgbench")):
        raise Skip("pgbench is not installed")
    place = b.folder("database")
    # As an ordinary server is set up for a database of that size: else both sides spend their time in checkpoints.
    with postgres.Postgres(("max_wal_size=4GB", "shared_buffers=256MB"), in_memory=False) as server:
        server.run("createdb", "shop")
        server.run("pgbench", "-i", "-q", "-s", str(QUICK_SCALE if b.quick else SCALE), "shop")
        file, dump = os.path.join(place, "deploy.json"), os.path.join(place, "dump")
        with open(file, "w", encoding="ascii") as f:
            json.dump({"name": "bench", "environment": "test", "targets": {"here": {"local": {}, "base": os.path.join(place, "base")}},
                       "steps": [{"snapshot": {"postgres": server.source("shop", prove=True, keep=1)}}]}, f)
        ours = ["env", f"DAVIT_STATE={os.path.join(place, 'state')}", b.program("bin/davit"), "deploy", file]

        def by_hand():
            server.run("pg_dump", "-Fc", "-f", dump, "shop")
            server.run("createdb", "-T", "template0", "scratch")
            server.run("pg_restore", "--exit-on-error", "-d", "scratch", dump)
            counts = "; ".join(f"SELECT count(*) FROM {table}" for table in TABLES)
            if server.sql("shop", counts) != server.sql("scratch", counts):
                raise RuntimeError("the counts differ")
            server.run("dropdb", "scratch")

        pairs, b.pairs = b.pairs, min(b.pairs, PAIRS)
        b.compare("a proven snapshot of a database of 1 GB", ours, {"pg_dump, pg_restore, counts by hand": (by_hand, 1.1, 1.0)})
        b.pairs = pairs
        b.add("memory of any process in it", "-", peak_mb(ours), 80, 40, unit="MB")
