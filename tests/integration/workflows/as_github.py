#!/usr/bin/env python3
"""Workflow files are read as GitHub's own implementation reads them (npm package @actions/workflow-parser): what is refused, on which
lines, and what the jobs and steps of a good file are.

good/ and bad/ beside this file are the corpus. What differs on purpose is in DIFFERENCES, each with its reason; a reason that no longer
holds fails. Everything under examples/ has no errors.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODULES = pathlib.Path(os.environ.get("DAVIT_TEST_WORKFLOW_PARSER", "/var/cache/davit-tests/workflow-parser")) / "node_modules"
DAVIT = os.path.join(os.environ.get("DAVIT_BUILD", ROOT / "build" / "dev"), "bin", "davit")

EARLY = "davit names the key that does not belong, the package where the steps around begin"
MISSING = "the package leaves the job out and then complains that there is none to start with"
YAML = "the two readers of YAML notice the mistake at different places"
DIFFERENCES = {
    "good/env-from-one-expression": "the server hands it to the runner, which evaluates it; the package takes only a map",
    "bad/no-steps": "a job without steps does nothing; the package lets it pass",
    "bad/step-ids-that-differ-in-case": "they are one name in the context `steps`; the package compares letter by letter",
    "bad/all-jobs-need-another": "davit names each job of the circle",
    "bad/background-inside-parallel": EARLY,
    "bad/parallel-inside-parallel": EARLY,
    "bad/wait-inside-parallel": EARLY,
    "bad/parallel-with-a-name": "davit goes by `parallel`, the package by the key that comes first",
    "bad/wait-with-a-condition": "davit goes by `wait`, the package by the key that comes first",
    "bad/several-mistakes": "the package does not look for needs once jobs are left out",
    "bad/alias-without-an-anchor": YAML,
    "bad/anchor-that-holds-itself": YAML,
    "bad/quote-that-is-not-closed": YAML,
    "bad/wrong-indent": YAML,
}
NO_FIRST_JOB = "The workflow must contain at least one job with no dependencies."
# What both look for. Others of davit's codes are about what fails when a job runs.
CODES = {"syntax", "unknown-key", "unknown-event", "unknown-job", "cycle", "expression", "condition-is-text", "cron", "yaml"}


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def theirs(node, files):
    done = subprocess.run([node, str(HERE / "oracle.mjs"), str(MODULES), *map(str, files)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{node}: status {done.returncode}\n{done.stderr[-2000:]}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        told = [e for e in answer["errors"] if e["message"] != NO_FIRST_JOB]
        answer["errors"] = told or answer["errors"]
    return {name_of(pathlib.Path(answer["file"])): answer for answer in answers}


def our_errors(files):
    with tempfile.TemporaryDirectory() as top:
        place = pathlib.Path(top) / ".github" / "workflows"
        place.mkdir(parents=True)
        for path in files:
            shutil.copy(path, place / f"{path.parent.name}={path.name}")
        done = subprocess.run([DAVIT, "validate", "--format", "json", top], capture_output=True, text=True)
    errors = {name_of(path): [] for path in files}
    for finding in json.loads(done.stdout):
        if finding["severity"] == "error" and (finding["code"] in CODES or "no step before" in finding["message"]):
            errors[pathlib.Path(finding["file"]).stem.replace("=", "/", 1)].append(finding)
    return errors


STEP = ("uses", "background", "wait", "wait-all", "cancel", "if", "run")


def our_jobs(path):
    """None: it has what davit does not do yet."""
    done = subprocess.run([DAVIT, "workflow", "show", str(path), "--json"], capture_output=True, text=True)
    if done.returncode != 0 and "is not supported" in done.stderr:
        return None
    if done.returncode != 0:
        return done.stderr
    return {job["id"]: {"needs": job["needs"], "if": job["if"], "uses": job.get("uses"), "steps": [our_step(s) for s in job.get("steps", [])]}
            for job in json.loads(done.stdout)["jobs"]}


def our_step(step):
    told = {"id": step.get("id"), **{key: step.get(key) for key in STEP}}
    if any(told[key] is not None for key in ("wait", "wait-all", "cancel")):
        told["if"] = None                                         # the package gives it none
    if any(target.startswith("__") for target in told["wait"] or []) or step["name"] == "Parallel group":
        told["wait"] = "the group"
    return told


def their_jobs(answer):
    return {job["id"]: {"needs": job["needs"], "if": job["if"], "uses": job.get("uses"), "steps": their_steps(job.get("steps") or [])}
            for job in answer["jobs"]}


def their_step(step):
    told = {"id": None if step["id"].startswith("__") else step["id"], **{key: step.get(key) for key in STEP}}
    told["cancel"] = [told["cancel"]] if told["cancel"] is not None else None
    return told


def their_steps(steps):
    """A group of steps side by side is its steps, in the background, and a step that waits for them."""
    out = []
    for step in steps:
        group = step.get("parallel")
        out += [their_step(step)] if group is None else [dict(their_step(s), background=True) for s in group] + [their_step({"id": "__", "wait": "the group"})]
    return out


def forget_expressions(mine, their):
    """Of a script with expressions davit shows what is known of them."""
    for job in their:
        for one, other in zip(mine.get(job, {}).get("steps", []), their[job]["steps"]):
            if other["run"] == "…":
                one["run"] = "…"


def difference(mine, their):
    if bool(mine) != bool(their):
        return "only davit refuses it" if mine else "only GitHub refuses it"
    if {e["line"] for e in mine} != {e["line"] for e in their}:
        return "they refuse different lines"
    for error in their:
        said = [e for e in mine if e["line"] == error["line"] and e["code"] == "expression"]
        if said and "expression" not in error["message"].lower() and not any(e["message"].startswith(error["message"].split(". Located")[0]) for e in said):
            return f"the mistake in the expression of line {error['line']} is told in other words"
    return None


def jobs_differ(path, answer):
    mine, their = our_jobs(path), their_jobs(answer)
    if isinstance(mine, dict):
        forget_expressions(mine, their)
    return None if mine is None or mine == their else f"other jobs:\n  davit:  {json.dumps(mine)}\n  github: {json.dumps(their)}"


def check_examples():
    done = subprocess.run([DAVIT, "validate", "--format", "json", str(ROOT / "examples")], capture_output=True, text=True)
    return [f"examples: {f['file']}:{f['line']}: {f['message']}" for f in json.loads(done.stdout) if f["severity"] == "error"]


def main():
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None or not (MODULES / "@actions" / "workflow-parser").is_dir():
        print(f"skipped: {'node is not installed' if node is None else f'{MODULES} does not hold @actions/workflow-parser'}")
        sys.exit(77)
    files = sorted(HERE.glob("good/*.yml")) + sorted(HERE.glob("bad/*.yml"))
    mine, their, failed, seen = our_errors(files), theirs(node, files), check_examples(), set()
    for path in files:
        name = name_of(path)
        why = difference(mine[name], their[name]["errors"])
        good = path.parent.name == "good"
        if bool(mine[name]) == good:
            failed.append(f"{name}: davit {'refuses' if good else 'takes'} it")
        if why is None and good:
            why = jobs_differ(path, their[name])
        if why is not None and name in DIFFERENCES:
            seen.add(name)
        elif why is not None:
            failed.append("\n".join([f"{name}: {why}", *(f"    davit  {e['line']}: {e['message']}" for e in mine[name]),
                                     *(f"    github {e['line']}: {e['message']}" for e in their[name]["errors"])]))
    failed += [f"{name}: no difference any more ({DIFFERENCES[name]})" for name in sorted(set(DIFFERENCES) - seen)]
    for line in failed:
        print(line)
    print(f"{len(files)} files, {len(failed)} differences without a reason, {len(seen)} with one")
    sys.exit(1 if failed else 0)


main()
