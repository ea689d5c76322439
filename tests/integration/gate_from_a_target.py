#!/usr/bin/env python3
"""A health gate that asks from a target: what listens on its 127.0.0.1 only."""
import os
import unittest

from harness.trial import Case, Service, Trial, main
from servers.sshd import Sshd


class From(Case):
    def both(self, test):
        for kind in ("local", "ssh"):
            with self.subTest(kind), Trial() as t, Sshd() as server:
                test(t, {"local": {}} if kind == "local" else server.target())

    def gate(self, url, **more):
        return {"health-gate": {"checks": [{"http": url, "from": "web", "interval": "50ms", **more}], "deadline": "5s"}}

    def test_the_target_asks_and_the_answer_is_judged_as_elsewhere(self):
        def test(t, target):
            seen = {}

            def answer(path, count):
                del count
                return (200 if path == "/ok" else 503, {}, b"two\nlines of \"text\"")
            with Service(answer) as service:
                handler = service.server.RequestHandlerClass
                plain = handler.do_GET

                def do_GET(self):
                    seen.update(self.headers.items())
                    plain(self)
                handler.do_GET = do_GET
                one = {"targets": {"web": target}, "steps": [self.gate(service.url + "/ok", contains='lines of "text"', headers={"X-Key": "${{ secrets.KEY }}"})]}
                self.assert_exit(t.deploy(one, secrets={"KEY": "s3cr3t \"quoted\" \\ value"}), 0)
                self.assertTrue(seen["User-Agent"].startswith("curl/"), seen)
                self.assertEqual(seen["X-Key"], "s3cr3t \"quoted\" \\ value")
                wrong = t.deploy({"targets": {"web": target}, "steps": [{"health-gate": {**self.gate(service.url + "/no")["health-gate"], "deadline": "500ms"}}]})
                self.assert_exit(wrong, 1)
                self.assert_says(wrong, "answered 503, wanted 200")
            gone = t.deploy({"targets": {"web": target}, "steps": [{"health-gate": {**self.gate(service.url)["health-gate"], "deadline": "500ms"}}]})
            self.assert_exit(gone, 1)
            self.assert_says(gone, "Failed to connect")
        self.both(test)

    def test_what_cannot_be_asked_is_refused_before_the_first_change(self):
        with Trial() as t:
            for check, words in (({"tcp": "127.0.0.1:1", "from": "web"}, "belongs to an http check"),
                                 ({"http": "http://127.0.0.1:1", "from": "db"}, "there is no target 'db'"),
                                 ({"http": "http://127.0.0.1:1", "from": "web", "follow": True, "headers": {"A": "b"}}, "is not possible `from` a target")):
                refused = t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"health-gate": {"checks": [check]}}]})
                self.assert_exit(refused, 2)
                self.assert_says(refused, words)
            empty = os.path.join(t.dir, "bin")
            os.mkdir(empty)
            for tool in ("sh", "env", "cat"):
                os.symlink("/bin/" + tool, os.path.join(empty, tool))
            refused = t.deploy({"targets": {"web": {"local": {}}}, "steps": [self.gate("http://127.0.0.1:1")]}, env={"PATH": empty})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "has no curl to ask with")


if __name__ == "__main__":
    main()
