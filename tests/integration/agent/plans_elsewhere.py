#!/usr/bin/env python3
"""A plan that one agent showed on a pull request is what another one applies at the merge, or nothing is: both share a journal in a real PostgreSQL."""
import contextlib
import json
import pathlib
import subprocess
import sys

from harness import DAVIT, run
from harness import Case as Base
from plans import REPO, WORKFLOW, Shop, equal, holds
from servers import postgres
from servers.sshd import Sshd


class Fleet(Shop):
    """The pull request's jobs run on the agent `planner`, the merge's on `deployer`; both change one host."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.server = stack.enter_context(Sshd())
            self.database = stack.enter_context(postgres.Postgres(("fsync=on",)))
            self.database.sql("postgres", "CREATE ROLE davit LOGIN; CREATE DATABASE davit OWNER davit")
            Base.__enter__(self)
            stack.push(super().__exit__)
            self.area = pathlib.Path(self.root) / "area"
            self.area.mkdir()
            self.planner, self.deployer = self.new_agent("planner"), self.new_agent("deployer")
            self.join()
            for agent in (self.planner, self.deployer):
                agent.configure(self.forge, REPO, "--labels", agent.name)
                agent.start().listening()
            self.forge.secrets(REPO, {"WORD": pathlib.Path(self.server.key).read_text()})
            self.repo = self.forge.repo(REPO)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def join(self):
        url = f"postgresql://davit@/davit?host={self.database.dir}&port={self.database.port}"
        key = None
        for agent in (self.planner, self.deployer):
            subprocess.run([DAVIT, "journal", "use", url, *(["--key", "-"] if key else [])], env=agent.env, input=key, check=True,
                           capture_output=True, timeout=60)
            key = subprocess.run([DAVIT, "journal", "key"], env=agent.env, check=True, capture_output=True, timeout=60).stdout

    def files(self, described, extra=()):
        target = self.server.target(base=str(self.area / "base"))
        target["ssh"]["key"] = "${{ secrets.WORD }}"
        plan, deploy = WORKFLOW.split("  deploy:\n")
        workflow = "  deploy:\n".join(part.replace("runs-on: self-hosted", f"runs-on: [self-hosted, {name}]", 1)
                                      for part, name in ((plan, "planner"), (deploy, "deployer")))
        workflow = workflow.replace("""secrets: '{"WORD": "${{ secrets.WORD }}"}'""", 'secrets: "${{ toJSON(secrets) }}"')
        document = json.loads(super().files(described, extra)["deploy.yml"])
        return {".github/workflows/ci.yml": workflow, "deploy.yml": json.dumps({**document, "targets": {"web": target}})}

    def sql(self, text):
        return self.database.sql("davit", "SET search_path TO davit; " + text).strip()

    def planned_on(self, number):
        """The plan of the pull request, and where it was not kept."""
        equal(self.planned(number)["conclusion"], "success")
        equal([(agent.root / "plans").exists() for agent in (self.planner, self.deployer)], [False, False])


def applies_what_the_other_one_showed(c):
    number = c.opened({"a": "one\n"}, "change")
    c.planned_on(number)
    dump = c.database.run("pg_dump", "-n", "davit", "davit")
    equal((str(c.path("a")) in dump, REPO in dump, c.sql("SELECT count(*) FROM plan")), (False, False, "1"))
    job = c.ended(c.merge(number))
    equal((job["conclusion"], c.path("a").read_text()), ("success", "one\n"))


def stops_with_the_difference(c):
    number = c.opened({"a": "two\n"}, "next")
    c.planned_on(number)
    c.path("a").write_text("somebody was here\n")
    job = c.ended(c.merge(number))
    equal((job["conclusion"], c.path("a").read_text()), ("failure", "somebody was here\n"))
    holds(c.said(job), "before digest", "was approved, now", "the plan is not the expected one")


def refuses_what_is_not_the_plan_that_was_kept(c):
    """Whoever writes to the database gives it what is sealed of another pull request."""
    number = c.opened({"a": "three\n"}, "last")
    c.planned_on(number)
    c.sql("UPDATE plan SET data = (SELECT data FROM plan ORDER BY made_ms LIMIT 1)")
    job = c.ended(c.merge(number))
    equal((job["conclusion"], c.path("a").read_text()), ("failure", "somebody was here\n"))
    holds(c.said(job), "read the plan of", "is damaged")


def test_the_plan_of_one_machine_is_applied_by_another_or_nothing_is():
    with Fleet() as c:
        c.repo.push({"README": "shop\n"}, "first")
        applies_what_the_other_one_showed(c)
        stops_with_the_difference(c)
        refuses_what_is_not_the_plan_that_was_kept(c)
        equal([agent.stop() for agent in (c.planner, c.deployer)], [0, 0])


if postgres.lacking():
    print(postgres.lacking())
    sys.exit(77)
run(__name__)
