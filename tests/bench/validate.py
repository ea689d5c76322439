"""`davit validate` of a workflow of a thousand lines, less what it takes for the smallest one: processor time, since the program's start varies
by more than what is looked for."""
import os
import statistics
import subprocess

SMALLEST = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: make\n"
STEP = """      - id: s{n}
        name: Step {n} on ${{{{ matrix.os }}}}
        if: github.event_name == 'push' && inputs.where != 'x{n}'
        env:
          A: ${{{{ {earlier} || github.sha }}}}
        run: |
          echo "${{{{ toJSON(matrix) }}}}" {n}
          make all
"""


def large(lines=1000):
    text, job = "name: Large\non: {push: {branches: [main]}, workflow_dispatch: {inputs: {where: {type: string}}}}\njobs:\n", 0
    while text.count("\n") < lines:
        job += 1
        needs = f"    needs: job{job - 1}\n" if job > 1 else ""
        text += f"  job{job}:\n    runs-on: ubuntu-latest\n{needs}    strategy:\n      matrix:\n        os: [a, b, c]\n    steps:\n"
        text += "".join(STEP.format(n=n, earlier=f"steps.s{n - 1}.outputs.a" if n > 0 else "github.ref") for n in range(8))
    return text


def cpu_ms(command):
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return (used.ru_utime + used.ru_stime) * 1000


def rows(b):
    davit, found = b.program("bin/davit"), []
    place = os.path.join(b.folder("validate"), ".github", "workflows")
    os.makedirs(place)
    for name, text in (("small.yml", SMALLEST), ("large.yml", large())):
        with open(os.path.join(place, name), "w", encoding="ascii") as f:
            f.write(text)
    for _ in range(3 if b.quick else 30):
        small, big = (cpu_ms([davit, "validate", os.path.join(place, name)]) for name in ("small.yml", "large.yml"))
        found.append(big - small)
    b.add("parse and check of a workflow of 1,000 lines", "-", statistics.median(found), 10, 5, unit="ms", spread=[min(found), max(found)])
