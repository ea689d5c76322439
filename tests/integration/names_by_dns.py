#!/usr/bin/env python3
"""Names of targets, servers and databases as DNS and /etc/hosts have them, whichever C library asks: in a network of the test's own, with a name server
and a resolv.conf of its own."""
import os
import subprocess
import sys
import time

from harness.fleet import Journal, Machine, lay
from harness.trial import SKIP, Case, Service, Trial, main
from servers import postgres
from servers.dns import A, Dns
from servers.git_http import GitHttp
from servers.sshd import Sshd

# More than a datagram of 512 bytes holds, and somebody listens at one of them alone.
MANY = [f"127.0.1.{i}" for i in range(1, 40)] + ["127.0.0.1"]
NAMES = {"shop.example": ["127.0.0.1"], "git.example": ["127.0.0.1"], "db.example": ["127.0.0.1"], "web.corp.example": ["127.0.0.1"], "many.example": MANY}


class Names(Case):
    @classmethod
    def setUpClass(cls):
        cls.dns = cls.enterClassContext(Dns(NAMES, silent=["silent.example"]))
        cls.web = cls.enterClassContext(Service(lambda path, count: 200))
        cls.port = cls.web.server.server_port

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.dns.asked.clear()

    def gate(self, name, deadline="20s"):
        check = {"http": f"http://{name}:{self.port}/", "from": "here", "interval": "50ms"}
        return self.t.deploy({"targets": {"here": {"local": {}}}, "steps": [{"health-gate": {"checks": [check], "deadline": deadline}}]})

    def test_a_name_is_asked_of_the_second_server_where_the_first_is_not_there(self):
        self.assert_exit(self.gate("shop.example"), 0)
        self.assertIn(("shop.example", A, "udp"), self.dns.asked)

    def test_a_name_of_the_hosts_file_asks_nobody(self):
        self.assert_exit(self.gate("hosts.example"), 0)
        self.assertEqual(self.dns.asked, [])

    def test_an_answer_that_no_datagram_holds_is_fetched_by_tcp(self):
        self.assert_exit(self.gate("many.example"), 0)
        self.assertIn(("many.example", A, "tcp"), self.dns.asked)

    def test_an_unknown_name_is_told_as_that(self):
        failed = self.gate("gone.example", deadline="400ms")
        self.assert_exit(failed, 1)
        self.assert_says(failed, "gone.example")

    def test_a_server_that_is_silent_costs_no_more_than_the_deadline(self):
        start = time.monotonic()
        failed = self.gate("silent.example", deadline="1s")
        self.assert_exit(failed, 1)
        self.assertLess(time.monotonic() - start, 10)

    def test_a_target_is_found_by_the_domain_that_is_searched(self):
        with Sshd() as server:
            target = server.target()
            target["ssh"].update(host="web")
            self.assert_exit(self.t.deploy({"targets": {"web": target}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]}), 0)
        self.assertIn(("web.corp.example", A, "udp"), self.dns.asked)

    def test_a_repository_is_checked_out_from_a_name(self):
        work, served = self.t.path("work"), self.t.path("served")
        env = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        for words in (("init", "-q", "-b", "main", work), ("-C", work, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "one"),
                      ("clone", "-q", "--bare", work, served + "/octo/site")):
            subprocess.run(["git", *words], env=env, check=True)
        with GitHttp(served) as server:
            url = server.url.replace("127.0.0.1", "git.example")
            self.t.write("in.json", b'{"repository": "octo/site", "server": "%s", "ref": "main", "path": "tree"}' % url.encode())
            self.assert_exit(self.t.run("step", "checkout", "--input", self.t.path("in.json")), 0)
        self.assertIn(("git.example", A, "udp"), self.dns.asked)

    def test_the_journal_is_found_by_its_name(self):
        if postgres.lacking():
            self.skipTest(postgres.lacking())
        with Journal() as journal:
            machine = Machine(self.t, "machine", journal.url(journal.server.port).replace("127.0.0.1", "db.example"))
            self.t.write("go-on", b"")
            lay(self.t, {"local": {}})
            self.assert_exit(machine.run("deploy", "deploy.yml"), 0)
        self.assertIn(("db.example", A, "udp"), self.dns.asked)


def of_its_own():
    """A network and /etc/hosts and resolv.conf of the test's own; what is not possible is said."""
    if "OWN_NAMES" in os.environ:
        with Trial() as t:
            files = {"resolv.conf": "nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch corp.example\noptions timeout:30\n", "hosts": "127.0.0.1 localhost hosts.example\n"}
            for name, text in files.items():
                t.write(name, text.encode())
                subprocess.run(["mount", "--bind", t.path(name), os.path.realpath("/etc/" + name)], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0 or subprocess.run(["unshare", "-n", "-m", "ip", "link", "show", "lo"], capture_output=True, check=False).returncode != 0:
        print("SKIP: a network of its own needs root, unshare and ip")
        sys.exit(SKIP)
    os.environ["OWN_NAMES"] = "1"
    os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])


if __name__ == "__main__":
    of_its_own()
    main()
