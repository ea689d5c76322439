#!/usr/bin/env python3
"""What can be known before the first change is found at once, on all targets, with the way out for each."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Sshd  # noqa: E402


class Silent:
    """Takes connections, and says nothing."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.taken = []
        threading.Thread(target=self.take, daemon=True).start()
        return self

    def take(self):
        try:
            while True:
                self.taken.append(self.server.accept()[0])
        except OSError:
            pass

    def __exit__(self, *_):
        self.server.close()
        for one in self.taken:
            one.close()


def findings(result):
    return json.loads(result.out)["report"].get("findings", [])


def program(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)


class Findings(Case):
    def test_targets_that_hang_hide_nothing_and_do_not_wait_for_each_other(self):
        with Trial() as t, Sshd() as good, Silent() as one, Silent() as other:
            def hanging(server):
                target = good.target()
                target["ssh"].update(port=server.port, connect_timeout="4s")
                return target
            begun = time.monotonic()
            result = t.deploy({"targets": {"a": hanging(one), "b": hanging(other), "web": good.target()}, "steps": [
                {"preflight": {"tools": ["no-such-tool"]}},
                {"run": {"target": "web", "command": ["touch", t.path("ran")], "undo": "none"}},
                {"secret-write": {"target": "web", "path": "/proc/x/env", "values": {"A": "b"}}}]}, "--json")
            took = time.monotonic() - begun
            self.assert_exit(result, 2)
            found = findings(result)
            self.assertEqual([(x["severity"], x.get("target")) for x in found if "tool" not in x["text"]][:2], [("error", "a"), ("error", "b")], found)
            self.assertTrue(any(x.get("target") == "web" and "no-such-tool" in x["text"] and "install it" in x["hint"] for x in found), found)
            self.assertTrue(any("/proc/x" in x["text"] for x in found), found)
            # Three tries of 4 s each, and pauses: twice that if one waited for the other.
            self.assertLess(took, 22)
            self.assertFalse(os.path.exists(t.path("ran")))
            self.assert_says(result, "finding, and what to do", "connect")

    def test_in_a_workflow_each_is_an_annotation_and_the_summary_has_the_table(self):
        with Trial() as t:
            summary = os.path.join(t.dir, "summary")
            with open(summary, "w", encoding="ascii"):
                pass
            result = t.deploy({"targets": {"web": {"local": {}}}, "steps": [
                {"preflight": {"tools": ["no-such-tool"], "paths": ["/proc/x"], "disk": {"/": "9000T"}}}]},
                env={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": summary, "INPUT_FILE": "deploy.yml", "GITHUB_WORKSPACE": t.src})
            self.assert_exit(result, 2)
            self.assertIn("::error::/steps/0/preflight/tools/0: the command 'no-such-tool' is not on 'web'%0Ainstall it there", result.out)
            with open(summary, encoding="utf-8") as f:
                text = f.read()
            self.assertIn("| severity | where | step | finding | what to do |", text)
            self.assertIn("| error | web | preflight | the command 'no-such-tool' is not on 'web' | install it there", text)

    def test_the_steps_together_must_fit_on_the_disk_and_have_inodes(self):
        if Sshd.can_have_disk():
            self.skipTest(Sshd.can_have_disk())
        with Trial() as t, Sshd(disk="60m") as server:
            disk = os.path.join(server.folder, "disk")
            target = {**server.target(), "base": f"{disk}/base"}
            for name in ("one", "two"):
                os.mkdir(os.path.join(t.src, name))
                with open(os.path.join(t.src, name, "data"), "wb") as f:
                    f.write(os.urandom(32 << 20))
            steps = [{"archive-upload": {"source": name, "path": f"{disk}/{name}"}, "name": f"release {name}"} for name in ("one", "two")]
            result = t.deploy({"targets": {"web": target}, "steps": steps}, "--json", "--plan")
            self.assert_exit(result, 2)
            self.assert_says(result, "MiB free, and the steps may need 65 MiB there: release one, release two", "make room there")
            # Each alone has room.
            for step in steps:
                self.assert_exit(t.deploy({"targets": {"web": target}, "steps": [step]}, "--plan"), 0)
            result = t.deploy({"targets": {"web": target}, "steps": [{"preflight": {"inodes": {disk: "99999999"}, "disk": {disk: "1G"}}}]})
            self.assert_exit(result, 2)
            self.assert_says(result, "inodes free, 99999999 are wanted", "1G are wanted")


    def test_a_name_of_several_lines_is_asked_for_room_like_any_other(self):
        with Trial() as t, Sshd() as server:
            files = [{"file": {"path": t.path(name), "content": "x"}} for name in ("one\nline", "one\nand / another", "plain")]
            began = time.monotonic()
            result = t.deploy({"targets": {"web": server.target()}, "steps": [{"apply": {"resources": files}}]})
            self.assert_exit(result, 0)
            self.assertLess(time.monotonic() - began, 50, "the target was asked until a deadline ended it")


class Clock(Case):
    def test_a_clock_that_is_off_is_a_warning_and_then_an_error(self):
        with Trial() as t:
            tools = t.path("tools")
            with Sshd(options=[f"SetEnv PATH={tools}:/usr/bin:/bin"]) as server:
                for off, code, severity in ((3600, 2, "error"), (-3600, 2, "error"), (60, 0, "warning"), (0, 0, None)):
                    with self.subTest(off=off):
                        program(tools, "date", f'if [ "$*" = +%s ]; then echo $(($(/bin/date +%s) + {off})); else exec /bin/date "$@"; fi\n')
                        result = t.deploy({"targets": {"web": server.target()}, "steps": [{"preflight": {}}]}, "--json")
                        self.assert_exit(result, code)
                        self.assertEqual([x["severity"] for x in findings(result)], [severity] if severity else [], repr(result))
                        if severity:
                            self.assert_says(result, "the clock of 'web' is", "behind" if off < 0 else "ahead of", "timedatectl")
                program(tools, "date", "echo 1000\n")
                result = t.deploy({"targets": {"web": server.target()}, "steps": [{"preflight": {"clock": "0s"}}]}, "--json")
                self.assert_exit(result, 0)


class Backups(Case):
    def preflight(self, t, backups, *more):
        return t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"preflight": {"backups": backups}}, *more]}, "--json")

    def test_the_newest_file_of_a_backup_must_be_young_enough(self):
        with Trial() as t:
            folder = t.path("backups")
            self.assert_exit(self.preflight(t, {folder: "1h"}), 2)
            t.write("backups/empty", b"")
            result = self.preflight(t, {folder: "1h"})
            self.assert_exit(result, 2)
            self.assert_says(result, "there is no good backup of")
            for name, age in (("old", 9 * 86400), ("newer", 7200)):
                os.utime(t.write(f"backups/{name}", b"x"), (time.time() - age,) * 2)
            result = self.preflight(t, {folder: "1h"})
            self.assert_exit(result, 2)
            self.assert_says(result, "is 2h", "more than 1h", "newer")
            self.assert_exit(self.preflight(t, {folder: "3h"}), 0)

    def test_a_snapshot_counts_while_it_is_what_was_kept(self):
        with Trial() as t:
            data = t.write("data/rows", b"1\n")
            key = f"files {t.path('data')}"
            keep = {"snapshot": {"files": {"paths": [t.path("data")]}}}
            result = self.preflight(t, {key: "1h"})
            self.assert_exit(result, 2)
            self.assert_says(result, "there is no good backup")
            def change(text):
                return {"apply": {"resources": [{"file": {"path": data, "content": text}}]}}
            for text in ("2\n", "3\n"):
                self.assert_exit(t.deploy({"targets": {"web": {"local": {}}}, "steps": [keep, change(text)]}), 0)
            self.assert_exit(self.preflight(t, {key: "1h"}), 0)
            time_of_name = sorted(os.listdir(os.path.join(t.base, "snapshots", "shop.test")))
            self.assertEqual(len(time_of_name), 2)
            newest = max(time_of_name, key=lambda name: os.stat(os.path.join(t.base, "snapshots", "shop.test", name)).st_mtime_ns)
            for top, _, names in os.walk(os.path.join(t.base, "snapshots", "shop.test", newest)):
                for name in names:
                    if name == "rows":
                        with open(os.path.join(top, name), "w", encoding="ascii") as f:
                            f.write("rubbish")
            result = self.preflight(t, {key: "1h"})
            self.assert_exit(result, 0)
            self.assertEqual([x["severity"] for x in findings(result)], ["warning"])
            self.assert_says(result, "does not count")


