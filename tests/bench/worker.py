"""A job's start, its steps and its log: from the message that the forge hands out to the first log line of the workflow's first step, both at
the forge's socket and with everything in between (acknowledge, acquire, renew, start of the worker); and what a `run:` step
costs beyond `bash -e script`, from jobs of many steps against jobs of one; a log of one step with fifty secrets in it, up to the end of
its upload to the forge on the same processors, against `cat | cat` of the same bytes."""
import datetime
import os
import pathlib
import random
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "integration" / "agent")]

REPOSITORY = "octo/demo"
STEPS = 41
WORKFLOW = "name: b\non: push\njobs:\n  build:\n    runs-on: self-hosted\n    steps:\n"


def workflow(steps):
    return WORKFLOW + "      - run: echo hi\n" * steps


def stamp(request):
    return datetime.datetime.fromisoformat(request["time"].replace("Z", "+00:00")).timestamp() * 1000


def first_line_ms(forge):
    """Of the last job: answer to the poll that brought it → begin of the upload of the first step's log."""
    requests = forge.requests()
    took = [r for r in requests if r["path"].endswith("/acquirejob")][-1]
    polls = [r for r in requests if r["path"].endswith("/message") and r["status"] == 200 and stamp(r) + r["ms"] <= stamp(took) + 1]
    answered = stamp(polls[-1]) + polls[-1]["ms"]
    # The set-up's log is the first to arrive; the workflow's first step comes after it.
    logs = [r for r in requests if "/logs/steps/" in r["path"] and r["method"] == "PUT" and stamp(r) >= answered]
    paths = list(dict.fromkeys(r["path"] for r in logs))
    return stamp([r for r in logs if r["path"] == paths[1]][0]) - answered


def message_to_first_line(build, place, rounds):
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from harness import Agent, Forge
    root = pathlib.Path(tempfile.mkdtemp(prefix="davit-bench-worker-"))
    forge = Forge([REPOSITORY]).start()
    agent = Agent(root, DAVIT_PACE_PERCENT="100")
    found = []
    try:
        agent.configure(forge, REPOSITORY)
        agent.start().listening(1)
        for i in range(rounds + 1):
            forge.wait_online()
            sha = forge.repo(REPOSITORY).push({".github/workflows/ci.yml": workflow(1), "n": str(i)}, f"n {i}")
            run = forge.wait_run(REPOSITORY, sha, timeout=60)
            assert run["conclusion"] == "success", run
            found.append(first_line_ms(forge))
    finally:
        agent.kill()
        forge.__exit__()
        shutil.rmtree(root, ignore_errors=True)
    return found[1:]


def job_ms(house, steps, step="- run: echo hi\n", **settings):
    taken = house.take(step * steps)
    from servers.worker import Worker
    settings = house.settings(**settings)
    start = time.monotonic()
    worker = Worker(taken.message, settings)
    assert worker.wait() == 100, worker.errors
    return (time.monotonic() - start) * 1000


