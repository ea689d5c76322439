"""actions/checkout carried out by the worker against the action under the same worker: from the step's begin to its end, and its post step, of a
first checkout in a job of its own; set-up, where the action would be fetched, is left out.

The action is the one whose clone DAVIT_CHECKOUT_ACTION names. Without that it is a node script which runs the commands of git that v4 runs, in their order,
and nothing else: less than the action does, which also loads a megabyte of JavaScript."""
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

ACTION = {"action.yml": "name: Checkout\ninputs: {token: {default: '${{ github.token }}'}}\nruns: {using: node20, main: main.js, post: main.js}\n",
          "main.js": r"""
const {execFileSync} = require('child_process'), fs = require('fs'), os = require('os'), path = require('path');
const e = process.env, cwd = e.GITHUB_WORKSPACE, post = e.STATE_isPost === 'true';
const home = fs.mkdtempSync(path.join(e.RUNNER_TEMP, 'home-'));
const git = (...words) => { try { return execFileSync('git', words, {cwd, stdio: ['ignore', 'pipe', 'inherit'], env: {...e, HOME: home}}).toString(); }
                            catch (x) { if (x.status > 1 && x.status !== 5) throw x; return ''; } };
const key = `http.${e.GITHUB_SERVER_URL}/.extraheader`, config = path.join(cwd, '.git', 'config');
const clear = () => {
  for (const name of ['core.sshCommand', key]) {
    const known = git('config', '--local', '--name-only', '--get-regexp', name);
    if (known) git('config', '--local', '--unset-all', name);
    git('submodule', 'foreach', '--recursive', `sh -c "git config --local --name-only --get-regexp '${name}' && git config --local --unset-all '${name}' || :"`);
  }
};
git('version');
git('config', '--global', '--add', 'safe.directory', cwd);
if (post) {
  clear();
} else {
  fs.appendFileSync(e.GITHUB_STATE, 'isPost=true\n');
  git('init', cwd);
  git('remote', 'add', 'origin', `${e.GITHUB_SERVER_URL}/${e.GITHUB_REPOSITORY}`);
  git('config', '--local', 'gc.auto', '0');
  clear();
  git('config', '--local', key, 'AUTHORIZATION: basic ***');
  const basic = Buffer.from(`x-access-token:${e.INPUT_TOKEN}`).toString('base64');
  fs.writeFileSync(config, fs.readFileSync(config).toString().replace('basic ***', 'basic ' + basic));
  git('-c', 'protocol.version=2', 'fetch', '--no-tags', '--prune', '--no-recurse-submodules', '--depth=1', 'origin', `+${e.GITHUB_SHA}:refs/remotes/origin/main`);
  git('sparse-checkout', 'disable');
  git('config', '--local', '--unset-all', 'extensions.worktreeConfig');
  git('checkout', '--progress', '--force', '-B', 'main', 'refs/remotes/origin/main');
  git('log', '-1', '--format=%H');
}
fs.rmSync(home, {recursive: true});
"""}
STEPS = "- {name: co, uses: actions/checkout@v4}\n- {name: same, run: 'git rev-parse HEAD; git status --porcelain --ignored; git ls-files | wc -l'}\n"


def ms(run):
    def of(step):
        begin, end = (datetime.datetime.fromisoformat(step[key].replace("Z", "+00:00")) for key in ("started_at", "completed_at"))
        return (end - begin).total_seconds() * 1000
    return of(run.step("co")) + of(run.step("Post co"))


def provide(house):
    """The action at v4; its name for the table."""
    clone = os.environ.get("DAVIT_CHECKOUT_ACTION")
    repo = house.forge.repo("actions/checkout")
    if clone:
        subprocess.run(["git", "-C", clone, "push", "-q", repo.url, "HEAD:refs/tags/v4"], check=True, env=repo.env())
        return "the action"
    repo.git("push", "-q", repo.url, f"{repo.push(ACTION)}:refs/tags/v4")
    return "git's commands in node"


def rows(bench):
    os.environ["DAVIT_BUILD"] = bench.build
    bench.program("bin/davit"), bench.program("bin/davit-forge"), bench.tool("git"), bench.tool("node")
    tempfile.tempdir = bench.place
    from servers.worker import House
    house = House(repos=["actions/checkout"])
    try:
        house.__enter__()
        against = provide(house)
        for files in (50, 2000):
            times = {"own,actions/checkout": [], "own": []}
            tree = {f"d{i % 40}/f{i}.txt": f"line {i}\n" * 100 for i in range(files)}
            for round_ in range(bench.pairs + 1):
                for native, found in times.items():
                    shutil.rmtree(os.path.join(house.work, "demo"), ignore_errors=True)
                    run = house.run(STEPS, settings={"native": native}, files={**tree, "round": f"{round_} {native}"})
                    assert run.conclusion == "success" and run.lines("same")[-1].strip() == str(files + 2), run.log("co") + run.log("same")
                    found.append(ms(run))
            ours, theirs = (found[1:] for found in times.values())
            bench.add(f"actions/checkout of {files} files, natively", against, statistics.median(a / b for a, b in zip(ours, theirs)), 0.3, 0.2,
                      ours=statistics.median(ours) / 1000, theirs=statistics.median(theirs) / 1000)
    finally:
        house.__exit__()
