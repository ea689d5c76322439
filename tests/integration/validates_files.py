#!/usr/bin/env python3
"""davit validate: what GitHub would refuse and what would fail later is found, with its place and its code, and good files pass."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DAVIT = os.path.join(os.environ.get("DAVIT_BUILD", os.path.join(ROOT, "build", "dev")), "bin", "davit")

HEAD = "on: {push: , workflow_dispatch: {inputs: {where: {type: string}}}}\njobs:\n  build:\n    runs-on: ubuntu-latest\n    outputs: {digest: '${{ steps.one.outputs.d }}'}\n    steps:\n      - id: one\n        run: 'true'\n"

# What is added to HEAD, and the codes that are found.
WORKFLOWS = [
    ("", []),
    ("      - run: echo ${{ steps.one.outputs.x }} ${{ inputs.where }} ${{ github.sha }}\n", []),
    ("      - run: echo ${{ steps.two.outputs.x }}\n", ["unknown-step"]),
    ("      - run: echo ${{ steps.late.outcome }}\n      - id: late\n        run: x\n", ["unknown-step"]),
    ("      - run: echo ${{ inputs.were }}\n", ["unknown-input"]),
    ("      - run: echo ${{ github.commit }}\n", ["unknown-member"]),
    ("      - run: echo ${{ steps.one.output.x }} ${{ runner['ops'] }}\n", ["unknown-member"]),
    ("      - run: echo ${{ GitHub.SHA }} ${{ github.event.any.thing }} ${{ steps.*.outcome }} ${{ steps.one['outputs'].x }} ${{ job.services.db.ports['5432'] }}\n", []),
    ("      - run: echo ${{ github[format('{0}', 'sha')] }} ${{ github.* }} ${{ strategy.job-index }}\n", []),
    ("      - run: echo ${{ nope.x }}\n", ["expression"]),
    ("      - run: echo ${{ fromat('x') }}\n", ["expression"]),
    ("      - run: echo ${{ 'x\n", ["expression"]),
    ("      - if: ${{ success() }} && x\n        run: x\n", ["condition-is-text"]),
    ("      - run: echo \"${{ github.event.issue.title }}\"\n", ["script-injection"]),
    ("      - run: echo \"$T\"\n        env: {T: '${{ github.event.issue.title }}'}\n", []),
    ("      - run: git checkout ${{ github.head_ref }}\n", ["script-injection"]),
    ("      - run: echo ${{ github.event.commits[0].message }}\n", ["script-injection"]),
    ("      - run: echo ${{ github.event.comment.body || 'x' }}\n", ["script-injection"]),
    ("      - run: echo ${{ github.event.commits.*.author.name }} ${{ join(github.event.pages.*.title) }}\n", ["script-injection"]),
    ("      - run: echo '${{ toJSON(github.event) }}'\n", ["script-injection"]),
    ("      - run: echo ${{ env.TITLE }}\n        env: {TITLE: 'x ${{ github.event.issue.title }}'}\n", ["script-injection"]),
    ("      - run: echo ${{ env.TITLE }}\n        env: {TITLE: '${{ github.event.issue.number }}'}\n", []),
    ("      - run: echo ${{ contains(github.event.issue.title, 'x') }} ${{ github.head_ref == 'a' }} ${{ github.event.issue.title && 'a' || 'b' }}\n", []),
    ("      - run: echo ${{ hashFiles(github.head_ref) }} ${{ toJSON(github.event.issue.number) }} ${{ toJSON(steps) }}\n", []),
    ("      - run: git diff origin/${{ github.event.pull_request.base.ref }} ${{ github.event.commits[0].id }}\n", []),
    ("      - run: echo ${{ github.event.label.name }} ${{ github.event.pull_request.labels[0].name }} ${{ github.event.workflow_run.name }}\n", []),
    ("      - run: echo ${{ format('{0} {1}', github.sha) }}\n", ["expression"]),
    ("      - if: fromJSON('[1')[0] == 1\n        run: x\n", ["expression"]),
    ("      - run: echo ${{ format('{0} {{1}}', github.sha) }} ${{ fromJSON('[1]')[0] }} {0}\n", []),
    ("      - run: echo ${{ github.event.inputs.where }}\n", []),
    ("      - run: echo ${{ github.event.inputs.were }}\n", ["unknown-input"]),
    ("      - run: x\n        shell: zsh\n", ["unknown-shell"]),
    ("      - run: x\n        shell: perl {0}\n", []),
    ("      - rnu: x\n", ["syntax", "unknown-key"]),
    ("      - uses: davit-deploy/davit/actions/preflight@v1\n        with: {disck: 1G}\n", ["unknown-action-input"]),
    ("      - uses: davit-deploy/davit/actions/run@v1\n        with: {command: 'true', undo: none}\n", ["no-finish"]),
    ("      - uses: davit-deploy/davit/actions/setup@v1\n      - run: davit --version\n", []),
    ("      - uses: davit-deploy/davit/actions/setup@v1\n        with: {version: 1}\n", ["unknown-action-input"]),
    ("  two:\n    runs-on: ubuntu-lastest\n    steps: [{run: x}]\n", ["no-runner"]),
    ("  two:\n    runs-on: [self-hosted, ubuntu-2204]\n    steps: [{run: x}]\n", ["no-runner"]),
    ("  two:\n    runs-on: ${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-24-04, macos-latest], include: [{os: windwos-latest}]}}\n    steps: [{run: x}]\n",
     ["no-runner"]),
    ("  two:\n    runs-on: [selfhosted, linux]\n    steps: [{run: x}]\n", ["no-runner"]),
    # Labels of larger runners, of versions to come and of people's own.
    ("  two:\n    runs-on: ${{ matrix.os }}\n    strategy: {matrix: {os: [ubuntu-latest-m, Ubuntu-24.04-arm, ubuntu-30.04, macos-27-xlarge, windows-2031, windows-11-arm, macos-m1,"
     " ubuntu-large, ubuntu-slim, gpu, self-hosted-arm]}}\n    steps: [{run: x}]\n", []),
    ("  two:\n    needs: biuld\n    runs-on: x\n    steps: [{run: x}]\n", ["unknown-job"]),
    ("  two:\n    needs: [build]\n    runs-on: x\n    steps: [{run: '${{ needs.build.outputs.digest }}'}]\n", []),
    ("  two:\n    needs: [build]\n    runs-on: x\n    steps: [{run: '${{ needs.build.outputs.other }}'}]\n", ["unknown-output"]),
    ("  two:\n    runs-on: x\n    steps: [{run: '${{ needs.build.result }}'}]\n", ["unknown-need"]),
    ("  two:\n    needs: three\n    runs-on: x\n    steps: [{run: x}]\n  three:\n    needs: two\n    runs-on: x\n    steps: [{run: x}]\n", ["cycle"]),
    ("  two:\n    runs-on: x\n    strategy: {matrix: {os: [a, b], include: [{node: 1}]}}\n    steps: [{run: '${{ matrix.os }} ${{ matrix.node }}'}]\n", []),
    ("  two:\n    runs-on: x\n    strategy: {matrix: {os: [a, b]}}\n    steps: [{run: '${{ matrix.so }}'}]\n", ["unknown-matrix-key"]),
    ("  two:\n    runs-on: '${{ matrix.on || matrix.os }}'\n    strategy: {matrix: {os: [a, b]}}\n    steps: [{run: '${{ matrix.OS }}'}]\n", []),
    ("  two:\n    runs-on: x\n    strategy: {matrix: {os: [a, b], exclude: [{so: a}]}}\n    steps: [{run: x}]\n", ["bad-matrix"]),
    (f"  two:\n    runs-on: x\n    strategy: {{matrix: {{n: {list(range(257))}}}}}\n    steps: [{{run: x}}]\n", ["bad-matrix"]),
    ("  two:\n    runs-on: x\n    strategy: {matrix: {os: []}}\n    steps: [{run: x}]\n", ["syntax"]),
    ("  two:\n    runs-on: x\n    permissions: {contents: all}\n    steps: [{run: x}]\n", ["syntax"]),
    ("      - if: |\n          ${{ false }}\n        run: x\n", ["condition-is-text"]),
    ("      - if: >-\n          ${{ false }}\n        run: x\n", []),
    ("      - if: |\n          false\n        run: x\n", []),
    ("  two:\n    if: ' ${{ false }}'\n    runs-on: x\n    steps: [{run: x}]\n", ["condition-is-text"]),
    ("  two:\n    runs-on: x\n    defaults: {run: {shell: zsh}}\n    steps: [{run: x}]\n", ["unknown-shell"]),
    ("defaults: {run: {shell: zsh}}\n", ["unknown-shell"]),
    ("      - uses: docker://\n", ["syntax"]),
    ("      - uses: actions/checkout@v4.2.2\n        with: {fetch-dept: 0}\n", ["unknown-action-input"]),
    ("      - uses: actions/checkout@v2\n        with: {fetch-dept: 0}\n", []),
    ("      - uses: actions/github-script@v7\n        with: {script: 'f(`${{ github.event.issue.title }}`)'}\n", ["script-injection"]),
    ("      - uses: acme/script@v7\n        with: {script: '${{ github.event.issue.title }}'}\n", []),
    ("\tx\n", ["yaml"]),
    ("      - rnu: x\n        rnu: y\n  build:\n    needs: [one]\n", ["syntax", "unknown-key", "yaml"]),
]
TRIGGERS = {
    "{push: {paths: ['docs/**', '!docs/[a-z]*'], branches: v1}}": [],
    "{push: {paths: ['[z-a]']}}": ["bad-pattern"],
    "{push: {branches: '[abc'}}": ["bad-pattern"],
    "{push: {tags: ['!v1']}}": ["bad-pattern"],
    "{push: {branches: ['release 1']}}": ["bad-pattern"],
    "{push: {branches: ['a..b', 'v1:x', 'a~1']}}": ["bad-pattern"],
    "{push: {branches: ['refs/heads/main']}}": ["bad-pattern"],
    "{push: {paths: ['docs/a file', ' docs']}}": ["bad-pattern"],
    "{push: {paths: ['docs/a file'], branches: ['v1.*', 'a@b', 'release/**', '*', '**', 'ä'], tags: ['v[0-9]+.[0-9]+.x']}}": [],
    "{workflow_dispatch: {inputs: {" + ", ".join(f"i{n}: {{type: string}}" for n in range(25)) + "}}}": [],
    "{workflow_dispatch: {inputs: {" + ", ".join(f"i{n}: {{type: string}}" for n in range(26)) + "}}}": ["syntax"],
    "{push: {tags-ignore: ['v1']}}": [],
    "{pull_request: {paths-ignore: [./docs]}}": ["bad-pattern"],
    "{workflow_run: {workflows: [CI]}}": [],
    "{workflow_run: {workflows: [CD]}}": ["unknown-workflow"],
    "{workflow_run: {types: [completed]}}": ["unknown-workflow"],
    "workflow_run": ["unknown-workflow"],
    "[push, workflow_run]": ["unknown-workflow"],
    "{workflow_dispatch: {inputs: {n: {type: number, default: 1}, m: {type: number, default: '2'}, o: {type: choice, options: [a], default: a}}}}": [],
    "{workflow_dispatch: {inputs: {n: {type: number, default: ten}}}}": ["input-default"],
    "{workflow_dispatch: {inputs: {o: {type: choice, options: [a], default: b}}}}": ["input-default"],
    "{workflow_call: {outputs: {x: {value: '${{ jobs.a.outputs.o }}'}}}}": [],
    "{workflow_call: {outputs: {x: {value: '${{ jobs.b.outputs.o }}'}}}}": ["unknown-job"],
    "{workflow_call: {outputs: {x: {value: '${{ jobs.a.outputs.p }}'}}}}": ["unknown-output"],
}
# The runner reads these without a word, or fails by them.
COMPOSITE = "runs: {using: composite, steps: [{run: x, shell: sh}]}\n"
MANIFESTS = {
    "name: a\n" + COMPOSITE: [],
    "name: a\nlicense: MIT\ninputs: {x: {defualt: y}}\n" + COMPOSITE: ["warning", "warning"],
    COMPOSITE: ["warning"],
    "name: a\nruns: {using: Node20, main: x.js}\n": [],
    "name: a\nruns: {using: composite, steps: [{run: 'echo ${{ secrets.X }}', shell: sh}]}\n": ["error"],
    "name: a\nruns: {using: composite, steps: [{run: x, shell: sh, if: needs.x && always()}]}\n": [],
    "name: a\nruns: {using: composite, steps: [{run: 'echo ${{ github.head_ref }}', shell: sh}]}\n": ["warning"],
    "name: a\nruns: {using: composite, steps: [{run: 'echo ${{ env.R }}', shell: sh, env: {R: '${{ github.head_ref }}'}}]}\n": ["warning"],
    "name: a\nruns: {using: composite, steps: [{run: 'echo $R', shell: sh, env: {R: '${{ github.head_ref }}'}}]}\n": [],
    "name: a\nruns: {using: composite, steps: [{run: \"${{ format('{1}', inputs.x) }}\", shell: sh}]}\ninputs: {x: {}}\n": ["error"],
    "name: a\ninputs: {t: {default: '${{ github.token }}'}}\n" + COMPOSITE: [],
    "name: a\ninputs: {t: {default: '${{ env.X }}'}}\n" + COMPOSITE: ["error"],
    "name: a\noutputs: {t: {value: '${{ steps.x.outputs.y }}'}}\n" + COMPOSITE.replace("{run", "{id: X, run"): [],
    "name: a\noutputs: {t: {value: '${{ needs.x }}'}}\n" + COMPOSITE: ["error"],
    "name: a\nname: b\n" + COMPOSITE.replace("run: x", "rnu: x"): ["error", "error", "error"],
    "name: a\nruns: {using: composite, steps: [&s {run: x, shell: sh}, *s]}\n": ["error"],
    "name: a\ninputs: {x: }\nruns: {using: docker, image: Dockerfile, args: ['${{ inputs.x }}', '${{ github.sha }}']}\n": ["error"],
}
CRON = {"0 4 * * *": True, "*/15 0-6,20 1 JAN-MAR MON": True, "60 * * * *": False, "* * * *": False, "* * * * * *": False, "a b c d e": False, "0 4 * * 8": False,
        "1- * * * *": False, "*/0 * * * *": False}
DEPLOYMENTS = [
    ("steps: [{apply: {resources: [{directory: {path: /a, id: d}}, {file: {path: '${{ resources.d.path }}/b', content: x}}]}}]", []),
    ("steps:\n  - run: {command: x, undo: none}\n", []),
    ("steps:\n  - rum: {command: x}\n", ["schema"]),
    ("steps:\n  - run: {command: x, undo: none, timeuot: 3}\n", ["schema"]),
    ("steps:\n  - run: {command: x, undo: none, target: web}\n", ["unknown-target"]),
    ("targets: {web: {local: {}}}\nsteps:\n  - run: {command: '${{ targets.web.host }} ${{ secrets.A }}', undo: none}\n", []),
    ("steps:\n  - run: {command: '${{ targets.web.host }}', undo: none}\n", ["unknown-target"]),
    ("steps:\n  - run: {command: '${{ steps.a.outputs.b }}', undo: none}\n", ["unknown-step"]),
    ("steps:\n  - run: {command: '${{ matrix.a }}', undo: none}\n", ["expression"]),
    ("name: a\nsteps:\n  - run: {command: x, undo: none, timeuot: 3}\n", ["schema", "yaml"]),
]


def pages():
    """Code → its page."""
    found = {}
    for path in glob.glob(os.path.join(ROOT, "docs", "findings", "*.md")):
        with open(path, encoding="utf-8") as f:
            found[os.path.basename(path)[:-3]] = f.read()
    return found


def blocks(text):
    """Each file that a page shows: its name, its text."""
    return [tuple(block.removeprefix("# ").split("\n", 1)) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]


class Validate(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="davit-validate-")
        self.addCleanup(self.dir.cleanup)
        # This machine's agent would add what its labels say.
        os.environ["DAVIT_STATE"] = os.path.join(self.dir.name, "state")

    def put(self, name, text):
        path = os.path.join(self.dir.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def validate(self, *args):
        done = subprocess.run([DAVIT, "validate", *args, "--format", "json"], cwd=self.dir.name, capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 2), done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(done.returncode, 2 if any(f["severity"] == "error" for f in found) else 0)
        return found

    def codes(self, *args):
        return sorted({f["code"] for f in self.validate(*args)})

    def test_each_mistake_of_a_workflow_is_found_by_its_code(self):
        for added, wanted in WORKFLOWS:
            path = self.put(".github/workflows/x.yml", HEAD + added)
            found = self.validate(path)
            self.assertEqual(sorted({f["code"] for f in found}), wanted, (added, found))
            for f in found:
                self.assertGreater(f["line"], 0, f)
                self.assertGreater(f["column"], 0, f)

    def test_a_matrix_key_in_a_job_without_a_matrix_is_empty_and_only_warned_of(self):
        path = self.put(".github/workflows/x.yml", HEAD + "      - if: matrix.os == 'a'\n        run: 'true'\n")
        self.assertEqual([(f["severity"], f["code"], f["message"]) for f in self.validate(path)],
                         [("warning", "unknown-matrix-key", "job 'build' has no matrix: matrix.os is empty")])

    def test_a_script_injection_names_what_a_stranger_chooses(self):
        for expression, what in (("github.event.commits[0].author['name']", "github.event.commits.*.author.name"), ("toJSON(github.event)", "parts of github.event")):
            path = self.put(".github/workflows/x.yml", HEAD + f'      - run: "echo ${{{{ {expression} }}}}"\n')
            self.assertEqual([f["message"] for f in self.validate(path)], [f"a stranger chooses {what}, which becomes part of the script"])

    def test_a_directory_is_looked_through_as_the_work_tree_is(self):
        subprocess.run(["git", "init", "-q", self.dir.name], check=True)
        key = "-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n"
        self.put("a b/id", key)
        self.put("a bc/id", key)
        self.put("a b/db/migrations/1.sql", "select 1;\n")
        self.put("migrations/1.sql", "select 1;\n")
        self.put(".github/workflows/x.yml", "on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
        subprocess.run(["git", "-C", self.dir.name, "add", "a b/id", "a bc/id", ".github"], check=True)
        below = [("a b/db/migrations/1.sql", "migration-not-committed"), ("a b/id", "private-key")]
        everything = [*below, ("a bc/id", "private-key"), ("migrations/1.sql", "migration-not-committed")]
        for paths, wanted in ((["a b"], below), (["./a b/"], below), (["."], everything), ([], everything), (["a b/db", "a bc"], [below[0], everything[2]]), ([".github/workflows/x.yml"], [])):
            self.assertEqual([(os.path.normpath(f["file"]), f["code"]) for f in self.validate(*paths)], wanted, paths)
        top = os.path.join(self.dir.name, "a b")
        self.assertEqual([(f["file"], f["code"]) for f in self.validate(top)], [(os.path.join(self.dir.name, file), code) for file, code in below])
        done = subprocess.run([DAVIT, "validate", "."], capture_output=True, text=True, cwd=self.dir.name)
        self.assertIn("\n3 files, 4 errors, 0 warnings\n", done.stdout)

    def test_inputs_that_no_event_brings_are_empty(self):
        path = self.put(".github/workflows/x.yml", "on: push\njobs: {a: {runs-on: x, steps: [{run: 'echo ${{ inputs.a }}'}, {run: \"echo ${{ inputs.b || 'c' }}\"}]}}\n")
        self.assertEqual([(f["column"], f["severity"], f["code"]) for f in self.validate(path)], [(38, "warning", "unknown-input")])

    def test_cron_lines(self):
        for line, good in CRON.items():
            path = self.put(".github/workflows/x.yml", f"on: {{schedule: [{{cron: '{line}'}}]}}\njobs: {{a: {{runs-on: x, steps: [{{run: x}}]}}}}\n")
            self.assertEqual(self.codes(path), [] if good else ["cron"], line)

    def test_a_file_that_is_too_large_is_named_once(self):
        path = self.put(".github/workflows/x.yml", "#" * (1 << 20) + "\n")
        self.assertTrue(self.validate(path)[0]["message"].startswith("1048577 bytes"))

    def test_what_would_start_a_workflow_never_or_not_as_meant(self):
        for on, wanted in TRIGGERS.items():
            path = self.put(".github/workflows/x.yml", f"name: CI\non: {on}\njobs: {{a: {{runs-on: x, outputs: {{o: x}}, steps: [{{run: x}}]}}}}\n")
            self.assertEqual(self.codes(path), wanted, on)

    def test_a_manifest_is_judged_by_what_its_places_know(self):
        for runs, severities in MANIFESTS.items():
            path = self.put("act/action.yml", runs)
            found = self.validate(path)
            self.assertEqual([f["severity"] for f in found], severities, (runs, found))

    def test_deployment_files_are_checked_without_their_values(self):
        for added, wanted in DEPLOYMENTS:
            path = self.put("deploy.yml", "name: shop\nenvironment: production\n" + added)
            self.assertEqual(self.codes(path), wanted, added)

    def test_the_examples_are_good(self):
        sites = sorted(glob.glob(os.path.join(ROOT, "examples", "*", "site")))
        self.assertTrue(sites)
        for site in sites:
            files = sorted(glob.glob(os.path.join(site, ".github", "workflows", "*.yml")) + glob.glob(os.path.join(site, "*.yml")))
            found = subprocess.run([DAVIT, "validate", *(os.path.relpath(f, site) for f in files)], cwd=site, capture_output=True, text=True, check=False)
            self.assertEqual(found.returncode, 0, f"{site}\n{found.stdout}{found.stderr}")

    def test_a_local_action_is_asked_for_its_inputs(self):
        subprocess.run(["git", "init", "-q", self.dir.name], check=True)
        self.put("a/action.yml", "name: a\ninputs: {x: {required: true}, y: {required: true, default: '1'}}\nruns: {using: composite, steps: [{run: 'echo ${{ inputs.x }}', shell: sh}]}\n")
        path = self.put(".github/workflows/x.yml", HEAD + "      - uses: ./a\n        with: {z: 1}\n")
        self.assertEqual(self.codes(path), ["missing-action-input", "unknown-action-input"])
        self.assertEqual(self.codes("a/action.yml"), [])
        self.assertEqual(self.codes(self.put(".github/workflows/x.yml", HEAD + "      - uses: ./a\n        with: {X: 1}\n")), [])
        calls = "name: b\noutputs: {d: {value: '${{ steps.A.outputs.x }}'}}\nruns: {using: composite, steps: [{id: a, uses: ./a, with: WITH}, {run: 'echo ${{ steps.a.outcome }}', shell: sh}]}\n"
        self.put("b/action.yml", calls.replace("WITH", "{x: 1}"))
        self.assertEqual(self.codes("b/action.yml"), [])
        self.put("b/action.yml", calls.replace("WITH", "{z: '${{ steps.a.outputs.y }}'}").replace("steps.A", "steps.no"))
        self.assertEqual(self.codes("b/action.yml"), ["missing-action-input", "unknown-action-input", "unknown-step"])
        for name, wanted in (("D", []), ("e", ["unknown-output"])):
            path = self.put(".github/workflows/x.yml", HEAD + "      - id: b\n        uses: ./b\n      - run: echo ${{ steps.b.outputs.%s }}\n" % name)
            self.assertEqual(self.codes(path), wanted, name)
        self.put("b/action.yml", "name: b\nruns: {using: node20, main: x.js}\n")
        self.assertEqual(self.codes(path), [])
        self.put("a/action.yml", "name: a\nruns: {using: composite, steps: [{run: 'echo ${{ inputs.x }}'}]}\n")
        self.assertEqual(self.codes("a/action.yml"), ["missing-shell", "unknown-input"])

    def test_a_called_workflow_is_asked_for_its_inputs_and_secrets(self):
        subprocess.run(["git", "init", "-q", self.dir.name], check=True)
        self.put(".github/workflows/called.yml", """
