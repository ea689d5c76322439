#!/usr/bin/env python3
"""bootstrap on a machine of its own (tests/servers/host_root.py): real apt, useradd, visudo; over this process, a sh, and SSH."""
import concurrent.futures
import grp
import os
import pwd
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import host_root  # noqa: E402
from servers.sshd import Sshd  # noqa: E402

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWRD0f/1GfcUqZk5TDMYpsNF/iw4xphpCyRVMKaI1UB"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM4k/K2IUCVx4HEivbgEUPXLLBUgJRpzX5P8/9FsEQkK"
# Processes of a user are seen by their number: not one of another test that runs beside this one.
UID = 20000 + os.getpid() % 30000
FAIL = {"run": {"command": "false", "undo": "none"}}
WHOLE = {
    "packages": ["davit-example"],
    "groups": [{"name": "shop", "gid": 4242}],
    "users": [{"name": "deploy", "uid": UID, "groups": ["shop"], "shell": "/bin/bash", "authorized_keys": [f"restrict,command=\"echo 'a b'\" {KEY} ci@example"]}],
    "sudoers": [{"name": "deploy", "lines": ["deploy ALL=(root) NOPASSWD: /bin/true", "Defaults:deploy !requiretty"]}],
    "directories": [{"path": "/srv/shop/data", "owner": "deploy", "group": "shop", "mode": "0750"}],
    "timezone": "Europe/Berlin",
}


def sh(script):
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


def world():
    """All that bootstrap may change, as lines."""
    return sh("""getent passwd; getent group; for u in $(getent passwd | cut -d: -f1); do echo "$u: $(id -nG "$u")"; done
dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' | grep ^installed || true
readlink /etc/localtime; cat /etc/timezone /etc/fstab 2>/dev/null
find /etc/sudoers.d /home /srv/shop /root/.ssh -printf '%y %m %u %g %p %l\n' 2>/dev/null | sort
find /etc/sudoers.d /home /root/.ssh -type f 2>/dev/null | sort | xargs -r sha256sum; cat /proc/swaps; find /etc -maxdepth 1 -name '.davit*'""").splitlines()


