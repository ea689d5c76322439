#!/usr/bin/env python3
"""What is written and taken back on a target, on this machine and behind SSH alike: what nobody named stays, what a folder passes on widens
nothing, and what cannot be done is said by the plan."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import DAVIT, Case, Result, Trial, main  # noqa: E402
from servers import mounts  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


def acl(path):
    return subprocess.run(["getfacl", "-pcn", path], check=True, capture_output=True, text=True).stdout


def setfacl(*args):
    subprocess.run(["setfacl", *args], check=True)


@unittest.skipUnless(os.geteuid() == 0, "owners and access lists need root")
class WrittenFiles(Case):
    def each(self, body):
        with self.subTest("local"), Trial() as t:
            body(t, {"local": {}, "base": t.path("base")})
        with self.subTest("ssh"), Trial() as t, Sshd() as server:
            body(t, dict(server.target(), base=t.path("base")))

    def deploy(self, t, target, *steps, options=(), **more):
        return t.deploy({"targets": {"web": target}, "steps": list(steps)}, *options, **more)

    FAILS = {"run": {"command": ["false"], "undo": "none"}}

    def test_a_file_keeps_its_access_list_when_it_is_written_and_when_it_is_taken_back(self):
        def body(t, target):
            conf = t.path("conf")
            with open(conf, "w") as f:
                f.write("old")
            os.chmod(conf, 0o640)
            setfacl("-m", "u:2345:r", conf)
            was = acl(conf)
            step = {"apply": {"resources": [{"file": {"path": conf, "content": "new"}}]}}
            self.assert_exit(self.deploy(t, target, step, self.FAILS), 1)
            self.assertEqual((open(conf).read(), acl(conf)), ("old", was))
            self.assert_exit(self.deploy(t, target, step), 0)
            self.assertEqual((open(conf).read(), acl(conf)), ("new", was))
        self.each(body)

    def test_root_is_not_told_to_become_root_where_a_mount_is_read_only(self):
        with Trial() as t:
            why, path = mounts.why_not([t.dir]), t.path("mounted")
            if why:
                self.skipTest(why)
            os.mkdir(path)
            document = {"name": "shop", "environment": "test", "targets": {"web": {"local": {}, "base": t.base}},
                        "steps": [{"preflight": {"paths": [path]}}, {"apply": {"resources": [{"directory": {"path": path + "/new"}}]}}]}
            with open(os.path.join(t.src, "deploy.yml"), "w") as f:
                json.dump(document, f)
            script = 'mount -t tmpfs -o ro none "$1" && exec "$2" deploy deploy.yml'
            done = Result(subprocess.run([*mounts.command(), "sh", "-c", script, "sh", path, DAVIT], cwd=t.src, env={**os.environ, "DAVIT_STATE": t.state},
                                         capture_output=True, timeout=120))
            self.assert_exit(done, 2)
            self.assert_says(done, "cannot be written by 'root'", "mounted read-only")
            self.assert_silent(done, "become: sudo")

    def test_lines_keep_the_ends_that_the_file_has(self):
        wanted = {"lines": [{"line": "a"}, {"line": "b=1", "match": "^b"}, {"line": "new"}], "absent": ["gone"]}
        for before, after in ((b"a\r\nb\r\ngone\r\n", b"a\r\nb=1\r\nnew\r\n"), (b"b\r\na", b"b=1\r\na\r\nnew\r\n"),
                              (b"a\r\nb\ngone", b"a\r\nb=1\nnew\n"), (b"a\nb", b"a\nb=1\nnew\n"), (b"\r\n", b"\r\na\r\nb=1\r\nnew\r\n")):
            with self.subTest(before), Trial() as t:
                path = t.write("conf.ini", before)
                step = {"apply": {"resources": [{"lines": {"path": path, **wanted}}]}}
                target = {"local": {}, "base": t.path("base")}
                self.assert_exit(self.deploy(t, target, step, self.FAILS), 1)
                self.assertEqual(t.read("conf.ini"), before)
                self.assert_exit(self.deploy(t, target, step), 0)
                self.assertEqual(t.read("conf.ini"), after)
                self.assert_says(self.deploy(t, target, step, options=["--plan"]), "Nothing to change")

    def test_a_secret_below_a_default_list_is_as_narrow_as_was_asked(self):
        def body(t, target):
            www = t.path("www")
            os.mkdir(www)
            os.chmod(www, 0o2775)
            setfacl("-d", "-m", "u:2345:rwx", www)
            step = {"secret-write": {"path": www + "/.env", "values": {"A": "very-secret-word"}}}
            self.assert_exit(self.deploy(t, target, step), 0)
            self.assertEqual(acl(www + "/.env"), "user::rw-\ngroup::---\nother::---\n\n")
            self.assertEqual(os.listdir(www), [".env"])
            os.unlink(www + "/.env")
            self.assert_exit(self.deploy(t, target, step, self.FAILS), 1)
            self.assertEqual(os.listdir(www), [])
        self.each(body)

    def test_readers_come_with_the_file_and_go_with_their_name(self):
        def body(t, target):
            env = t.path("env")

            def write(mode, **more):
                step = {"secret-write": dict(more, path=env, values={"A": "very-secret-word"}, mode=mode)}
                result = self.deploy(t, target, step)
                self.assert_exit(result, 0)
                return result
            os.chmod(t.path("."), 0o755)
            write("0600", readable_by=["65534"])
            self.assertIn("user:65534:r--", acl(env))
            self.assertIn("group::---", acl(env))
            write("0640", readable_by=["65534"], group="0")
            self.assertIn("group::r--", acl(env))
            inode = os.stat(env).st_ino
            write("0640", readable_by=["65534"], group="0")
            self.assertEqual(os.stat(env).st_ino, inode)
            write("0600")
            self.assertEqual(acl(env), "user::rw-\ngroup::---\nother::---\n\n")
            # One whom nobody named, in a mode that is right: he is taken away.
            setfacl("-m", "u:2345:r", env)
            write("0640")
            self.assertEqual(acl(env), "user::rw-\ngroup::r--\nother::---\n\n")
        self.each(body)

    def test_a_destroyed_directory_comes_back_with_its_time_and_access_list(self):
        def body(t, target):
            top = t.path("srv")
            os.mkdir(top)

            def state(resources, *more, allow=()):
                step = {"id": "state", "apply": {"resources": resources, "allow_destroy": list(allow)}}
                return self.deploy(t, target, step, *more)
            kept = {"file": {"path": top + "/kept", "content": "k"}}
            gone = [{"directory": {"path": top + "/d", "mode": "0750"}}, {"file": {"path": top + "/d/f", "content": "x"}}]
            self.assert_exit(state([kept] + gone), 0)
            setfacl("-m", "u:2345:rx,d:u:2345:rx", top + "/d")
            os.chown(top + "/d", 1234, 1235)
            os.utime(top + "/d", (1500000000, 1500000000))
            was = (acl(top + "/d"), os.stat(top + "/d")[:7], os.stat(top + "/d").st_mtime)
            result = state([kept], self.FAILS, allow=["directory:" + top + "/d", "file:" + top + "/d/f"])
            self.assert_exit(result, 1)
            now = (acl(top + "/d"), os.stat(top + "/d")[:7], os.stat(top + "/d").st_mtime)
            self.assertEqual((now[0], now[1][0], now[1][4:6], now[2]), (was[0], was[1][0], was[1][4:6], was[2]))
            self.assertEqual(open(top + "/d/f").read(), "x")
        self.each(body)

    def test_all_that_cannot_be_done_is_said_by_the_plan(self):
        def body(t, target):
            wall = t.path("wall")
            with open(wall, "w") as f:
                f.write("no directory")
            ran = t.path("ran")
            steps = [
                {"apply": {"resources": [{"file": {"path": t.path("a"), "content": "x", "owner": "no-such-user"}}]}},
                {"apply": {"resources": [{"directory": {"path": wall + "/sub/d"}}]}},
                {"secret-write": {"path": t.path("e"), "values": {"A": "very-secret-word"}, "group": "no-such-group"}},
            ]
            for options in (["--plan"], []):
                result = self.deploy(t, target, *steps, options=options)
                self.assert_exit(result, 2)
                self.assert_says(result, "there is no user 'no-such-user' on 'web'", "there is no group 'no-such-group' on 'web'",
                                 "'%s' on 'web' is not a directory" % wall)
            self.assertFalse(os.path.exists(t.path("a")))
            # What an earlier command may bring is a warning of the plan.
            result = self.deploy(t, target, {"run": {"command": ["touch", ran], "undo": "none"}}, steps[0], options=["--plan"])
            self.assert_exit(result, 0)
            self.assert_says(result, "there is no user 'no-such-user' on 'web'")
            self.assertFalse(os.path.exists(ran))
        self.each(body)

    def test_a_name_that_cannot_travel_is_refused_by_the_plan(self):
        def body(t, target):
            site = os.path.join(t.src, "site")
            os.mkdir(site)
            for name in (b"caf\xe9.txt", b"plain"):
                with open(os.path.join(os.fsencode(site), name), "w") as f:
                    f.write("x")
            steps = [{"run": {"command": ["touch", t.path("ran")], "undo": "none"}},
                     {"archive-upload": {"source": "site", "path": t.path("app")}}]
            for options in (["--plan"], []):
                result = self.deploy(t, target, *steps, options=options)
                self.assert_exit(result, 2)
                self.assert_says(result, "caf\\xe9.txt", "not UTF-8")
            self.assertFalse(os.path.exists(t.path("ran")))
        self.each(body)

    def test_modes_mean_what_is_written(self):
        with Trial() as t:
            modes = {"a": "0644", "b": '"0644"', "c": "0o644", "d": '"u=rw,go=r"', "e": "0600", "f": "0o600"}
            lines = "".join("        - file: { path: %s, content: x, mode: %s }\n" % (t.path(n), m) for n, m in modes.items())
            with open(os.path.join(t.src, "state.yml"), "w") as f:
                f.write("resources:\n" + lines.replace("        ", "  "))
            for step in ("  - apply:\n      resources:\n" + lines, "  - apply: { file: state.yml }\n"):
                with open(os.path.join(t.src, "d.yml"), "w") as f:
                    f.write("name: m\nenvironment: e\ntargets: { web: { local: {}, base: %s } }\nsteps:\n%s" % (t.path("base"), step))
                result = t.run("deploy", "d.yml")
                self.assert_exit(result, 0)
                got = {n: "%04o" % (os.stat(t.path(n)).st_mode & 0o7777) for n in modes}
                self.assertEqual(got, {"a": "0644", "b": "0644", "c": "0644", "d": "0644", "e": "0600", "f": "0600"})
                for n in modes:
                    os.unlink(t.path(n))


if __name__ == "__main__":
    main()