on:
  workflow_call:
    inputs: {Target: {type: string, required: true}, n: {type: number}, dry: {type: boolean, default: false}}
    secrets: {token: {required: true}, other: {}}
    outputs: {digest: {value: a}}
jobs: {a: {runs-on: x, steps: [{run: x}]}}
""")
        self.put(".github/workflows/not.yml", "on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
        for called, wanted in [
            ("called.yml\n    with: {target: a, n: 3, dry: '${{ github.ref }}'}\n    secrets: {TOKEN: '${{ secrets.T }}'}", []),
            ("called.yml\n    with: {target: a}\n    secrets: inherit", []),
            ("called.yml\n    secrets: inherit", ["missing-call-input"]),
            ("called.yml\n    with: {target: a}", ["missing-call-input"]),
            ("called.yml\n    with: {target: a, tarket: b}\n    secrets: inherit", ["unknown-call-input"]),
            ("called.yml\n    with: {target: a, n: many, dry: 'no'}\n    secrets: inherit", ["call-input-type", "call-input-type"]),
            ("called.yml\n    with: {target: a}\n    secrets: {token: x, tokken: y}", ["unknown-call-input"]),
            ("called.yml\n    with: {target: a}\n    secrets: inherit\n  b: {needs: a, runs-on: x, steps: [{run: '${{ needs.a.outputs.Digest }}'}]}", []),
            ("called.yml\n    with: {target: a}\n    secrets: inherit\n  b: {needs: a, runs-on: x, steps: [{run: '${{ needs.a.outputs.dig }}'}]}",
             ["unknown-output"]),
            ("none.yml", ["unknown-workflow"]), ("not.yml", ["unknown-workflow"]), ("../x.yml", ["syntax"]),
        ]:
            path = self.put(".github/workflows/x.yml", f"on: push\njobs:\n  a:\n    uses: ./.github/workflows/{called}\n")
            self.assertEqual([f["code"] for f in self.validate(path)], wanted, called)

    def test_forms_of_the_answer(self):
        path = self.put(".github/workflows/x:y.yml", HEAD + "      - run: echo ${{ steps.two.outputs.x }}\n")
        out = {form: subprocess.run([DAVIT, "validate", path, "--format", form], capture_output=True, text=True, cwd=self.dir.name)
               for form in ("text", "github", "sarif")}
        self.assertIn("error: job 'build' has no step with the id 'two' [unknown-step]", out["text"].stdout)
        self.assertIn("x%3Ay.yml,line=9,col=14,title=unknown-step::job", out["github"].stdout)
        sarif = json.loads(out["sarif"].stdout)
        self.assertEqual(sarif["version"], "2.1.0")
        run = sarif["runs"][0]
        self.assertEqual(run["results"][0]["ruleId"], "unknown-step")
        self.assertEqual(run["columnKind"], "unicodeCodePoints")
        self.assertEqual(run["tool"]["driver"]["rules"][0]["help"]["markdown"], pages()["unknown-step"])
        self.assertEqual(run["tool"]["driver"]["rules"][0]["fullDescription"]["text"], pages()["unknown-step"].split("\n\n")[2])
        self.assertRegex(run["tool"]["driver"]["version"], r"^[0-9]+\.[0-9]+\.[0-9]+$")
        self.put("naïve 100%:x.yml", "jobs: {a: {runs-on: x, steps: [{rnu: 'ä𝄞'}]}}\n")
        out = subprocess.run([DAVIT, "validate", "naïve 100%:x.yml", "--format", "sarif"], capture_output=True, text=True, cwd=self.dir.name)
        self.assertEqual({result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in json.loads(out.stdout)["runs"][0]["results"]},
                         {"na%C3%AFve%20100%25%3Ax.yml"})

    def test_what_a_file_says_steers_no_terminal(self):
        path = self.put(".github/workflows/x.yml", 'on: push\njobs: {"a\\e[31m": {runs-on: x, steps: [{run: x}]}}\n')
        done = subprocess.run([DAVIT, "validate", path], capture_output=True, cwd=self.dir.name)
        self.assertEqual(done.returncode, 2)
        self.assertNotIn(b"\x1b", done.stdout + done.stderr)

    def test_the_inputs_of_githubs_checkout_are_those_that_are_carried_out(self):
        with open(os.path.join(ROOT, "agent", "actions", "checkout.c")) as f:
            names = re.findall(r'^\t\{"([a-z-]+)", take_', f.read(), re.M)
        self.assertGreater(len(names), 15)
        path = self.put(".github/workflows/x.yml", HEAD + "      - uses: actions/checkout@v4\n        with: {" + ", ".join(f"{name}: x" for name in names) + "}\n")
        self.assertEqual(self.codes(path), [])

    def test_a_function_that_is_known_elsewhere_is_not_suggested(self):
        for call, hint in (("success()", "success() is known in conditions alone"), ("hashFiles('a')", "hashFiles() is known in steps alone")):
            text = "on: push\njobs: {a: {runs-on: x, env: {A: \"${{ CALL }}\"}, steps: [{run: x}]}}\n".replace("CALL", call)
            self.assertEqual([f["hint"] for f in self.validate(self.put(".github/workflows/x.yml", text))], [hint])

    def test_a_workflow_with_anchors_has_its_name(self):
        self.put(".github/workflows/ci.yml", "name: CI\non: push\njobs: {a: {runs-on: x, steps: [&s {run: x}, *s]}}\n")
        path = self.put(".github/workflows/x.yml", "on: {workflow_run: {workflows: [CI]}}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n")
        self.assertEqual(self.codes(path), [])

    def test_bytes_that_are_no_text_have_their_place(self):
        path = self.put(".github/workflows/x.yml", "")
        with open(path, "wb") as f:
            f.write("on: push\n# ä\nname: 'ö ".encode() + b"\xff'\n")
        self.assertEqual([(f["line"], f["column"], f["code"]) for f in self.validate(path)], [(3, 10, "yaml")])

    def test_every_key_that_stands_twice_is_found_with_what_else_is_wrong(self):
        path = self.put(".github/workflows/x.yml", "on: push\non: pull_request\njobs:\n  a: {runs-on: x, steps: [{run: x, name: y, name: z}]}\n  b: {needs: c, runs-on: x, steps: [{run: x}]}\n\t\n")
        self.assertEqual([(f["line"], f["column"], f["code"]) for f in self.validate(path)], [(2, 1, "yaml"), (4, 45, "yaml"), (6, 1, "yaml")])
        path = self.put(".github/workflows/x.yml", "on: push\non: pull_request\njobs:\n  a: {runs-on: x, steps: [{run: x, name: y, name: z}]}\n  b: {needs: c, runs-on: x, steps: [{run: x}]}\n")
        self.assertEqual([(f["line"], f["column"], f["code"]) for f in self.validate(path)], [(2, 1, "yaml"), (4, 45, "yaml"), (5, 14, "unknown-job")])

    def test_an_action_that_is_no_yaml_is_found_in_its_directory(self):
        for text in ("name: a\nruns: {using: [\n", "name: a\ndescription: b\n"):
            self.put("act/action.yml", text)
            self.assertNotEqual(self.codes("act"), [], text)
        self.put("act/action.yml", "[")
        self.put("act/template.yml", "{{ range }}: [")
        self.assertEqual([f["file"] for f in self.validate("act")], ["act/action.yml"])

    def test_a_word_that_is_no_code_is_told_with_the_nearest(self):
        for word, said in (("syntaxx", "did you mean 'syntax'?"), ("nope", "in brackets"), ("nope.yml", "name a deployment file")):
            done = subprocess.run([DAVIT, "explain", word], capture_output=True, text=True, cwd=self.dir.name)
            self.assertEqual((done.returncode, done.stdout), (2, ""), word)
            self.assertIn(said, done.stderr)

    def test_contexts_have_anchors_as_workflows_have(self):
        contexts = self.put("contexts.yml", "github: &g {ref: main}\nenv: *g\n")
        done = subprocess.run([DAVIT, "expr", "env.ref", "--contexts", contexts], capture_output=True, text=True, cwd=self.dir.name)
        self.assertEqual(json.loads(done.stdout), {"kind": "String", "value": "main"}, done.stderr)
        path = self.put(".github/workflows/x.yml", HEAD + "      - run: echo ${{ env.ref }}\n")
        done = subprocess.run([DAVIT, "validate", "--render", "--contexts", contexts, path], capture_output=True, text=True, cwd=self.dir.name)
        self.assertIn("echo main\n", done.stdout, done.stderr)
        self.put("contexts.yml", "a: &a [" + "x," * 99 + "x]\n" + "".join(f"{b}: &{b} [" + f"*{a}," * 99 + f"*{a}]\n" for a, b in ("ab", "bc", "cd")))
        done = subprocess.run([DAVIT, "expr", "a", "--contexts", contexts], capture_output=True, text=True, cwd=self.dir.name, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("more than 100000 values", done.stderr)

    def test_rubbish_is_refused_with_a_place(self):
        for text in ("", "[]", "jobs: 3", "jobs: {a: [}", "\0", "a: &a [*a, *a]\njobs: *a\n", "jobs: {a: {steps: {b: c}}}\n"):
            path = self.put(".github/workflows/x.yml", text)
            self.assertNotEqual(self.codes(path), [], text)
        done = subprocess.run([DAVIT, "validate", "none.yml"], capture_output=True, text=True, cwd=self.dir.name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.yml", done.stderr)

    def test_our_own_examples_pass(self):
        for path in glob.glob(os.path.join(ROOT, "examples", "**", "*.yml"), recursive=True) + glob.glob(os.path.join(ROOT, "actions", "*", "action.yml")):
            self.assertEqual([f for f in self.validate(path) if f["severity"] == "error" and f["code"] != "unknown-file"], [], path)

    def test_each_code_has_its_explanation(self):
        with open(os.path.join(ROOT, "docs", "findings.md")) as f:
            page = f.read()
        rows = re.findall(r"^\| \[`([a-z-]+)`\]\(findings/\1\.md\) \| (.*) \|$", page, re.M)
        self.assertEqual([code for code, _ in rows], sorted(pages()))
        for code, meaning in rows:
            sentence = meaning[0].upper() + meaning[1:] + "."
            done = subprocess.run([DAVIT, "explain", code], capture_output=True, text=True, check=True, cwd=self.dir.name)
            self.assertEqual(done.stdout, pages()[code])
            self.assertEqual(done.stdout.split("\n\n")[:2], [f"# `{code}`", sentence])
        for name in glob.glob(os.path.join(ROOT, "agent", "validate", "*.c")) + glob.glob(os.path.join(ROOT, "agent", "workflow", "*.c")):
            with open(name) as f:
                text = f.read()
            for code in set(re.findall(r'FINDING_(?:ERROR|WARNING),\s*"([a-z-]+)"|faults_code\([^,]*, "([a-z-]+)"\)', text)):
                self.assertIn(f"`{code[0] or code[1]}`", page, name)

    def test_what_the_page_of_a_code_shows_is_found_and_what_it_shows_instead_is_not(self):
        # Keys, tokens, migrations and runners are no matter of a text alone.
        without = {"migration-not-committed", "migration-not-pushed", "no-runner", "not-done-here", "private-key", "token"}
        subprocess.run(["git", "init", "-q", self.dir.name], check=True)
        for code, page in pages().items():
            wrong, _, right = page.partition("\nInstead:\n")
            files = [blocks(part) for part in (wrong, right)]
            self.assertEqual(files[0] == [], code in without, code)
            for (name, text) in files[0]:
                self.put(name, text)
            if files[0]:
                self.assertIn(code, self.codes(files[0][0][0]), code)
            for (name, text) in files[1]:
                self.put(name, text)
                self.assertEqual(self.codes(name), [], code)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
