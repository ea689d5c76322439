#!/usr/bin/env python3
"""A JavaScript action on the packages that nearly all of them are built on, as it is: artifacts and caches between jobs, on the forge and
by `davit run`; composite actions within composite actions; an action that is a container."""
import importlib.util
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.tree import Tree, ends, log
from servers.docker import Docker

TOOLKIT = os.environ.get("DAVIT_TEST_SERVICES", "/var/cache/davit-tests/actions-services/toolkit.js")
WHY_NOT = None if os.path.isfile(TOOLKIT) else "the packages of GitHub's toolkit are not here: cmake/packages.sh test"
TOOLS = "octo/tools"

ACTION = {"real/action.yml": """
name: Real
inputs: {do: {required: true}, of: {default: '2026'}}
outputs: {said: {description: what it found}}
runs: {using: node20, main: main.js, post: post.js}
""", "real/main.js": """
const t = require('./toolkit.js'), fs = require('fs'), path = require('path'), crypto = require('crypto')
const {core, exec, http, toolCache} = t
const older = core.getInput('of') === '2025'
const artifact = (older ? t.artifactOf2025 : t.artifact), cache = older ? t.cacheOf2025 : t.cache
const client = new artifact.DefaultArtifactClient()
const key = `deps-${core.getInput('of')}`, name = `dist-${core.getInput('of')}`
const digest = file => crypto.createHash('sha256').update(fs.readFileSync(file)).digest('hex')
const does = {
  async upload() {
    fs.mkdirSync('dist/deep', {recursive: true})
    fs.writeFileSync('dist/large', crypto.createHash('shake256', {outputLength: 9 << 20}).update('seed').digest())
    fs.writeFileSync('dist/deep/small', 'hello from one job')
    const {id, size, digest} = await client.uploadArtifact(name, ['dist/large', 'dist/deep/small'], 'dist', {retentionDays: 3, compressionLevel: 1})
    core.setOutput('said', `${id > 0} ${size > 9 << 20} ${(digest || '').length}`)
    await client.uploadArtifact(name, ['dist/large'], 'dist').then(() => core.setFailed('twice'), e => core.info(`again: ${e.message}`))
  },
  async download() {
    fs.rmSync('got', {recursive: true, force: true})
    const listed = (await client.listArtifacts()).artifacts
    const {artifact: {id}} = await client.getArtifact(name)
    await client.downloadArtifact(id, {path: 'got'})
    core.setOutput('said', `${listed.map(a => a.name).sort()} ${fs.readFileSync('got/deep/small')} ${fs.statSync('got/large').size} ${digest('got/large').slice(0, 8)}`)
    await client.getArtifact('none').catch(e => core.info(`none: ${e.name}`))
  },
  async remove() {
    await client.deleteArtifact(name)
    core.setOutput('said', (await client.listArtifacts()).artifacts.length)
  },
  async save() {
    fs.mkdirSync('deps', {recursive: true})
    fs.writeFileSync('deps/lib', 'a library')
    core.setOutput('said', (await cache.saveCache(['deps'], key + '-1')) > 0)
    await cache.saveCache(['deps'], key + '-1')
  },
  async restore() {
    fs.rmSync('deps', {recursive: true, force: true})
    const found = await cache.restoreCache(['deps'], key + '-2', [key + '-'])
    core.setOutput('said', `${found} ${found ? fs.readFileSync('deps/lib') : ''} ${await cache.restoreCache(['other'], key + '-1')}`)
  },
  async rest() {
    const answer = await new http.HttpClient('real').getJson(`${process.env.GITHUB_API_URL}/repos/${process.env.GITHUB_REPOSITORY}`)
    const archive = path.join(process.env.RUNNER_TEMP, 'tool.tar.gz')
    fs.mkdirSync('tool', {recursive: true})
    fs.writeFileSync('tool/hello', '#!/bin/sh\\necho hello $1\\n', {mode: 0o755})
    await exec.exec('tar', ['-czf', archive, '-C', 'tool', 'hello'])
    const place = await toolCache.cacheDir(await toolCache.extractTar(archive), 'hello', '1.2.3')
    core.addPath(toolCache.find('hello', '1.x'))
    const {stdout} = await exec.getExecOutput(path.join(place, 'hello'), ['tool'], {silent: true})
    core.setSecret('hunter2 of the action')
    core.info('the secret is hunter2 of the action')
    core.saveState('left', 'a state')
    core.setOutput('said', `${answer.result.full_name} ${stdout.trim()}`)
    await core.summary.addHeading('Real', 2).addTable([['a', 'b']]).write()
  },
}
does[core.getInput('do')]().catch(e => core.setFailed(e.stack))
""", "real/post.js": "const {core} = require('./toolkit.js'); if (core.getState('left')) core.info(`post has ${core.getState('left')}`)\n",
    "outer/action.yml": """
inputs: {who: {default: nobody}}
outputs: {all: {value: '${{ steps.middle.outputs.all }} by outer'}}
runs:
  using: composite
  steps:
    - {id: middle, uses: octo/tools/middle@main, with: {who: '${{ inputs.who }}!'}}
    - {run: 'echo "outer sees ${{ steps.middle.outcome }} $SET_BELOW"', shell: bash}
""", "middle/action.yml": """
inputs: {who: {}}
outputs: {all: {value: '${{ steps.real.outputs.said }} and ${{ steps.own.outputs.v }}'}}
runs:
  using: composite
  steps:
    - {id: real, uses: octo/tools/real@main, with: {do: rest}}
    - {id: own, run: 'echo "v=${{ inputs.who }}" >> "$GITHUB_OUTPUT"; echo "SET_BELOW=yes" >> "$GITHUB_ENV"; hello path', shell: bash}
""", "contained/action.yml": """
inputs: {word: {default: none}}
outputs: {said: {description: what it says}}
runs: {using: docker, image: 'docker://local/base:1', args: [sh, -c, 'echo "said=$INPUT_WORD of $GITHUB_REPOSITORY" >> "$GITHUB_OUTPUT"; echo "in $GITHUB_WORKSPACE ${ACTIONS_RUNTIME_TOKEN:+token}"']}
"""}

