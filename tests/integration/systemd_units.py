#!/usr/bin/env python3
"""systemd_unit of apply, with a systemd of its own as process 1 (tests/servers/systemd_root.py)."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import waiting  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers import host_root, systemd_root  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

FAIL = {"run": {"command": "false", "undo": "none"}}
UNIT = "/etc/systemd/system/shop.service"
# It says when it is ready: of one that does not, a second has to pass.
SAYS = "Type=notify\nNotifyAccess=all\n"
CONTENT = f"[Unit]\nDescription=shop\n[Service]\n{SAYS}ExecStart=/bin/sh -c 'cat /srv/shop.conf; systemd-notify --ready; exec sleep 1000'\n[Install]\nWantedBy=multi-user.target\n"
CONF = "/srv/shop.conf"


def sh(script):
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def shown(*names):
    return sh(f"systemctl show {' '.join('-p ' + n for n in names)} --value shop.service").split()


def world():
    """All of it but which process runs."""
    return (sh("find /etc/systemd/system /var/lib/davit-units -printf '%p %y %m %l\\n' 2>/dev/null | sort; cat " + UNIT + " 2>/dev/null || :"),
            sh("systemctl show -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload shop.service"))


class Units(Case):
    maxDiff = None

    def setUp(self):
        sh(f"echo 1 >{CONF}")

    def tearDown(self):
        sh("systemctl stop shop.service 2>/dev/null; systemctl disable -q shop.service 2>/dev/null; systemctl reset-failed; "
           f"rm -rf {UNIT} {CONF} /lib/systemd/system/shop.service /var/lib/davit-units; systemctl daemon-reload")

    def apply(self, t, resources, *args, target=None, after=(), code=0, allow=()):
        document = {"name": "units", "environment": "test", "targets": {"web": target or {"local": {}}},
                    "steps": [{"apply": {"resources": resources, "allow_destroy": list(allow)}, "id": "units"}, *after]}
        result = t.deploy(document, *args)
        self.assert_exit(result, code)
        return result

    @staticmethod
    def unit(**more):
        return {"systemd_unit": {"name": "shop.service", "content": CONTENT, "enabled": True, "state": "started", **more}}

    def test_a_unit_is_made_enabled_and_started_and_goes_again(self):
        before = world()
        with Sshd() as server, Trial() as t:
            target = server.target()
            self.apply(t, [self.unit()], target=target, after=[FAIL], code=1)
            self.assertEqual(world(), before)
            self.assert_says(self.apply(t, [self.unit()], "--plan", target=target), "systemd_unit:shop.service")
            self.assertEqual(world(), before)
            self.apply(t, [self.unit()], target=target)
            self.assertEqual(shown("ActiveState", "UnitFileState", "NeedDaemonReload"), ["active", "enabled", "no"])
            self.assertTrue(os.path.islink("/etc/systemd/system/multi-user.target.wants/shop.service"))
            made, process = world(), shown("MainPID")
            self.assert_says(self.apply(t, [self.unit()], "--plan", target=target), "Nothing to change")
            # It left: refused until allowed, taken back with all that it was, then gone.
            self.assert_says(self.apply(t, [], target=target, code=2), "systemd_unit:shop.service left the desired state")
            self.apply(t, [], target=target, allow=["systemd_unit:shop.service"], after=[FAIL], code=1)
            self.assertEqual(world(), made)
            self.assertNotEqual(shown("MainPID"), process)
            self.apply(t, [], target=target, allow=["systemd_unit:shop.service"])
            self.assertEqual(world()[1], before[1])
            self.assertFalse(os.path.lexists(UNIT))

    def test_a_changed_file_restarts_it_and_an_undo_starts_the_former_one(self):
        other = CONTENT.replace("sleep 1000", "sleep 2000")
        with Trial() as t:
            self.apply(t, [self.unit()])
            made = world()
            self.assert_says(self.apply(t, [self.unit(content=other)], "--plan"), "it is restarted")
            self.apply(t, [self.unit(content=other)], after=[FAIL], code=1)
            self.assertEqual(world(), made)
            self.assertIn("sleep\0" + "1000", sh(f"cat /proc/{shown('MainPID')[0]}/cmdline"))
            self.apply(t, [self.unit(content=other)])
            self.assertIn("sleep\0" + "2000", sh(f"cat /proc/{shown('MainPID')[0]}/cmdline"))
            # Stopped and disabled, and back.
            made = world()
            off = self.unit(content=other, enabled=False, state="stopped")
            self.apply(t, [off], after=[FAIL], code=1)
            self.assertEqual(world(), made)
            self.apply(t, [off])
            self.assertEqual(shown("ActiveState", "UnitFileState"), ["inactive", "disabled"])
            # Drift: somebody started it.
            sh("systemctl start shop.service")
            self.assert_says(self.apply(t, [off], "--plan", "--refresh", code=6), "; it stops")
            ignoring = self.unit(content=other, enabled=False, state="stopped", ignore_changes=["state"])
            self.assert_says(self.apply(t, [ignoring], "--plan"), "Nothing to change")

    def test_a_rollback_behind_the_commit_starts_the_former_one_and_the_first_one_goes(self):
        with Trial() as t:
            before = world()
            unit = {"systemd_unit": {"name": "shop.service", "content": CONTENT, "enabled": True, "state": "started"}}
            self.apply(t, [unit])
            first = world()
            other = {"systemd_unit": {**unit["systemd_unit"], "content": CONTENT.replace("sleep 1000", "sleep 2000")}}
            self.apply(t, [other])
            self.assertIn("sleep 2000", world()[0])
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual(world(), first)
            self.assertIn("sleep 1000", sh("tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value shop.service)/cmdline"))
            self.assert_says(self.apply(t, [unit], "--plan"), "Nothing to change")
        with Trial() as t:
            self.tearDown()
            self.setUp()
            self.apply(t, [unit])
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual(world(), before)

    def test_a_configuration_file_restarts_it_and_an_undo_starts_it_with_the_former_one(self):
        def resources(text):
            return [{"file": {"id": "conf", "path": CONF, "content": text}}, self.unit(restart_on=["${{ resources.conf.digest }}"])]

        def printed():
            return sh("journalctl --sync; journalctl --no-pager -q -o cat -u shop.service | tail -n 1").strip()
        with Trial() as t:
            self.apply(t, resources("one\n"))
            self.assertEqual(printed(), "one")
            made = world()
            self.assert_says(self.apply(t, resources("one\n"), "--plan"), "Nothing to change")
            self.apply(t, resources("two\n"), after=[{"run": {"script": "journalctl --sync", "undo": "none"}}, FAIL], code=1)
            self.assertEqual((world(), printed()), (made, "one"))
            self.apply(t, resources("two\n"))
            self.assertEqual(printed(), "two")

    def test_a_start_that_fails_shows_its_last_words_and_leaves_the_former_one_running(self):
        with Trial() as t:
            self.apply(t, [self.unit()])
            made = world()
            for broken, words in ((CONTENT.replace(SAYS, "").replace("ExecStart=", "Type=oneshot\nExecStart=/bin/sh -c 'echo no room for \\\\033[31m it; exit 3'\n#"), "no room for"),
                                  (CONTENT.replace(SAYS, "").replace("systemd-notify --ready; exec sleep 1000", "echo port taken; exit 1"), "port taken"),
                                  (CONTENT.replace("ExecStart=/bin/sh", "ExecStart=/no/such"), "shop.service is failed")):
                self.assert_says(self.apply(t, [self.unit(content=broken)], code=1), words)
                self.assertEqual(world(), made)

    def test_a_configuration_that_does_not_start_is_gone_before_it_starts_again(self):
        strict = CONTENT.replace("cat /srv/shop.conf;", "grep -q good /srv/shop.conf || exit 1;")
        def resources(text):
            return [{"file": {"id": "conf", "path": CONF, "content": text}}, self.unit(content=strict, restart_on=["${{ resources.conf.digest }}"])]
        with Trial() as t:
            self.apply(t, resources("good\n"))
            made = world()
            self.apply(t, resources("bad\n"), code=1)
            self.assertEqual(world(), made)
            self.assertEqual(sh(f"cat {CONF}"), "good\n")

    def test_a_unit_of_a_package_is_enabled_and_started_but_stays(self):
        # One that leaves its unit alone, and one that starts it as Debian's do.
        starts = {"postinst": "#!/bin/sh\nsystemctl daemon-reload; systemctl enable -q shop.service; systemctl start shop.service\n",
                  "prerm": "#!/bin/sh\nsystemctl stop shop.service; systemctl disable -q shop.service\n"}
        for number, scripts in enumerate((None, starts)):
            with self.subTest(number=number):
                host_root.make_package("davit-served", version=f"{number}.0", files={"/lib/systemd/system/shop.service": CONTENT}, scripts=scripts)
                host_root.read_lists()
                self.serve()

    def serve(self):
        unit = {"systemd_unit": {"name": "shop.service", "enabled": True, "state": "started", "depends_on": ["package:davit-served"]}}
        with Trial() as t:
            self.assert_says(self.apply(t, [{"systemd_unit": {"name": "shop.service", "state": "started"}}], code=2), "there is no unit 'shop.service'")
            before = world()
            self.apply(t, [{"package": {"name": "davit-served"}}, unit], after=[FAIL], code=1)
            self.assertEqual(world()[0], before[0])
            self.apply(t, [{"package": {"name": "davit-served"}}, unit])
            self.assertEqual(shown("ActiveState", "UnitFileState"), ["active", "enabled"])
            self.assert_says(self.apply(t, [{"package": {"name": "davit-served"}}, unit], "--plan"), "Nothing to change")
            self.apply(t, [{"package": {"name": "davit-served"}}], allow=["systemd_unit:shop.service"])
            self.assertEqual(shown("ActiveState", "UnitFileState"), ["active", "enabled"])
        sh("systemctl stop shop.service; systemctl disable -q shop.service; apt-get -q -y purge davit-served")

    def test_a_timer_is_two_units_and_runs_what_it_is_for(self):
        work = {"systemd_unit": {"name": "report.service", "content": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo done >/srv/report'\n"}}
        timer = {"systemd_unit": {"name": "report.timer", "content": "[Timer]\nOnActiveSec=100ms\nAccuracySec=1ms\n[Install]\nWantedBy=timers.target\n", "enabled": True,
                                  "state": "started", "depends_on": ["systemd_unit:report.service"]}}
        self.addCleanup(sh, "systemctl stop report.timer 2>/dev/null; systemctl disable -q report.timer 2>/dev/null; rm -f /etc/systemd/system/report.*; systemctl daemon-reload")
        with Trial() as t:
            self.apply(t, [timer, work])
            waiting.until(lambda: os.path.exists("/srv/report"), "the timer has run its service")
            self.assertEqual(sh("systemctl show -p ActiveState -p UnitFileState --value report.timer").split(), ["active", "enabled"])
            self.assert_says(self.apply(t, [timer, work], "--plan"), "Nothing to change")

    def test_what_cannot_be_is_refused_before_anything_changes(self):
        for given, words in (({"name": "shop"}, "name"), ({"name": "shop.service"}, "nothing is asked of 'shop.service'"),
                             ({"name": "shop.service", "content": "[Service]\n", "enabled": True}, "has no [Install]"),
                             ({"name": "shop.service", "content": CONTENT, "state": "start"}, "did you mean 'started'?"),
                             ({"name": "shop.service", "content": CONTENT, "enable": True}, "did you mean 'enabled'?"),
                             ({"name": "../x.service", "state": "stopped"}, "name"), ({"name": "x@.service", "state": "stopped"}, "is a template"),
                             ({"name": "shop.service", "content": CONTENT, "state": "stopped", "restart_on": ["x"]}, "never started anew")):
            with Trial() as t:
                self.assert_says(self.apply(t, [{"systemd_unit": given}], code=2), words)
        sh(f"ln -s /dev/null {UNIT}; systemctl daemon-reload")
        with Trial() as t:
            self.assert_says(self.apply(t, [self.unit()], code=2), "is masked")
        sh(f"rm {UNIT}; ln -s {CONF} {UNIT}; systemctl daemon-reload")
        with Trial() as t:
            self.assert_says(self.apply(t, [self.unit()], code=2), "is a link")


MINE = f"[Unit]\nDescription=mine\n[Service]\n{SAYS}ExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 1000'\n[Install]\nWantedBy=default.target\n"
MY = "/home/deploy/.config/systemd/user/mine.service"


class UnitsOfUsers(Case):
    """Of a user whom nobody has logged in as, with a logind that lets users linger."""
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        sh("systemctl start dbus.socket systemd-logind.service")

    def setUp(self):
        sh("useradd -m -s /bin/sh deploy; usermod -p '*' deploy")
        self.addCleanup(sh, "loginctl disable-linger deploy || :; systemctl stop user@$(id -u deploy).service; userdel -r deploy 2>/dev/null")

    apply = Units.apply

    @staticmethod
    def unit(**more):
        return {"systemd_unit": {"name": "mine.service", "scope": "user", "user": "deploy", "content": MINE, "enabled": True, "state": "started", **more}}

    @staticmethod
    def user(command):
        return sh(f"u=$(id -u deploy); runuser -u deploy -- env XDG_RUNTIME_DIR=/run/user/$u {command}")

    def shown(self, *names):
        return self.user(f"systemctl --user show {' '.join('-p ' + n for n in names)} --value mine.service").split()

    def world(self):
        return sh("find /home/deploy -printf '%p %y %m %u %g %l\\n' | sort; cat " + MY + " 2>/dev/null || :; ls /var/lib/systemd/linger")

    def test_a_unit_of_a_user_is_made_enabled_and_started_without_a_login_and_goes_again(self):
        before, name = self.world(), "systemd_unit:deploy/mine.service"
        with Trial() as t:
            self.apply(t, [self.unit()], after=[FAIL], code=1)
            self.assertEqual(self.world(), before)
            self.assert_says(self.apply(t, [self.unit()], "--plan"), name)
            self.assertEqual(self.world(), before)
            self.apply(t, [self.unit(restart_on=["one"])])
            self.assertEqual(self.shown("ActiveState", "UnitFileState", "NeedDaemonReload"), ["active", "enabled", "no"])
            self.assertEqual(sh(f"stat -c %U {MY} /proc/{self.shown('MainPID')[0]}").split(), ["deploy", "deploy"])
            self.assertEqual(os.listdir("/var/lib/systemd/linger"), ["deploy"])
            made, process = self.world(), self.shown("MainPID")
            self.assert_says(self.apply(t, [self.unit(restart_on=["one"])], "--plan"), "Nothing to change")
            # A changed file restarts it, and an undo starts the former one.
            self.apply(t, [self.unit(content=MINE.replace("1000", "2000"), restart_on=["two"])], after=[FAIL], code=1)
            self.assertEqual((self.world(), self.shown("ActiveState")), (made, ["active"]))
            self.assertNotEqual(self.shown("MainPID"), process)
            # Seen without the user's manager too.
            sh("systemctl stop user@$(id -u deploy).service")
            self.assert_says(self.apply(t, [self.unit(restart_on=["one"])], "--plan", "--refresh", code=6), "state: \"stopped\" → \"started\"")
            sh("systemctl start user@$(id -u deploy).service")
            self.assert_says(self.apply(t, [], code=2), f"{name} left the desired state")
            self.apply(t, [], allow=[name], after=[FAIL], code=1)
            self.assertEqual((self.world(), self.shown("ActiveState", "UnitFileState")), (made, ["active", "enabled"]))
            self.apply(t, [], allow=[name])
            self.assertFalse(os.path.lexists(MY))
            self.assertEqual(self.shown("LoadState", "ActiveState"), ["not-found", "inactive"])

    def test_a_user_is_made_with_a_unit_and_goes_with_it_when_it_fails(self):
        unit = self.unit(user="other", depends_on=["user:other"])
        with Trial() as t:
            self.apply(t, [{"user": {"name": "other", "shell": "/bin/sh"}}, unit], after=[FAIL], code=1)
            self.assertEqual(sh("getent passwd other || :; ls -d /home/other 2>/dev/null || :; ls /var/lib/systemd/linger"), "")

    def test_the_user_itself_needs_no_root_and_another_one_is_refused(self):
        with Sshd() as server, Trial() as t:
            target = server.target()
            target["ssh"]["user"] = "deploy"
            os.makedirs(t.base)
            os.chmod(os.path.dirname(t.base), 0o755)
            shutil.chown(t.base, "deploy")
            before = self.world()
            self.apply(t, [self.unit()], target=target, after=[FAIL], code=1)
            self.assertEqual(self.world(), before)
            self.apply(t, [self.unit()], target=target)
            self.assertEqual(self.shown("ActiveState", "UnitFileState"), ["active", "enabled"])
            self.assert_says(self.apply(t, [self.unit(), self.unit(user="nobody")], target=target, code=2), "is of another user than 'web' is reached as")
            self.assert_says(self.apply(t, [Units.unit()], target=target, code=2), "need root on 'web'")

    def test_links_of_the_user_lead_root_nowhere(self):
        with Trial() as t:
            self.user("mkdir -p /home/deploy/.config/systemd/user")
            self.user(f"ln -s /etc/shadow {MY}")
            self.assert_says(self.apply(t, [self.unit(state="stopped", enabled=False)], code=2), "is a link")
            self.user("rm -r /home/deploy/.config/systemd/user")
            self.user("ln -s /etc/systemd/system /home/deploy/.config/systemd/user")
            self.apply(t, [self.unit(state="stopped", enabled=False)], code=1)
            self.assertFalse(os.path.lexists("/etc/systemd/system/mine.service"))

    def test_what_cannot_be_is_refused_before_anything_changes(self):
        for given, words in (({"scope": "user"}, "whose unit it is"), ({"user": "deploy"}, "without `scope: user`"), ({"scope": "users"}, "did you mean 'user'?"),
                             ({"scope": "user", "user": "noone"}, "there is no user 'noone'")):
            with Trial() as t:
                self.assert_says(self.apply(t, [{"systemd_unit": {"name": "mine.service", "content": MINE, "state": "started", **given}}], code=2), words)


if __name__ == "__main__":
    systemd_root.enter()
    main()
