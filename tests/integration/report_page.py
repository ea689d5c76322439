#!/usr/bin/env python3
"""`davit report --html`: a page of its own for each deployment, and the timeline in a job's summary."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Trial, main  # noqa: E402
from servers.balanced import Balanced  # noqa: E402


class Reports(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.document = {
            "targets": {"here": {"local": {}}},
            "steps": [{"name": "a <b> & \"c\"", "apply": {"resources": [{"file": {"path": os.path.join(self.t.dir, "made"), "content": "x", "mode": "0600"}}]}},
                      {"health-gate": {"deadline": "1s", "checks": [{"name": "<script>alert(1)</script>", "command": ["false"]}]}}]}

    def undone(self, **env):
        result = self.t.deploy(self.document, env=env)
        self.assertEqual(result.code, 1, result)

    def davit(self, *args, code=0):
        result = self.t.run(*args)
        self.assertEqual(result.code, code, result)
        return result

    def page(self, *args):
        out = os.path.join(self.t.dir, "page.html")
        self.davit("report", *args, "--html", out, code=0)
        with open(out, encoding="utf-8") as f:
            text = f.read()
        reader = Balanced()
        reader.feed(text)
        reader.close()
        self.assertEqual(reader.open, [])
        return text, reader

    def test_a_deployment_that_was_undone_is_a_page_without_scripts_and_without_the_network(self):
        self.undone()
        text, reader = self.page()
        self.assertEqual(reader.fetched, [])
        self.assertNotIn("script", reader.tags)
        self.assertEqual(reader.tags.count("svg"), 2)
        self.assertIn("taking back", text)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;", text)
        self.assertIn("a &lt;b&gt; &amp; &quot;c&quot;", text)

    def test_only_a_rollback_is_called_one(self):
        self.document["steps"] = [{"archive-upload": {"source": "app", "path": os.path.join(self.t.dir, "shop")}}]
        for content in (b"1", b"2"):
            self.t.write("../src/app/version", content)
            self.assert_exit(self.t.deploy(self.document), 0)
        self.assertNotIn("rollback of", self.page("last")[0])

    def test_a_page_goes_to_standard_output_and_a_deployment_is_named_by_the_beginning_of_its_id(self):
        self.undone()
        listed = json.loads(self.davit("history", "--json", code=0).out)
        page = self.davit("report", listed[0]["id"][:18], "--html", "-", code=0).out
        self.assertTrue(page.startswith("<!doctype html>"))
        self.assertIn(listed[0]["id"], page)

    def test_what_cannot_be_written_is_said_and_nothing_is_left_beside_it(self):
        self.assert_says(self.davit("report", "--html", "x.html", code=2), "no deployment has been made from here")
        self.undone()
        before = sorted(os.listdir(self.t.src))
        self.assert_says(self.davit("report", code=2), "--html FILE is missing")
        self.assert_says(self.davit("report", "--html", self.t.dir, code=2), "exists but is not a file")
        self.assert_says(self.davit("report", "--html", "no/such/page.html", code=2), "No such file or directory")
        self.assert_says(self.davit("report", "nonsense", "--html", "x.html", code=2), "no deployment is called 'nonsense'")
        self.assertEqual(sorted(os.listdir(self.t.src)), before)
        env = {**os.environ, "DAVIT_STATE": self.t.state}
        with open("/dev/full", "wb") as full:
            p = subprocess.run([DAVIT, "report", "--html", "-"], env=env, stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertNotEqual(p.returncode, 0)
        self.assertIn(b"No space left on device", p.stderr)

    def test_the_summary_of_a_job_draws_its_timeline(self):
        summary = os.path.join(self.t.dir, "summary.md")
        with open(summary, "w", encoding="utf-8"):   # the runner makes it
            pass
        self.undone(GITHUB_STEP_SUMMARY=summary, GITHUB_ACTIONS="true")
        with open(summary, encoding="utf-8") as f:
            text = f.read()
        drawn = re.search(r"^```mermaid\ngantt\n(.*?)^```$", text, re.M | re.S)
        self.assertIsNotNone(drawn, text)
        tasks = [line for line in drawn[1].splitlines() if " :" in line]
        self.assertEqual([re.match(r"  [A-Za-z0-9._ -]+ :(done|crit|active), \d+, \d+$", t) and t.split(":")[1].split(",")[0] for t in tasks],
                         ["done", "crit", "active"])


if __name__ == "__main__":
    main()
