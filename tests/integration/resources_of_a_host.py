#!/usr/bin/env python3
"""What apply has on a host beside files, on a machine of its own (tests/servers/host_root.py): real users and keys, over this process and over SSH."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import host_root  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWRD0f/1GfcUqZk5TDMYpsNF/iw4xphpCyRVMKaI1UB"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM4k/K2IUCVx4HEivbgEUPXLLBUgJRpzX5P8/9FsEQkK"
FAIL = {"run": {"command": "false", "undo": "none"}}


def sh(script):
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


class Resources(Case):
    maxDiff = None

    def apply(self, t, resources, *args, target=None, after=(), code=0, allow=(), **more):
        document = {"name": "host", "environment": "test", "targets": {"web": target or {"local": {}}},
                    "steps": [{"apply": {"resources": resources, "allow_destroy": list(allow), **more}, "id": "host"}, *after]}
        result = t.deploy(document, *args)
        self.assert_exit(result, code)
        return result


class Keys(Resources):
    FILE = "/home/kept/.ssh/authorized_keys"
    MINE = {"authorized_key": {"user": "kept", "key": f"{KEY} ci", "options": 'restrict,command="echo \'a b\'"'}}
    ID = "authorized_key:kept:SHA256:"

    def setUp(self):
        sh("useradd -m -s /bin/sh kept")

    def tearDown(self):
        sh("userdel -r kept 2>/dev/null; rm -rf /srv/roots /home/kept; :")

    def keys(self, text=None, mode="600"):
        """The user's file: laid down, or looked at with all that sshd looks at."""
        if text is not None:
            sh("rm -rf /home/kept/.ssh; mkdir -m 700 /home/kept/.ssh")
            with open(self.FILE, "w", encoding="utf-8") as f:
                f.write(text)
            sh(f"chmod {mode} {self.FILE}; chown -R kept: /home/kept/.ssh")
        return sh(f"cd /home/kept; find .ssh -printf '%p %m %u %g\\n' 2>/dev/null | sort; cat {self.FILE} 2>/dev/null || :")

    def test_a_line_is_made_changed_and_removed_and_every_other_byte_stays(self):
        others = f'# {KEY} by hand\n\n  command="echo {KEY} x" {OTHER} other\nrubbish\nssh-rsa AAAA no end'
        before = self.keys(others)
        with Sshd() as server, Trial() as t:
            target = server.target()
            self.apply(t, [self.MINE], target=target, after=[FAIL], code=1)
            self.assertEqual(self.keys(), before)
            self.assert_says(self.apply(t, [self.MINE], "--plan", target=target), "authorized_key")
            self.assertEqual(self.keys(), before)
            self.apply(t, [self.MINE], target=target)
            made = self.keys()
            self.assertTrue(made.endswith(f"{others}\nrestrict,command=\"echo 'a b'\" {KEY} ci\n"), made)
            self.assert_says(self.apply(t, [self.MINE], "--plan", target=target), "Nothing to change")
            # Another option and the comment that is there; taken back with every byte.
            other = {"authorized_key": {"user": "kept", "key": KEY, "options": "restrict,pty"}}
            self.apply(t, [other], target=target, after=[FAIL], code=1)
            self.assertEqual(self.keys(), made)
            self.apply(t, [other], target=target)
            self.assertIn(f"restrict,pty {KEY} ci\n", self.keys())
            # What leaves goes where that is allowed by name, which the refusal says; what is taken back has its place again.
            sh(f"echo '# behind' >>{self.FILE}")
            made = self.keys()
            refused = self.apply(t, [], target=target, code=2)
            self.assert_says(refused, self.ID)
            name = next(w for w in refused.text.replace('"', " ").split() if w.startswith(self.ID)).strip(",;]")
            self.apply(t, [], target=target, allow=[name], after=[FAIL], code=1)
            self.assertEqual(self.keys(), made)
            self.apply(t, [], target=target, allow=[name])
            self.assertEqual(self.keys(), before.replace("no end", "no end\n# behind\n"))

    def test_a_rollback_takes_keys_users_and_groups_back_behind_the_commit(self):
        before, accounts = self.keys("ssh-rsa AAAA other\n"), sh("getent passwd; getent group")
        made = [self.MINE, {"group": {"name": "crew"}}, {"user": {"name": "fresh", "groups": ["crew"]}}]
        with Trial() as t:
            self.apply(t, made)
            after = self.keys(), sh("getent passwd; getent group")
            self.assert_says(t.run("rollback", "last", "--plan"), "destroy  web user:fresh", "destroy  web group:crew")
            self.assertEqual((self.keys(), sh("getent passwd; getent group")), after)
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual((self.keys(), sh("getent passwd; getent group")), (before, accounts))
            # Nothing of it is managed any more.
            self.assert_says(self.apply(t, [], "--plan"), "Nothing to change")
            # Other options, and back to those of before.
            self.apply(t, made)
            made_keys = self.keys()
            self.apply(t, [{"authorized_key": {"user": "kept", "key": KEY, "options": "restrict,pty"}}, *made[1:]])
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual(self.keys(), made_keys)
            self.assert_exit(t.run("rollback", "last"), 0)
        sh("userdel -r fresh; groupdel crew; :")

    def test_a_strict_sshd_takes_the_key_and_holds_to_its_options(self):
        sh("rm -f /tmp/id*; ssh-keygen -q -t ed25519 -N '' -f /tmp/id")
        with open("/tmp/id.pub", encoding="utf-8") as f:
            public = f.read().strip()
        sh("usermod -p '*' kept; mkdir -p -m 755 /run/sshd")
        forced = {"authorized_key": {"user": "kept", "key": public, "options": 'restrict,command="echo forced"'}}
        strict = ("AuthorizedKeysFile .ssh/authorized_keys", "StrictModes yes")
        self.keys(f"{OTHER}\n", mode="666")
        with Sshd(options=strict) as server, Trial() as t:
            ssh = ["ssh", "-p", str(server.port), "-i", "/tmp/id", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "kept@127.0.0.1", "echo mine"]
            self.assertNotEqual(subprocess.run(ssh, capture_output=True, check=False).returncode, 0)
            self.apply(t, [forced])
            self.assertEqual(subprocess.run(ssh, capture_output=True, text=True, check=False).stdout, "forced\n")

    def test_modes_that_sshd_would_not_take_are_put_right_and_taken_back(self):
        self.keys(f"{OTHER}\n", mode="666")
        sh("chmod 775 /home/kept/.ssh; chmod 755 /home/kept")
        before = self.keys()
        with Trial() as t:
            self.apply(t, [self.MINE], after=[FAIL], code=1)
            self.assertEqual(self.keys(), before)
            self.apply(t, [self.MINE])
            self.assertEqual([line.split()[1] for line in self.keys().splitlines()[:2]], ["755", "644"])
            self.assert_says(self.apply(t, [self.MINE], "--plan"), "Nothing to change")
            sh("chmod 666 " + self.FILE)
            self.assert_exit(self.refresh(t), 6)
            sh("chmod 644 " + self.FILE + "; chmod 777 /home/kept")
            self.assert_says(self.apply(t, [self.MINE], "--plan"), "others than kept can write to '/home/kept'")

    def refresh(self, t):
        return t.deploy({"name": "host", "environment": "test", "targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": [self.MINE]}, "id": "host"}]},
                        "--plan", "--refresh")

    def test_what_was_not_there_is_made_as_sshd_wants_it_and_goes_again(self):
        before = self.keys()
        user = {"user": {"name": "kept"}}
        mine = {"authorized_key": {**self.MINE["authorized_key"], "depends_on": ["user:kept"], "protect": True}}
        with Trial() as t:
            self.apply(t, [mine, user], after=[FAIL], code=1)
            self.assertEqual(self.keys(), before)
            self.apply(t, [mine, user])
            self.assertEqual([line for line in self.keys().splitlines() if line.startswith(".ssh")], [".ssh 700 kept kept", ".ssh/authorized_keys 600 kept kept"])
            self.assert_says(self.apply(t, [user], code=2), "it is protected")
            mine["authorized_key"]["protect"] = False
            self.apply(t, [mine, user])
            # What somebody changes in what is left to others is no drift.
            sh(f"sed -i 's/restrict/no-pty/' {self.FILE}")
            ignoring = {"authorized_key": {**mine["authorized_key"], "ignore_changes": ["options"]}}
            self.assert_says(self.apply(t, [mine, user], "--plan"), "no-pty")
            self.assert_says(self.apply(t, [ignoring, user], "--plan"), "Nothing to change")
            gone = t.deploy({"name": "host", "environment": "test", "targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": []}, "id": "host"}]},
                            "--destroy", "test")
            self.assert_exit(gone, 0)
            self.assertNotIn(KEY, self.keys())

    def test_a_users_links_and_files_of_others_lead_root_nowhere(self):
        sh("mkdir /srv/roots; echo secret >/srv/roots/authorized_keys; chmod 600 /srv/roots/authorized_keys")
        for lay, words in (("ln -s /srv/roots .ssh", "'/home/kept/.ssh' on 'web' is a link"),
                           ("mkdir .ssh; ln -s /srv/roots/authorized_keys .ssh", "authorized_keys' on 'web' is a link"),
                           ("mkdir .ssh; touch .ssh/authorized_keys; chown root .ssh/authorized_keys", "does not belong to kept")):
            sh(f"cd /home/kept; rm -rf .ssh; {lay}; chown -h kept: .ssh")
            with Trial() as t:
                self.assert_says(self.apply(t, [self.MINE], code=2), words)
        sh("rm -rf /home/kept/.ssh")
        self.assertEqual(sh("cat /srv/roots/authorized_keys"), "secret\n")

    def test_a_key_behind_a_link_is_not_forgotten_when_it_leaves(self):
        with Trial() as t:
            self.apply(t, [self.MINE])
            sh("mv /home/kept/.ssh /home/kept/elsewhere; ln -s elsewhere /home/kept/.ssh; chown -h kept: /home/kept/.ssh")
            self.assert_says(self.apply(t, [], code=2), "'/home/kept/.ssh' on 'web' is a link")

    def test_what_is_no_key_or_names_nothing_is_refused_before_a_target_is_asked(self):
        for given, words in (({"user": "kept", "key": "ssh-ed25519 AAAA"}, "is not a public key"),
                             ({"user": "kept", "key": f"restrict {KEY}"}, "what goes in front of them is `options`"),
                             ({"user": "kept", "key": KEY, "options": "restrct"}, "did you mean 'restrict'?"),
                             ({"user": "kept", "key": KEY, "option": "restrict"}, "did you mean 'options'?"),
                             ({"user": "kept", "key": KEY, "ignore_changes": ["opions"]}, "did you mean 'options'?"),
                             ({"user": "-r", "key": KEY}, "user")):
            with Trial() as t:
                self.assert_says(self.apply(t, [{"authorized_key": given}], code=2), words)
        with Trial() as t:
            self.assert_says(self.apply(t, [{"authorised_key": {"user": "kept", "key": KEY}}], code=2), "did you mean 'authorized_key'?")
            self.assert_says(self.apply(t, [self.MINE, {"authorized_key": {"user": "kept", "key": f"{KEY} again"}}], code=2), "stands twice")
        self.keys(f"{KEY} one\nno-pty {KEY} two\n")
        with Trial() as t:
            self.assert_says(self.apply(t, [self.MINE], code=2), "stands in the file more than once")


