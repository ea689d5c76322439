"""`davit run`: an empty job, and a job of a hundred trivial steps, each from the start of the program to its end."""
import os
import statistics
import subprocess
import time


def tree(b, name, steps):
    top = b.folder(name)
    os.makedirs(os.path.join(top, ".github/workflows"))
    with open(os.path.join(top, ".github/workflows/ci.yml"), "w", encoding="ascii") as f:
        f.write("on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n" + "      - run: ':'\n" * steps)
    subprocess.run(["git", "init", "-q", top], check=True)
    subprocess.run(["git", "-C", top, "add", "-A"], check=True)
    subprocess.run(["git", "-C", top, "-c", "user.name=a", "-c", "user.email=a@x", "commit", "-qm", "one"], check=True)
    return top


def rows(b):
    davit, runs = b.program("bin/davit"), 3 if b.quick else 20
    env = dict(os.environ, DAVIT_STATE=b.folder("here-state"))
    for steps, must, aim in ((1, 0.03, 0.02), (100, 0.5, 0.3)):
        top, times = tree(b, f"here-{steps}", steps), []
        for _ in range(runs + 1):                                 # the first one warms up
            start = time.monotonic()
            subprocess.run([davit, "run"], cwd=top, env=env, check=True, stdout=subprocess.DEVNULL)
            times.append(time.monotonic() - start)
        b.add(f"davit run of a job of {steps} trivial steps" if steps > 1 else "davit run of an empty job", "-", statistics.median(times[1:]), must,
              aim, unit="s")