FLOW = """on: push
jobs:
  one:
    runs-on: self-hosted
    strategy: {{matrix: {{of: ['2025', '2026']}}}}
    steps:
{checkout}      - {{id: up, uses: {real}, with: {{do: upload, of: '${{{{ matrix.of }}}}'}}}}
      - {{run: 'echo "up ${{{{ matrix.of }}}}: ${{{{ steps.up.outputs.said }}}}"'}}
      - {{id: save, uses: {real}, with: {{do: save, of: '${{{{ matrix.of }}}}'}}}}
      - {{run: 'echo "save ${{{{ matrix.of }}}}: ${{{{ steps.save.outputs.said }}}}"'}}
  two:
    needs: one
    runs-on: self-hosted
    steps:
{checkout}      - {{id: old, uses: {real}, with: {{do: download, of: '2025'}}}}
      - {{id: new, uses: {real}, with: {{do: download}}}}
      - {{id: cold, uses: {real}, with: {{do: restore, of: '2025'}}}}
      - {{id: cnew, uses: {real}, with: {{do: restore}}}}
      - {{id: gone, uses: {real}, with: {{do: remove}}}}
      - run: |
          echo 'old: ${{{{ steps.old.outputs.said }}}}'
          echo 'new: ${{{{ steps.new.outputs.said }}}}'
          echo 'old cache: ${{{{ steps.cold.outputs.said }}}}'
          echo 'new cache: ${{{{ steps.cnew.outputs.said }}}}'
          echo 'left: ${{{{ steps.gone.outputs.said }}}}'
"""
LARGE = "9437184 "


