#!/usr/bin/env python3
"""P2: a tag was promoted to production that had never passed in staging, because the workflow said that it had; an input of the wrong type chose the
wrong branch. promote asks the earlier environment's own record, which its host keeps and the agent signed. Against a real registry."""
import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, service  # noqa: E402
from harness.tree import Tree, log  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers.official_runner import Job  # noqa: E402
from servers.registry import Registry  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


def gate(passes=True, **more):
    return {"health-gate": {"target": "stage", "deadline": "1s", "checks": [{"command": ["true" if passes else "false"]}], **more}}


class Machine:
    """A state directory: what another machine is to the hosts that it deploys to."""

    def __init__(self, trial, name):
        self.t, self.state = trial, os.path.join(trial.dir, "state-" + name)

    def run(self, *args, **env):
        return self.t.run(*args, env={"DAVIT_STATE": self.state, **env})

    def key(self):
        return self.run("agent", "key").out

    def trust(self, *lines, mode=0o600):
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        path = os.path.join(self.state, "agents")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(lines)
        os.chmod(path, mode)


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class P2(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.r = self.enterContext(Registry())
        self.stage, self.live = os.path.join(self.t.dir, "stage"), os.path.join(self.t.dir, "live")
        self.one, self.other = Machine(self.t, "one"), Machine(self.t, "other")
        self.record = os.path.join(self.stage, "passed", "shop.staging")

    def images(self):
        return {"registry": {"url": self.r.url}}

    def deploy(self, machine, environment, targets, steps, *args, **env):
        document = {"name": "shop", "environment": environment, "targets": {"images": self.images(), **targets}, "steps": steps}
        with open(os.path.join(self.t.src, f"{environment}.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        return machine.run("deploy", f"{environment}.yml", *args, **env)

    def to_staging(self, *steps, machine=None, code=0, **env):
        steps = steps or (self.promote("shop/web:candidate", "shop/web:staging"), gate())
        result = self.deploy(machine or self.one, "staging", {"stage": {"local": {}, "base": self.stage}}, list(steps), **env)
        self.assert_exit(result, code)
        return result

    def to_production(self, *args, machine=None, code=0, **passed):
        targets = {"host": {"local": {}, "base": self.live}, "stage": {"local": {}, "base": self.stage, "read_only": True}}
        step = self.promote("shop/web:staging", "shop/web:production", passed={"environment": "staging", "target": "stage", **passed})
        result = self.deploy(machine or self.one, "production", targets, [step], *args)
        self.assert_exit(result, code)
        return result

    @staticmethod
    def promote(source, to, **more):
        return {"promote": {"target": "images", "from": source, "to": to, **more}}

    def lines(self):
        if not os.path.exists(self.record):
            return []
        with open(self.record, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def last(self):
        return json.loads(self.one.run("history", "--json").out)[0]["id"]

    def rewrite(self, *lines):
        with open(self.record, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(line) + "\n" if isinstance(line, dict) else line for line in lines)

    def refused(self, result, *words):
        self.assert_says(result, *words)
        self.assertIsNone(self.r.digest("shop/web", "production"))

    # ---- what passed ----

    def test_what_passed_in_staging_is_promoted_and_the_plan_names_the_deployment_that_let_it_in(self):
        index = self.r.push_index("shop/web", "candidate")
        self.to_staging()
        (line,) = self.lines()
        self.assertEqual([line["name"], line["environment"], line["digests"]], ["shop", "staging", [index]])
        self.assertEqual(os.stat(self.record).st_mode & 0o777, 0o600)
        plan = self.to_production("--plan")
        self.assert_says(plan, "passed in staging by " + line["deployment"])
        self.assertIsNone(self.r.digest("shop/web", "production"))
        self.to_production()
        self.assertEqual(self.r.digest("shop/web", "production"), index)

    def test_a_plan_that_was_reviewed_stays_the_same_where_staging_is_deployed_once_more(self):
        index = self.r.push_index("shop/web", "candidate")
        self.to_staging()
        reviewed = json.loads(self.to_production("--plan", "--json").out)["digest"]
        self.to_staging()
        self.to_production("--expect", reviewed)
        self.assertEqual(self.r.digest("shop/web", "production"), index)

    def test_the_earlier_host_is_only_looked_at(self):
        self.r.push_index("shop/web", "candidate")
        self.to_staging()
        before = dict(self.t.files_of(self.stage))
        self.to_production()
        self.assertEqual(dict(self.t.files_of(self.stage)), before)
        targets = {"stage": {"local": {}, "base": self.stage, "read_only": True}}
        result = self.deploy(self.one, "other", targets, [{"run": {"target": "stage", "command": "true", "undo": "none"}}])
        self.assert_exit(result, 2)
        self.assert_says(result, "the target 'stage' is only looked at (`read_only`)")

    def test_a_digest_that_never_passed_is_refused_before_the_first_change(self):
        self.r.push_index("shop/web", "candidate", "one")
        self.to_staging()
        pushed = self.r.push_index("shop/web", "staging", "two")
        self.refused(self.to_production(code=2), f"{pushed} has not passed the gate of shop.staging", "deploy it there first")

    def test_a_tag_that_leads_there_already_is_refused_too(self):
        self.r.push_index("shop/web", "candidate", "one")
        self.to_staging()
        self.r.push_index("shop/web", "staging", "two")
        self.r.push_index("shop/web", "production", "two")
        self.assert_says(self.to_production(code=2), "has not passed the gate of shop.staging")

    def test_an_environment_without_a_record_is_named_with_what_to_do(self):
        self.r.push_index("shop/web", "staging")
        self.refused(self.to_production(code=2), "'stage' has no record of what passed the gate of shop.staging", "writes it")

    # ---- which gates count ----

    def test_a_gate_that_failed_leaves_no_record(self):
        self.r.push_index("shop/web", "candidate")
        self.r.push_index("shop/web", "staging", "before")
        self.to_staging(self.promote("shop/web:candidate", "shop/web:staging"), gate(False), code=1)
        self.assertEqual(self.lines(), [])

    def test_a_deployment_without_a_gate_or_with_one_before_the_image_leaves_no_record(self):
        self.r.push_index("shop/web", "candidate")
        self.to_staging(self.promote("shop/web:candidate", "shop/web:staging"))
        self.to_staging(gate(), self.promote("shop/web:candidate", "shop/web:staging"))
        self.assertEqual(self.lines(), [])

    def test_what_a_person_accepted_passed_no_gate(self):
        self.r.push_index("shop/web", "candidate")
        steps = [self.promote("shop/web:candidate", "shop/web:staging"), gate(), {"run": {"target": "stage", "command": "false", "undo": "none"}}]
        document = {"name": "shop", "environment": "staging", "on_failure": "hold", "steps": steps,
                    "targets": {"images": self.images(), "stage": {"local": {}, "base": self.stage}}}
        with open(os.path.join(self.t.src, "staging.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        self.assert_exit(self.one.run("deploy", "staging.yml"), 4)
        self.assert_exit(self.one.run("unlock", "shop.staging", "--accept"), 0)
        self.assertEqual(self.lines(), [])

    def test_a_deployment_again_renews_the_record_and_former_digests_stay_in_it(self):
        first = self.r.push_index("shop/web", "candidate", "one")
        self.to_staging()
        second = self.r.push_index("shop/web", "candidate", "two")
        self.to_staging()
        self.to_staging()
        self.assertEqual([line["digests"] for line in self.lines()], [[first], [second], [second]])

    # ---- the steps of a workflow ----

    def job(self, targets):
        job = Job(self.t)
        job.env["DAVIT_STATE"] = self.one.state
        return job, json.dumps({"images": self.images(), **targets})

    def test_the_steps_of_a_job_record_what_passed_when_finish_commits_them_and_ask_for_it_too(self):
        index = self.r.push_index("shop/web", "candidate")
        job, targets = self.job({"stage": {"local": {}, "base": self.stage}})
        steps = [job.uses("promote", **{"from": "shop/web:candidate"}, to="shop/web:staging", target="images", targets=targets,
                          deployment="name: shop\nenvironment: staging"),
                 job.uses("health-gate", target="stage", targets=targets, deadline="1s", checks=json.dumps([{"command": ["true"]}]))]
        self.assertEqual(self.lines(), [], "nothing has passed until it is decided")
        steps.append(job.uses("finish"))
        self.assertEqual([step.code for step in steps], [0, 0, 0], steps)
        self.assertEqual([line["digests"] for line in self.lines()], [[index]])
        for digest, code in ((index, 0), (self.r.push_index("shop/web", "staging", "two"), 2)):
            job, targets = self.job({"host": {"local": {}, "base": self.live}, "stage": {"local": {}, "base": self.stage, "read_only": True}})
            step = job.uses("promote", **{"from": "shop/web@" + digest}, to="shop/web:production", target="images", targets=targets,
                            passed="environment: staging\ntarget: stage", deployment="name: shop\nenvironment: production")
            self.assertEqual((step.code, job.uses("finish").code), (code, 0), step)
        self.assertIn("has not passed the gate of shop.staging", step.text)
        self.assertEqual(self.r.digest("shop/web", "production"), index)
        with open(os.path.join(self.t.src, "production.yml"), "w", encoding="utf-8") as f:
            json.dump({"name": "shop", "environment": "production", "targets": json.loads(targets), "steps": [
                self.promote("shop/web:staging", "shop/web:production", passed={"environment": "staging", "target": "stage"})]}, f)
        found = self.job({})[0].uses("preflight", file="production.yml")
        self.assertEqual((found.code, "has not passed the gate of shop.staging" in found.text), (2, True), found)

    # ---- who says so ----

    def test_another_machine_is_believed_once_it_is_on_the_list_of_agents(self):
        index = self.r.push_index("shop/web", "candidate")
        self.to_staging(machine=self.other)
        key = self.other.key().split()[2]
        self.refused(self.to_production(code=2), "has not passed", "a machine that is not trusted here", key)
        self.one.trust("# those that deploy to staging\n", self.other.key())
        self.to_production()
        self.assertEqual(self.r.digest("shop/web", "production"), index)

    def test_a_list_that_others_can_write_or_that_is_damaged_is_refused(self):
        self.r.push_index("shop/web", "candidate")
        self.to_staging(machine=self.other)
        self.one.trust(self.other.key(), mode=0o666)
        self.refused(self.to_production(code=2), "must be a file of its user that nobody else can write")
        self.one.trust("other ssh-rsa AAAA\n")
        self.refused(self.to_production(code=2), "agents:1", "`davit agent key` prints the line")

    def test_agent_key_tells_the_public_key_only_and_the_same_each_time(self):
        name, kind, key = self.one.key().split()
        said = json.loads(self.one.run("agent", "key", "--json").out)
        self.assertEqual(said, {"name": name, "type": kind, "key": key})
        self.assertEqual(kind, "ssh-ed25519")
        self.assertEqual(self.one.key().split()[2], key)
        self.assertNotEqual(self.other.key().split()[2], key)

    # ---- what a host may say ----

    def test_a_line_that_was_forged_edited_or_copied_counts_as_nothing_and_is_told(self):
        self.r.push_index("shop/web", "candidate", "one")
        self.to_staging()
        (line,) = self.lines()
        pushed = self.r.push_index("shop/web", "staging", "two")
        self.rewrite({**line, "digests": [pushed]})
        self.refused(self.to_production(code=2), "1 line whose signature is not of its text: not counted", "has not passed")
        self.rewrite({**line, "environment": "test", "digests": [pushed]}, "{\x1b[2J\n", line)
        self.refused(self.to_production(code=2), "1 line of another environment", "1 line that cannot be read", "has not passed")

    def test_the_record_of_another_environment_is_none_of_this_one(self):
        self.r.push_index("shop/web", "staging")
        self.assert_exit(self.deploy(self.one, "test", {"stage": {"local": {}, "base": self.stage}},
                                     [self.promote("shop/web:staging", "shop/web:test"), gate()]), 0)
        os.rename(os.path.join(self.stage, "passed", "shop.test"), self.record)
        self.refused(self.to_production(code=2), "1 line of another environment: not counted", "has not passed")

    def test_a_record_that_is_too_large_or_of_a_newer_format_is_refused_and_shows_nothing_of_itself(self):
        self.r.push_index("shop/web", "candidate")
        self.to_staging()
        (line,) = self.lines()
        self.rewrite({**line, "format": 2})
        self.refused(self.to_production(code=2), "the record has the format 2; this program reads 1")
        self.rewrite("\x1b]0;owned\x07" * 200000)
        result = self.to_production(code=2)
        self.refused(result, "larger than")
        self.assertNotIn("\x1b]0", result.text)

    def test_an_environment_out_of_reach_refuses_the_promotion(self):
        self.r.push_index("shop/web", "staging")
        targets = {"host": {"local": {}, "base": self.live},
                   "stage": {"ssh": {"host": "127.0.0.1", "port": 1, "user": "nobody", "connect_timeout": "2s"}, "read_only": True}}
        step = self.promote("shop/web:staging", "shop/web:production", passed={"environment": "staging", "target": "stage"})
        result = self.deploy(self.one, "production", targets, [step])
        self.assert_exit(result, 2)
        self.refused(result, "target 'stage'")

    def test_a_host_behind_ssh_keeps_and_shows_its_record_as_this_machine_does(self):
        index = self.r.push_index("shop/web", "candidate")
        former = self.r.push_index("shop/web", "production", "former")
        with Sshd() as server:
            key = shutil.copy(server.key, self.t.dir)
            stage = {"ssh": {"host": "127.0.0.1", "port": server.port, "user": server.user, "key_file": key, "host_key": server.host_key},
                     "base": self.stage}
            self.assert_exit(self.deploy(self.one, "staging", {"stage": stage}, [self.promote("shop/web:candidate", "shop/web:staging"), gate()]), 0)
            self.assertEqual([line["digests"] for line in self.lines()], [[index]])
            step = self.promote("shop/web:staging", "shop/web:production", passed={"environment": "staging", "target": "stage"})
            targets = {"host": {"local": {}, "base": self.live}, "stage": {**stage, "read_only": True}}
            self.assert_exit(self.deploy(self.one, "production", targets, [step]), 0)
        self.assertEqual(self.r.digest("shop/web", "production"), index)
        self.assert_exit(self.one.run("rollback", self.last()), 0)
        self.assertEqual(self.r.digest("shop/web", "production"), former, "a rollback needs no earlier environment, which is gone by now")

    # ---- a process that dies ----

    def test_a_process_killed_behind_the_mark_leaves_the_record_to_the_recovery_and_no_other_kill_writes_one(self):
        index = self.r.push_index("shop/web", "candidate")
        committed = 0
        # The first eight are of the time before the tag was moved.
        for record in range(9, 60):
            if os.path.exists(self.record):
                os.remove(self.record)
            self.r.push_index("shop/web", "staging", "before")
            result = self.to_staging_killed(record)
            if result.code != -9:
                break
            self.assert_exit(self.one.run("recover"), 0)
            passed = self.r.digest("shop/web", "staging") == index
            self.assertEqual([line["digests"] for line in self.lines()], [[index]] if passed else [], record)
            committed += passed
        self.assertEqual(result.code, 0)
        self.assertGreater(committed, 0)
        self.assertEqual([line["digests"] for line in self.lines()], [[index]])

    def to_staging_killed(self, record):
        return self.deploy(self.one, "staging", {"stage": {"local": {}, "base": self.stage}},
                           [self.promote("shop/web:candidate", "shop/web:staging"), gate()], DAVIT_TEST_KILL_AT=str(record))


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class P2Stacks(StackCase):
    def test_the_images_that_a_stack_runs_have_passed_with_its_gate_and_those_it_replaced_stay_passed(self):
        registry = self.enterContext(Registry())
        name = f"{registry.host}/shop/web"
        with self.stack() as s:
            record = os.path.join(s.base, "passed", "shop.test")
            digests = [self.release(s, registry, name, version) for version in ("1", "2")]
            with open(record, encoding="utf-8") as f:
                self.assertEqual([json.loads(line)["digests"] for line in f], [[digest] for digest in digests])
            self.docker.run("tag", "local/web:3", f"{name}:3")
            self.docker.run("push", f"{name}:3")
            self.assert_says(self.promote(s, registry, "shop/web:3", 2), "has not passed the gate of shop.test")
            self.assert_exit(self.promote(s, registry, "shop/web:2", 0), 0)
            self.assertEqual(registry.digest("shop/web", "production"), digests[1])

    def release(self, s, registry, name, version):
        self.docker.run("tag", f"local/web:{version}", f"{name}:{version}")
        self.docker.run("push", f"{name}:{version}")
        s.compose({"services": {"web": {**service(), "image": f"{name}:{version}"}, "tool": {**service(), "image": "local/tool:1"}}})
        self.assert_exit(s.up({"health-gate": {"target": "web", "deadline": "5s", "checks": [{"command": ["true"]}]}}), 0)
        return registry.digest("shop/web", version)

    def promote(self, s, registry, image, code):
        document = {"name": "shop", "environment": "production",
                    "targets": {"images": {"registry": {"url": registry.url}}, "test": {"local": {}, "base": s.base, "read_only": True}},
                    "steps": [{"promote": {"target": "images", "from": image, "to": "shop/web:production",
                                           "passed": {"environment": "test", "target": "test"}}}]}
        with open(os.path.join(s.src, "production.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        result = s.run("deploy", "production.yml")
        self.assert_exit(result, code)
        return result


class P2Inputs(Case):
    workflow = """on:
  workflow_dispatch: {inputs: {count: {type: number, default: 3}, live: {type: boolean}, where: {type: choice, options: [staging, production], required: true}}}
jobs:
  a:
    runs-on: x
    steps: [{run: 'echo "live ${{ inputs.live == true }} count ${{ inputs.count == 4 }} in ${{ inputs.where }}"'}]
"""

    def test_inputs_of_a_dispatch_have_the_types_that_the_workflow_declares(self):
        tree = Tree({"ci.yml": self.workflow})
        self.addCleanup(tree.remove)
        code, events, err = tree.events("--input", "where=production", "--input", "live=true", "--input", "count=4")
        self.assertEqual(code, 0, err)
        self.assertIn("live true count true in production\n", log(events))

    def test_an_input_that_is_missing_unknown_or_of_another_type_is_refused_before_a_job_begins(self):
        tree = Tree({"ci.yml": self.workflow})
        self.addCleanup(tree.remove)
        for given, said in (([], "Required input 'where' not provided"), (["where=moon"], "input 'where' has no option 'moon'"),
                            (["where=staging", "live=yes"], "input 'live' must be true or false"),
                            (["where=staging", "count=many"], "input 'count' must be a number"),
                            (["where=staging", "count=inf"], "input 'count' must be a number"),
                            (["where=staging", "lvie=true"], "Unexpected inputs provided: [\"lvie\"]")):
            code, out, err = tree.run(*(x for one in given for x in ("--input", one)))
            self.assertEqual((code, said in err), (2, True), (given, err))
            self.assertNotIn("live", out)


if __name__ == "__main__":
    main()
