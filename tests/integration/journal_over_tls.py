#!/usr/bin/env python3
"""The journal in a PostgreSQL at the other end of a network: its certificate and its name are checked, by an authority of one's own, unless the URL
says otherwise; passwords and certificates of the client let in."""
import os
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.fleet import Journal, Machine, lay  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers import postgres  # noqa: E402
from servers.nginx import Authority  # noqa: E402

LACKING = postgres.lacking()
# What is not among these comes in by TLS, with a password or a certificate.
WHO = """local all postgres trust
hostssl davit davit all scram-sha-256
hostssl davit bearer all cert
"""


@unittest.skipIf(LACKING, LACKING)
class OverTls(Case):
    @classmethod
    def setUpClass(cls):
        cls.t = cls.enterClassContext(Trial())
        for name in ("right", "wrong"):
            os.mkdir(cls.t.path(name))
        authority, other = Authority(cls.t.path("right")), Authority(cls.t.path("wrong"), "Another")
        authority.sign("server", ["db.example"], 10)
        authority.sign("bearer", ["bearer"], 10)
        cls.right, cls.wrong = authority.file, other.file
        cls.client = cls.t.path("right/bearer")
        cls.journal = cls.enterClassContext(Journal())
        server = cls.server = cls.journal.server
        server.sql("postgres", "ALTER ROLE davit PASSWORD 'a-word'; CREATE ROLE bearer LOGIN; GRANT ALL ON DATABASE davit TO bearer")
        server.stop("fast")
        server.settings += ("log_connections=on",)
        server.secure(cls.t.path("right/server.pem"), cls.t.path("right/server.key"), authority.file)
        with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="ascii") as f:
            f.write(WHO)
        server.start()
        with open(cls.t.path("pgpass"), "w", encoding="ascii") as f:
            f.write("*:*:*:davit:a-word\n")
        os.chmod(cls.t.path("pgpass"), stat.S_IRUSR | stat.S_IWUSR)

    def setUp(self):
        self.server.sql("davit", "SET client_min_messages TO warning; DROP SCHEMA IF EXISTS davit CASCADE")

    def url(self, host="db.example", user="davit", authority=None, **more):
        """By a name that no resolver knows: the address stands beside it."""
        options = {"hostaddr": "127.0.0.1", "sslrootcert": authority or self.right, "passfile": self.t.path("pgpass"), **more}
        return f"postgresql://{user}@{host}:{self.server.port}/davit?" + "&".join(f"{k}={v}" for k, v in options.items())

    def deploys(self, name, url):
        machine = Machine(self.t, name, url)
        self.t.write("go-on", b"")
        lay(self.t, {"local": {}})
        self.assert_exit(machine.run("deploy", "deploy.yml"), 0)
        self.assertEqual([d["state"] for d in machine.history()], ["committed"])

    def refused(self, *says, **more):
        done = self.t.run("journal", "use", self.url(**more), env={"DAVIT_STATE": self.t.path("refused")})
        self.assertNotEqual(done.code, 0, done)
        self.assert_says(done, *says)
        self.assertNotIn("a-word", done.text)

    def test_a_password_goes_over_tls_to_a_server_that_the_authority_knows(self):
        self.deploys("by-password", self.url())
        with open(self.server.log, encoding="utf-8") as f:
            self.assertRegex(f.read(), r"connection authorized: user=davit .*SSL enabled \(protocol=TLSv1\.3")

    def test_a_certificate_of_the_client_lets_in_without_a_password(self):
        self.deploys("by-certificate", self.url(user="bearer", sslcert=self.client + ".pem", sslkey=self.client + ".key"))

    def test_a_server_of_another_authority_or_another_name_is_none(self):
        self.refused("certificate verify failed", authority=self.wrong)
        self.refused('does not match host name "db2.example"', host="db2.example")

    def test_a_wrong_password_is_told(self):
        with open(self.t.path("other"), "w", encoding="ascii") as f:
            f.write("*:*:*:davit:another-word\n")
        os.chmod(self.t.path("other"), 0o600)
        self.refused("password authentication failed", passfile=self.t.path("other"))

    def test_only_a_url_that_says_so_takes_any_certificate(self):
        self.deploys("unchecked", self.url(host="db2.example", sslmode="require", sslrootcert="/nonexistent"))


if __name__ == "__main__":
    main()