class Bootstrap(Case):
    maxDiff = None

    def tearDown(self):
        sh("apt-get -q -y purge 'davit-*' 2>/dev/null; userdel -r deploy 2>/dev/null; groupdel shop 2>/dev/null; rm -rf /srv/shop /etc/sudoers.d/deploy /home/deploy; :")

    def deploy(self, t, given, *args, target=None, after=(), code=0):
        document = {"targets": {"web": target or {"local": {}}}, "steps": [{"bootstrap": given}, *after]}
        result = t.deploy(document, *args)
        self.assert_exit(result, code)
        return result

    def around(self, given, target=None):
        """Made, found done, and taken back by the deployment of a second trial whose next step fails."""
        before = world()
        with Trial() as t:
            self.deploy(t, given, target=target, after=[FAIL], code=1)
            self.assertEqual(world(), before)
        return before

    def test_a_failed_deployment_leaves_the_host_as_it_was(self):
        self.around(WHOLE)

    def test_over_ssh_it_is_the_same(self):
        with Sshd() as server:
            self.around(WHOLE, target=server.target())

    def test_a_second_run_changes_nothing_and_a_rollback_takes_back_what_was_made(self):
        before = world()
        with Trial() as t:
            plan = self.deploy(t, WHOLE, "--plan")
            self.assert_says(plan, "not installed → 1.0, with davit-library", "new user, home /home/deploy, shell /bin/bash, groups shop", "→ Europe/Berlin",
                             "/srv/shop/data", "lines for sudo: 2", "new key: restrict")
            self.assertEqual(world(), before)
            self.deploy(t, WHOLE)
            made = world()
            deploy = pwd.getpwnam("deploy")
            self.assertEqual((deploy.pw_dir, deploy.pw_shell, grp.getgrnam("shop").gr_gid), ("/home/deploy", "/bin/bash", 4242))
            self.assertEqual(sorted(host_root.installed()), ["davit-example", "davit-library"])
            self.assertEqual(sh("stat -c '%U %a' /home/deploy/.ssh /home/deploy/.ssh/authorized_keys"), "deploy 700\ndeploy 600\n")
            self.assertIn("NOPASSWD: /bin/true", sh("sudo -n -l -U deploy"))
            self.assert_says(self.deploy(t, WHOLE, "--plan"), "Nothing to change")
            self.assertEqual(world(), made)
            # The directory and the lines for sudo stay, as the page says; all else goes back.
            result = t.run("rollback", "last")
            self.assertEqual(host_root.installed(), {}, repr(result))
            self.assertNotIn("deploy", sh("getent passwd"))
            sh("rm -r /srv/shop /etc/sudoers.d/deploy")
            self.assertEqual(world(), before)

    def test_what_was_there_has_its_former_groups_shell_keys_and_packages_again(self):
        sh("groupadd old; groupadd new; useradd -m -s /bin/sh -G old kept; apt-get -q -y install davit-library")
        sh(f"mkdir -m 700 /home/kept/.ssh; printf '# by hand\\n{KEY} by hand\\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ other\\n' >/home/kept/.ssh/authorized_keys; chown -R kept: /home/kept/.ssh")
        try:
            self.around({"packages": ["davit-example", "davit-library"], "timezone": "Asia/Tokyo", "users": [
                {"name": "kept", "groups": ["new"], "shell": "/bin/bash", "authorized_keys": [f"no-pty {KEY} ci", OTHER]}]})
            with Trial() as t:
                self.deploy(t, {"users": [{"name": "kept", "groups": ["new"], "authorized_keys": [f"no-pty {KEY} ci"]}]})
            self.assertEqual(sh("id -nG kept").split(), ["kept", "old", "new"])
            self.assertEqual(sh("cat /home/kept/.ssh/authorized_keys"), f"# by hand\nno-pty {KEY} ci\nssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ other\n")
        finally:
            sh("userdel -r kept 2>/dev/null; groupdel old; groupdel new")

    def test_a_home_with_something_in_it_stays(self):
        with Trial() as t:
            self.deploy(t, WHOLE, after=[{"run": {"script": "echo data >/home/deploy/data", "undo": "none"}}, FAIL], code=1)
        self.assertEqual(sh("cat /home/deploy/data; getent passwd deploy || echo gone"), "data\ngone\n")
        # A home that was there before is nobody's to remove, even one that is as new.
        sh("rm -r /home/deploy; cp -r /etc/skel /home/deploy")
        self.around(WHOLE)
        sh("rm -r /home/deploy")

    def test_a_user_whose_processes_run_stays_whole_and_goes_once_they_have_ended(self):
        before = world()
        with Trial() as t:
            # Started from here: a deployment ends the processes of its own commands before it takes anything back.
            ready, go = t.path("ready"), t.path("go")
            os.mkfifo(ready), os.mkfifo(go)
            runs = [{"run": {"script": f"echo >{ready}; cat {go}", "undo": "none"}}, FAIL]
            with concurrent.futures.ThreadPoolExecutor() as pool:
                done = pool.submit(self.deploy, t, {"users": [{"name": "deploy"}]}, after=runs, code=4)
                with open(ready, encoding="utf-8") as f:
                    f.read()
                process = subprocess.Popen(["runuser", "-u", "deploy", "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                process.stdin.write(b"x"), process.stdin.flush(), process.stdout.read(1)
                with open(go, "w", encoding="utf-8"):
                    pass
                self.assert_says(done.result(), "processes of deploy run")
            self.assertTrue(os.path.isdir("/home/deploy"))
            process.stdin.close()
            process.wait()
            process.stdout.close()
            self.assert_exit(t.run("rollback", "last"), 0)
        self.assertEqual(world(), before)

    def test_a_group_of_the_users_name_survives_the_user(self):
        sh("groupadd -g 5555 deploy")
        self.around({"users": [{"name": "deploy", "groups": ["deploy", "users"]}]})
        with Trial() as t:
            self.deploy(t, {"users": [{"name": "deploy", "groups": ["deploy", "users"]}]})
            self.assert_says(self.deploy(t, {"users": [{"name": "deploy", "groups": ["deploy", "users"]}]}, "--plan"), "Nothing to change")
        sh("userdel -r deploy 2>/dev/null; getent group deploy >/dev/null || groupadd -g 5555 deploy")
        sh("groupdel deploy")

    def test_a_package_that_another_one_needs_by_then_stays_as_its_dependency(self):
        with Trial() as t:
            self.deploy(t, {"packages": ["davit-library"]}, after=[{"run": {"command": ["apt-get", "-q", "-y", "install", "davit-other"], "undo": "none"}}, FAIL], code=1)
        self.assertEqual(sorted(host_root.installed()), ["davit-library", "davit-other"])
        sh("apt-get -q -y purge davit-other; apt-get -q -y autoremove --purge")
        self.assertEqual(host_root.installed(), {})

    def test_a_package_that_cannot_be_configured_goes_again_with_all_it_brought(self):
        host_root.make_package("davit-broken", depends="davit-library", scripts={"postinst": "#!/bin/sh\nexit 1\n"})
        host_root.read_lists()
        before = world()
        with Trial() as t:
            result = self.deploy(t, {"packages": ["davit-broken"]}, code=1)
            self.assert_says(result, "davit-broken")
        self.assertEqual(world(), before)

    def test_packages_of_lists_that_were_never_read_are_found(self):
        sh("rm -rf /var/lib/apt/lists/*")
        with Trial() as t:
            self.assert_says(self.deploy(t, {"packages": ["davit-example"]}), "they are read anew first")
        self.assertIn("davit-example", host_root.installed())

    def test_lines_that_sudo_could_not_read_are_found_before_anything_changes(self):
        before = world()
        with Trial() as t:
            result = self.deploy(t, {**WHOLE, "packages": [], "sudoers": [{"name": "bad", "lines": ["deploy ALL=(root NOPASSWD: ALL"]}]}, code=2)
            self.assert_says(result, "sudo could not read it", "syntax error")
        self.assertEqual(world(), before)

    def test_files_that_are_good_each_but_not_together_go_at_once(self):
        before = world()
        lines = ["User_Alias OPS = root"]
        with Trial() as t:
            result = self.deploy(t, {"sudoers": [{"name": "one", "lines": lines}, {"name": "two", "lines": lines}]}, code=1)
            self.assert_says(result, "sudo could not read it")
        self.assertEqual(world(), before)

    def test_apply_has_groups_users_and_packages_as_resources(self):
        whole = [{"group": {"name": "shop", "gid": 4242}}, {"user": {"name": "deploy", "groups": ["shop"], "depends_on": ["group:shop"]}},
                 {"package": {"name": "davit-example"}}]
        before = world()
        with Trial() as t:
            def apply(resources, *args, after=(), code=0, allow=()):
                result = t.deploy({"targets": {"web": {"local": {}}}, "steps": [
                    {"apply": {"resources": resources, "allow_destroy": list(allow)}, "id": "host"}, *after]}, *args)
                self.assert_exit(result, code)
                return result
            apply(whole, after=[FAIL], code=1)
            self.assertEqual(world(), before)
            apply(whole)
            self.assertIn("shop", sh("id -nG deploy").split())
            self.assertIn("davit-example", host_root.installed())
            self.assert_says(apply(whole, "--plan"), "Nothing to change")
            self.assert_says(apply([{"group": {"name": "shop", "gid": 7}}, *whole[1:]], code=2), "has the number 4242")
            # The user stays, and the package goes only where that is allowed.
            self.assert_says(apply(whole[:1], code=2), "package:davit-example left the desired state")
            apply(whole[:1], allow=["package:davit-example", "user:deploy"], after=[FAIL], code=1)
            self.assertIn("davit-example", host_root.installed())
            apply(whole[:1], allow=["package:davit-example", "user:deploy"])
            self.assertEqual(host_root.installed(), {})
            self.assertIn("deploy", sh("getent passwd"))

    def test_a_group_that_was_destroyed_comes_back_with_its_members(self):
        sh("useradd -m deploy; useradd -M other; groupadd shop; gpasswd -a deploy shop; gpasswd -a other shop")
        try:
            before = world()
            with Trial() as t:
                def apply(resources, *after):
                    return t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": resources, "allow_destroy": ["group:shop"]}}, *after]})
                self.assert_exit(apply([{"group": {"name": "shop"}}]), 0)
                self.assert_exit(apply([], FAIL), 1)
                self.assertEqual(world(), before)
                # A member who went meanwhile is no reason to leave the group away.
                result = apply([], {"run": {"command": ["userdel", "other"], "undo": "none"}}, FAIL)
                self.assert_exit(result, 1)
                self.assertEqual(grp.getgrnam("shop").gr_mem, ["deploy"], repr(result))
        finally:
            sh("userdel other 2>/dev/null || :")

    def test_apply_has_a_package_that_is_there_as_a_dependency_and_lets_it_go_again(self):
        def apply(t, names, *args, after=(), code=0, allow=()):
            resources = [{"package": {"name": name}} for name in names]
            document = {"targets": {"web": {"local": {}}}, "steps": [{"apply": {"resources": resources, "allow_destroy": list(allow)}, "id": "host"}, *after]}
            self.assert_exit(t.deploy(document, *args), code)

        def unasked():
            return sh("apt-mark showauto").split()
        sh("apt-get -q -y install davit-other")
        with Trial() as t:
            # There already, as a dependency: it is known from now on, and let go of again.
            apply(t, ["davit-library"], after=[FAIL], code=1)
            apply(t, ["davit-library"])
            apply(t, ["davit-library"])
            self.assertEqual(unasked(), ["davit-library"])
            apply(t, [], allow=["package:davit-library"], after=[FAIL], code=1)
            apply(t, [], allow=["package:davit-library"])
            self.assertEqual(unasked(), ["davit-library"])
            # Asked for, and something else needs it: it becomes a dependency, and is asked for again.
            sh("apt-mark manual davit-library")
            apply(t, ["davit-library"])
            apply(t, [], allow=["package:davit-library"], after=[FAIL], code=1)
            self.assertEqual(unasked(), [])
            apply(t, [], allow=["package:davit-library"])
            self.assertEqual(unasked(), ["davit-library"])
            # Nothing needs it any more: it goes, and comes back as what it was.
            apply(t, ["davit-library"])
            sh("apt-get -q -y purge davit-other")
            apply(t, [], allow=["package:davit-library"], after=[FAIL], code=1)
            self.assertEqual(unasked(), ["davit-library"])
            apply(t, [], allow=["package:davit-library"])
        self.assertEqual(host_root.installed(), {})

    def disk(self):
        """A file system in a file: an overlay or one in memory cannot have swap."""
        made = subprocess.run("dd if=/dev/zero of=/tmp/disk bs=1M count=24 && mkfs.ext4 -q /tmp/disk && mkdir -p /srv/disk && mount -o loop /tmp/disk /srv/disk",
                              shell=True, capture_output=True, check=False)
        if made.returncode:
            self.skipTest("no file system can be mounted from a file here")
        self.addCleanup(sh, "swapoff /srv/disk/swap 2>/dev/null; umount /srv/disk; sed -i '/srv.disk/d' /etc/fstab; rm /tmp/disk")
        tried = subprocess.run("cd /srv/disk; dd if=/dev/zero of=t bs=1M count=1; chmod 600 t; mkswap t && swapon t && swapoff t; s=$?; rm t; exit $s",
                               shell=True, capture_output=True, check=False)
        if tried.returncode:
            self.skipTest("swap cannot be switched on here")

    def test_swap_is_made_made_larger_and_taken_back(self):
        self.disk()
        small, large = ({"swap": {"path": "/srv/disk/swap", "size": size}} for size in ("2M", "4M"))
        before = self.around(small)
        self.assertEqual(os.listdir("/srv/disk"), ["lost+found"])
        with Trial() as t:
            self.deploy(t, small)
            self.assertIn("/srv/disk/swap none swap sw 0 0", sh("cat /etc/fstab"))
            self.assert_says(self.deploy(t, small, "--plan"), "Nothing to change")
            self.assert_exit(t.run("rollback", "last"), 0)
            self.assertEqual(world(), before)
            self.deploy(t, small)
            made = world()
            self.deploy(t, large, after=[FAIL], code=1)
            # How much of it is used is not ours.
            self.assertEqual([line.split()[:3] for line in world()], [line.split()[:3] for line in made])
            self.assertEqual(os.stat("/srv/disk/swap").st_size, 2 << 20)

    def test_rules_of_nftables_come_first_and_go_again(self):
        def rules():
            return [line.split("#")[0].strip() for line in sh("nft list chain inet filter input").splitlines()]
        before = rules()
        given = {"firewall": [{"allow": "4242/tcp"}, {"allow": "53/udp", "from": "10.0.0.0/8"}, {"allow": "80/tcp", "from": "2001:db8::/32"}]}
        with Trial() as t:
            self.deploy(t, given, after=[FAIL], code=1)
            self.assertEqual(rules(), before)
            self.deploy(t, given)
            for rule in ('tcp dport 4242 accept comment "davit 4242/tcp"', 'ip saddr 10.0.0.0/8 udp dport 53 accept comment "davit 53/udp from 10.0.0.0/8"',
                         'ip6 saddr 2001:db8::/32 tcp dport 80 accept comment "davit 80/tcp from 2001:db8::/32"'):
                self.assertIn(rule, rules())
            self.assert_says(self.deploy(t, given, "--plan"), "Nothing to change")
            self.assert_exit(t.run("rollback", "last"), 0)
        self.assertEqual(rules(), before)

    def test_hostile_words_are_refused(self):
        for given in ({"packages": ["-o=APT::x"]}, {"packages": ["a b"]}, {"packages": ["a\nb"]}, {"users": [{"name": "-r"}]}, {"users": [{"name": "a:b"}]},
                      {"users": [{"name": "deploy", "groups": ["-x"]}]}, {"users": [{"name": "deploy", "home": "/home/a\tb"}]},
                      {"users": [{"name": "deploy", "authorized_keys": [f"{KEY} a\n{OTHER}"]}]}, {"users": [{"name": "deploy", "authorized_keys": ["hello"]}]},
                      {"users": [{"name": "deploy", "authorized_keys": [f'command="x {KEY}']}]},
                      {"sudoers": [{"name": "../x", "lines": ["a"]}]}, {"sudoers": [{"name": "x.y", "lines": ["a"]}]},
                      {"sudoers": [{"name": "x", "lines": ["root ALL=ALL\nnobody ALL=ALL"]}]}, {"sudoers": [{"name": "x", "lines": ["root ALL=ALL \\"]}]},
                      {"sudoers": [{"name": "x", "lines": ["@include /tmp/x"]}]}, {"timezone": "../../etc/passwd"}, {"timezone": "-f"},
                      {"firewall": [{"allow": "22/tcp; reboot"}]}, {"firewall": [{"allow": "22/tcp", "from": "$(id)"}]},
                      {"swap": {"path": "/swap file", "size": "1M"}}):
            with Trial() as t:
                self.deploy(t, given, code=2)

    def test_a_users_link_leads_root_nowhere(self):
        sh("useradd -m sly; mkdir /home/sly/.ssh; ln -s /root/.ssh/authorized_keys /home/sly/.ssh/authorized_keys; chown -hR sly: /home/sly/.ssh")
        before = world()
        with Trial() as t:
            self.assert_says(self.deploy(t, {"users": [{"name": "sly", "authorized_keys": [KEY]}]}, code=2), "is a link")
        sh("rm -r /home/sly/.ssh; mkdir -p /srv/roots; ln -s /srv/roots /home/sly/.ssh; chown -h sly: /home/sly/.ssh")
        with Trial() as t:
            self.assert_says(self.deploy(t, {"users": [{"name": "sly", "authorized_keys": [KEY]}]}, code=2), "'/home/sly/.ssh' on 'web' is a link")
        self.assertEqual(os.listdir("/srv/roots"), [])
        sh("userdel -r sly 2>/dev/null; rm -r /srv/roots")
        self.assertEqual([line for line in world() if "sly" not in line], [line for line in before if "sly" not in line])

    def test_what_nobody_can_do_is_said_before_anything_changes(self):
        before = world()
        for given, words in (({"users": [{"name": "deploy", "groups": ["no-such"]}]}, "there is no group 'no-such'"),
                             ({"timezone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
                             ({"users": [{"name": "root", "uid": 7}]}, "has the number 0"),
                             ({"groups": [{"name": "root", "gid": 7}]}, "has the number 0"),
                             ({"directories": [{"path": "/srv/shop", "owner": "no-such"}]}, "there is no user 'no-such'"),
                             ({"swap": {"path": "/etc/passwd", "size": "1M"}}, "exists but is no swap")):
            with Trial() as t:
                self.assert_says(self.deploy(t, given, code=2), words)
        self.assertEqual(world(), before)


if __name__ == "__main__":
    host_root.enter()
    main()