def bash_ms(place, count):
    script = os.path.join(place, "script.sh")
    with open(script, "w", encoding="ascii") as f:
        f.write("echo hi")
    start = time.monotonic()
    for _ in range(count):
        subprocess.run(["bash", "-e", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return (time.monotonic() - start) * 1000 / count


def per_step(build, place, rounds):
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from servers.worker import House
    added = []
    with House() as house:
        job_ms(house, 1)
        for _ in range(rounds):
            one, many = job_ms(house, 1), job_ms(house, STEPS)
            added.append((many - one) / (STEPS - 1) - bash_ms(place, STEPS - 1))
    return added


def command_ms(command, count):
    start = time.monotonic()
    for _ in range(count):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return (time.monotonic() - start) * 1000 / count


def per_action_step(build, place, rounds):
    """Added by a step inside a composite action to `bash -e script`, and by a JavaScript action to its program. That is true here: node's own
    start takes longer than what is looked for, and varies by more."""
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from servers.worker import House
    composite, javascript = [], []
    with House() as house:
        job_ms(house, 1)
        workspace = pathlib.Path(house.work) / "demo" / "demo"
        inner = "    - {run: echo hi, shell: bash -e {0}}\n".replace("bash -e {0}", "'bash -e {0}'")
        for name, text in (("one", "runs:\n  using: composite\n  steps:\n" + inner), ("many", "runs:\n  using: composite\n  steps:\n" + inner * STEPS),
                           ("js", "runs: {using: node20, main: main.js}\n")):
            (workspace / name).mkdir()
            (workspace / name / "action.yml").write_text(text)
        script = workspace / "js" / "main.js"
        script.write_text("console.log('hi')\n")
        for _ in range(rounds):
            one, many = job_ms(house, 1, "- uses: ./one\n"), job_ms(house, 1, "- uses: ./many\n")
            composite.append((many - one) / (STEPS - 1) - bash_ms(place, STEPS - 1))
            one, many = job_ms(house, 1, "- uses: ./js\n", node="/bin/true"), job_ms(house, STEPS, "- uses: ./js\n", node="/bin/true")
            javascript.append((many - one) / (STEPS - 1) - command_ms(["/bin/true", str(script)], STEPS - 1))
    return composite, javascript


def far_step(build, place, rounds):
    """A step of a job of many, its reports and logs included, over bash; the service answers 20 ms late."""
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from servers.worker import House
    found = []
    with House() as house:
        job_ms(house, 1)
        house.forge.faults(path="_services/", delay_ms=20, times=-1)
        for _ in range(rounds):
            one, many = job_ms(house, 1), job_ms(house, STEPS)
            found.append((many - one) / (STEPS - 1) / bash_ms(place, STEPS - 1))
    return found


SECRETS = ["".join(random.Random(i).choices(string.ascii_letters + string.digits + "+/=", k=16 + i % 33)) for i in range(50)]
WORDS = ["compile", "src/main.c", "-O2", "warning:", "unused", "linking", "[12/400]", "test", "passed", "0.03s", "node_modules/foo/bar.js", "ok"]


def write_log(path, short, count):
    rng = random.Random(1)
    with open(path, "w", encoding="ascii") as f:
        for i in range(count):
            own = rng.choice(SECRETS) if i % 1000 == 0 else ""
            f.write(f"line {i} {own}\n" if short else " ".join(rng.choices(WORDS, k=12)) + f" {own}\n")


def log_s(house, command):
    """A whole job of this one step, its log with the service."""
    from servers.worker import Worker
    taken = house.take(f"- run: {command}")
    taken.message["variables"].update({f"S{i}": {"value": s, "isSecret": True} for i, s in enumerate(SECRETS)})
    start = time.monotonic()
    worker = Worker(taken.message, house.settings())
    assert worker.wait() == 100, worker.errors
    return time.monotonic() - start


def log_ratios(build, place, rounds, short, count):
    """How many times faster `cat | cat` is, each time beside it."""
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from servers.worker import House
    path = os.path.join(place, "log.txt")
    write_log(path, short, count)
    found = []
    with House() as house:
        log_s(house, "true")
        for _ in range(rounds):
            took = log_s(house, f"cat {path}") - log_s(house, "true")
            start = time.monotonic()
            subprocess.run(f"cat {path} | cat > /dev/null", shell=True, check=True)
            found.append((time.monotonic() - start) / took)
    os.remove(path)
    return found


def peak_mb(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return next((int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def log_memory(build, place, size):
    """The most memory of the worker and of the forge while a step prints so many bytes, in lines of a thousand."""
    os.environ["DAVIT_BUILD"] = build
    tempfile.tempdir = place
    from servers.worker import House, Worker
    most = 0
    with House() as house:
        taken = house.take(f"- run: yes {'x' * 999} | head -c {size}")
        worker = Worker(taken.message, house.settings())
        while worker.process.poll() is None:
            most = max(most, peak_mb(worker.process.pid))
            time.sleep(0.02)
        assert worker.wait() == 100, worker.errors
        shown = house.forge.json("GET", "/runs?logs=0")[-1]
        assert shown["conclusion"] == "success", shown
        return most, peak_mb(house.forge.process.pid)


def rows(bench):
    bench.program("bin/davit", "davit")
    found = message_to_first_line(bench.build, bench.place, bench.pairs)
    bench.add("message to the first step's first log line", "-", statistics.median(found), 20, 15, unit="ms", spread=[min(found), max(found)])
    added = per_step(bench.build, bench.place, bench.pairs)
    bench.add("added per run: step", "bash -e script", statistics.median(added), 5, 2, unit="ms", spread=[min(added), max(added)])
    composite, javascript = per_action_step(bench.build, bench.place, bench.pairs)
    bench.add("added per step of a composite action", "bash -e script", statistics.median(composite), 5, 2, unit="ms", spread=[min(composite), max(composite)])
    bench.add("added per JavaScript action", "its program", statistics.median(javascript), 10, 4, unit="ms", spread=[min(javascript), max(javascript)])
    found = far_step(bench.build, bench.place, bench.pairs)
    bench.add("run: step, service 20 ms away", "bash -e script", statistics.median(found), 3.5, 2.5, unit="ratio", spread=[min(found), max(found)])
    for name, short in (("log through the worker, lines of 80 bytes", False), ("log through the worker, a million short lines", True)):
        count = 10000 if bench.quick else 1000000 if short else 600000
        found = log_ratios(bench.build, bench.place, bench.pairs, short, count)
        bench.add(name, "cat | cat", statistics.median(found), 0.20, 0.35, unit="ratio", faster=True, spread=[min(found), max(found)])
    size = 100_000_000 if bench.quick else 1_000_000_000
    for name, most in zip(("the worker", "the forge"), log_memory(bench.build, bench.place, size)):
        bench.add(f"memory of {name} while a step prints {size // 1_000_000} MB", "-", most, 30, 20, unit="MB")