def agents():
    """tests/integration/agent/harness.py, whose name is that of another package."""
    place = importlib.util.spec_from_file_location("agents", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../agent/harness.py"))
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def toolkit():
    with open(TOOLKIT, "rb") as f:
        return f.read()


class Flow(unittest.TestCase):
    def flows(self, text):
        for line in ("up 2025: true true 64", "up 2026: true true 64", "save 2025: true", "save 2026: true",
                     "old: dist-2025,dist-2026 hello from one job " + LARGE, "new: dist-2025,dist-2026 hello from one job " + LARGE,
                     "old cache: deps-2025-1 a library undefined", "new cache: deps-2026-1 a library undefined", "left: 1",
                     "none: ArtifactNotFoundError", "an artifact with this name already exists on the workflow run",
                     "Unable to reserve cache with key deps-2025-1", "Unable to reserve cache with key deps-2026-1"):
            self.assertIn(line, text)
        sums = [line.split(LARGE)[1][:8] for line in text.splitlines() if LARGE in line and "dist-2025,dist-2026 hello" in line and "echo" not in line]
        self.assertEqual(len(set(sums)), 1, text)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class OnTheForge(Flow):
    @classmethod
    def setUpClass(cls):
        harness = agents()
        cls.root = tempfile.TemporaryDirectory(prefix="davit-real-")
        cls.forge = harness.Forge(repos=["acme/widgets", TOOLS])
        cls.forge.__enter__()
        cls.forge.repo(TOOLS).push({**ACTION, "real/toolkit.js": toolkit()})
        cls.agent = harness.Agent(cls.root.name, DAVIT_PACE_PERCENT="100")
        cls.agent.configure(cls.forge)

    @classmethod
    def tearDownClass(cls):
        cls.forge.__exit__(None, None, None)
        cls.root.cleanup()

    def jobs(self, workflow, **environment):
        self.agent.start(**environment).listening()
        try:
            sha = self.forge.push(workflow)
            jobs = self.forge.ended(sha, 120)
        finally:
            self.agent.stop()
            os.remove(self.agent.output)
        self.forge.calm()
        text = "\n".join(job["log"] or "" for job in jobs)
        self.assertEqual({job["name"]: job["conclusion"] for job in jobs}, {job["name"]: "success" for job in jobs}, text)
        return jobs, text

    def test_jobs_hand_on_artifacts_and_caches_by_the_packages_of_two_generations(self):
        self.flows(self.jobs(FLOW.format(checkout="", real=f"{TOOLS}/real@main"))[1])

    def test_a_real_action_within_nested_composites_has_its_post_step_its_summary_and_its_masks(self):
        (job,), text = self.jobs(f"""on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - {{id: outer, name: nested, uses: {TOOLS}/outer@main, with: {{who: you}}}}
      - {{run: 'echo "all: ${{{{ steps.outer.outputs.all }}}}"'}}
""")
        for line in ("all: acme/widgets hello tool and you! by outer", "outer sees success yes", "hello path", "the secret is ***", "post has a state"):
            self.assertIn(line, text)
        self.assertNotIn("hunter2", text)
        self.assertEqual([s["name"] for s in job["steps"]], ["Set up job", "nested", 'Run echo "all: acme/widgets hello tool and you! by outer"', "Post nested", "Complete job"])
        self.assertIn("<h2>Real</h2>", "".join(job["inner_summaries"]))

    @unittest.skipIf(Docker.why_not(), Docker.why_not())
    def test_an_action_that_is_a_container_runs_from_a_local_image(self):
        with Docker() as docker:
            docker.image("local/base:1")
            _, text = self.jobs(f"""on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - {{id: c, uses: {TOOLS}/contained@main, with: {{word: hello}}}}
      - {{run: 'echo "all: ${{{{ steps.c.outputs.said }}}}"'}}
""", DOCKER_HOST=docker.host, DOCKER_CONFIG=docker.config)
        self.assertIn("in /github/workspace token", text)
        self.assertIn("all: hello of acme/widgets", text)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Here(Flow):
    def test_jobs_of_davit_run_hand_on_artifacts_and_caches(self):
        tree = Tree({"ci.yml": FLOW.format(checkout="      - run: 'git init -q . && git fetch -q $GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git $GITHUB_SHA && git checkout -q FETCH_HEAD'\n", real="./real")})
        self.addCleanup(tree.remove)
        for name, text in {**ACTION, "real/toolkit.js": toolkit()}.items():
            path = pathlib.Path(tree.top, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        tree.git("add", "-A")
        tree.git("-c", "user.name=Ann Other", "-c", "user.email=ann@example.invalid", "commit", "-qm", "an action")
        code, events, err = tree.events()
        self.assertEqual(code, 0, err + log(events))
        self.assertEqual(ends(events), {"one (2025)": "success", "one (2026)": "success", "two": "success"})
        self.flows(log(events))
        self.assertEqual(tree.left_behind(), [])


if __name__ == "__main__":
    if WHY_NOT:
        print(f"SKIP: {WHY_NOT}")
        sys.exit(77)
    unittest.main(verbosity=2)