class Programs(Case):
    def test_a_version_that_is_too_old_is_found_with_the_one_that_is_there(self):
        with Trial() as t:
            tools = t.path("tools")
            program(tools, "proxy", "echo proxy/1.18.0 built on 2021\n")
            program(tools, "mute", "echo hello\n")
            program(tools, "docker", 'case "$1" in version) echo 20.10.5+dfsg1;; *) exit 1;; esac\n')
            with Sshd(options=[f"SetEnv PATH={tools}:/usr/bin:/bin"]) as server:
                result = t.deploy({"targets": {"web": server.target()}, "steps": [{"preflight": {"versions": {
                    "proxy": "1.20", "mute": "1", "docker": "20.10.6", "compose": "2.20", "tar": "1", "absent": "1"}}}]}, "--json")
                self.assert_exit(result, 2)
                found = {x["at"].rpartition("/")[2]: x for x in findings(result)}
                self.assertIn("is 1.18.0, 1.20 or later", found["proxy"]["text"])
                self.assertIn("is 20.10.5, 20.10.6 or later", found["docker"]["text"])
                self.assertIn("is not on", found["compose"]["text"])
                self.assertIn("is not on", found["absent"]["text"])
                self.assertEqual(found["mute"]["severity"], "warning")
                self.assertNotIn("tar", found)

    def test_names_must_resolve_here_and_there(self):
        with Trial() as t, Sshd() as server:
            result = t.deploy({"targets": {"web": server.target()}, "steps": [{"preflight": {"dns": ["localhost", "shop.invalid"]}}]}, "--json")
            self.assert_exit(result, 2)
            self.assertEqual([x["text"] for x in findings(result)], ["the name 'shop.invalid' does not resolve on 'web'",
                                                                    "the name 'shop.invalid' does not resolve on this machine"])


if __name__ == "__main__":
    main()