class Parameters(Resources):
    FILE = "/etc/sysctl.d/99-zz-davit-net.ipv4.ip_forward.conf"
    MINE = {"sysctl": {"name": "net.ipv4.ip_forward", "value": "1"}}

    def world(self):
        return sh("ls /etc/sysctl.d; cat " + self.FILE + " 2>/dev/null; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/tcp_rmem")

    def setUp(self):
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="utf-8") as f:
            f.write("0")
        self.addCleanup(sh, "rm -f /etc/sysctl.d/*davit*")

    def test_a_parameter_is_set_kept_for_the_next_start_and_taken_back(self):
        before = self.world()
        with Sshd() as server, Trial() as t:
            target = server.target()
            self.apply(t, [self.MINE], target=target, after=[FAIL], code=1)
            self.assertEqual(self.world(), before)
            self.apply(t, [self.MINE], target=target)
            self.assertEqual(sh("cat /proc/sys/net/ipv4/ip_forward; sysctl -n net.ipv4.ip_forward; grep -v '#' " + self.FILE), "1\n1\nnet.ipv4.ip_forward = 1\n")
            self.assert_says(self.apply(t, [self.MINE], "--plan", target=target), "Nothing to change")
            left = {"sysctl": {"name": "net.ipv4.ip_forward", "value": "0", "ignore_changes": ["value"]}}
            self.assert_says(self.apply(t, [left], "--plan", target=target), "Nothing to change")
            # The host's own program reads the file.
            sh("echo 0 >/proc/sys/net/ipv4/ip_forward; sysctl -q -p " + self.FILE)
            self.assert_says(self.apply(t, [self.MINE], "--plan", target=target), "Nothing to change")
            sh("echo 0 >/proc/sys/net/ipv4/ip_forward")
            self.assert_says(self.apply(t, [self.MINE], "--plan", "--refresh", target=target, code=6), 'value: "0" → "1"')
            sh("echo 1 >/proc/sys/net/ipv4/ip_forward")
            self.assert_says(self.apply(t, [], target=target, code=2), "sysctl:net.ipv4.ip_forward left the desired state")
            self.assert_says(self.apply(t, [], target=target, allow=["sysctl:net.ipv4.ip_forward"], after=[FAIL], code=1), "taking back")
            self.assertIn("net.ipv4.ip_forward = 1", self.world())
            self.apply(t, [], target=target, allow=["sysctl:net.ipv4.ip_forward"])
            self.assertEqual(self.world().replace("\n1\n", "\n0\n"), before)

    def test_several_words_are_one_value_and_what_the_kernel_refuses_is_taken_back(self):
        self.addCleanup(sh, "cat /proc/sys/net/ipv4/ip_local_port_range >/dev/null")
        before = self.world()
        with Trial() as t:
            ports = {"sysctl": {"name": "net.ipv4.ip_local_port_range", "value": "20000   30000"}}
            self.apply(t, [ports])
            self.assertEqual(sh("cat /proc/sys/net/ipv4/ip_local_port_range").split(), ["20000", "30000"])
            self.assert_says(self.apply(t, [ports], "--plan"), "Nothing to change")
        with Trial() as t:
            sh("rm -f /etc/sysctl.d/*davit*")
            self.assert_says(self.apply(t, [self.MINE, {"sysctl": {"name": "net.ipv4.ip_local_port_range", "value": "many"}}], code=1), "does not take 'many'")
            self.assertEqual(self.world(), before)

    def test_an_unknown_parameter_is_found_before_anything_changes(self):
        before = self.world()
        with Trial() as t:
            self.assert_says(self.apply(t, [self.MINE, {"sysctl": {"name": "net.ipv4.no_such", "value": "1"}}], code=2), "has no parameter 'net.ipv4.no_such'")
            for name in ("net..ipv4", "../x", "net.ipv4.ip_forward;id"):
                self.apply(t, [{"sysctl": {"name": name, "value": "1"}}], code=2)
            self.assert_says(self.apply(t, [{"sysctl": {"name": "net.ipv4.ip_forward", "valu": "1"}}], code=2), "did you mean 'value'?")
        self.assertEqual(self.world(), before)


class Cron(Resources):
    FILE = "/etc/cron.d/davit-backup"
    MINE = {"cron": {"name": "davit-backup", "schedule": "30 4 * * 1-5", "command": "tar -c /srv >/tmp/$(date +%F).tar"}}

    def setUp(self):
        self.addCleanup(sh, "rm -f /etc/cron.d/davit-*")

    def test_a_file_of_cron_is_made_changed_and_removed(self):
        other = {"cron": {**self.MINE["cron"], "schedule": "@hourly", "user": "nobody"}}
        with Sshd() as server, Trial() as t:
            self.apply(t, [self.MINE], target=server.target(), after=[FAIL], code=1)
            self.assertFalse(os.path.exists(self.FILE))
            # What is replaced is moved aside by a rename, which sh cannot tell from a copy on an overlay of two file systems, as this machine's root is.
            target = {"local": {}}
            self.apply(t, [self.MINE], target=target)
            made = sh(f"stat -c '%a %U %G' {self.FILE}; cat {self.FILE}")
            self.assertEqual(made, "644 root root\n# by davit\n30 4 * * 1-5 root tar -c /srv >/tmp/$(date +\\%F).tar\n")
            self.assert_says(self.apply(t, [self.MINE], "--plan", target=target), "Nothing to change")
            self.apply(t, [other], target=target, after=[FAIL], code=1)
            self.assertEqual(sh(f"stat -c '%a %U %G' {self.FILE}; cat {self.FILE}"), made)
            sh(f"chmod 666 {self.FILE}")
            self.assert_says(self.apply(t, [self.MINE], "--plan", "--refresh", target=target, code=6), "0666")
            self.apply(t, [other], target=target)
            self.assertEqual(sh(f"cat {self.FILE}").splitlines()[1].split()[:2], ["@hourly", "nobody"])
            self.assert_says(self.apply(t, [], target=target, code=2), f"cron:{self.FILE} left the desired state")
            self.apply(t, [], target=target, allow=[f"cron:{self.FILE}"])
            self.assertFalse(os.path.exists(self.FILE))

    def test_a_user_that_is_not_there_is_found_before_anything_changes(self):
        with Trial() as t:
            wrong = {"cron": {**self.MINE["cron"], "user": "no-such"}}
            self.assert_says(self.apply(t, [wrong], code=2), "there is no user 'no-such'")
        self.assertFalse(os.path.exists(self.FILE))


if __name__ == "__main__":
    host_root.enter()
    main()
