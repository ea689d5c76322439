#!/usr/bin/env python3
"""SSH targets as people have them: settings from secrets with a line feed behind, several host keys in one value, addresses in brackets,
the user's own files, and exit codes as the command gave them."""
import base64
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import libssh2  # noqa: E402
from harness.trial import Case, Trial, main  # noqa: E402
from servers.sshd import Account, Sshd  # noqa: E402


class SshCase(Case):
    OPTIONS = ()
    HOST_KEYS = ("ed25519",)

    @classmethod
    def setUpClass(cls):
        if not os.access("/usr/sbin/sshd", os.X_OK):
            raise unittest.SkipTest("sshd is missing")
        cls.server = cls.enterClassContext(Sshd(host_keys=cls.HOST_KEYS, options=cls.OPTIONS))

    def setUp(self):
        self.t = self.enterContext(Trial())

    def target(self, without=(), **ssh):
        entry = self.server.target()
        entry["ssh"].update(ssh)
        for name in without:
            del entry["ssh"][name]
        return entry

    def run_there(self, target, *command, **more):
        step = {"run": {"command": list(command) or ["true"], "undo": "none"}}
        return self.t.deploy({"targets": {"web": target}, "steps": [step]}, **more)


class Settings(SshCase):
    HOST_KEYS = ("ed25519", "rsa", "ecdsa")

    def test_host_user_and_port_are_taken_from_secrets_with_a_line_feed_behind(self):
        secrets = {"H": " 127.0.0.1\n", "U": self.server.user + "\r\n", "P": f"{self.server.port}\n"}
        target = self.target(host="${{ secrets.H }}", user="${{ secrets.U }}", port="${{ secrets.P }}")
        self.assert_exit(self.run_there(target, secrets=secrets), 0)

    def test_a_port_that_is_no_number_is_refused(self):
        for port in ("ssh", "2 2", "0", "65536", "-22", ""):
            with self.subTest(port=port):
                result = self.run_there(self.target(port=port))
                self.assert_exit(result, 2)
                self.assert_says(result, "port")

    def test_a_host_with_more_than_a_name_says_where_the_rest_belongs(self):
        for host, words in (("a:22", "port: 22"), ("[::1]:2222", "port: 2222"), ("deploy@a", "user: deploy"), ("ssh://a", "URL"),
                            ("[::1", "bracket"), ("a b", "not a name")):
            with self.subTest(host=host):
                result = self.run_there(self.target(host=host))
                self.assert_exit(result, 2)
                self.assert_says(result, words)

    def test_every_line_of_a_host_key_counts(self):
        lines = [f"[127.0.0.1]:{self.server.port} {self.server.key_line(kind)}" for kind in ("rsa", "ecdsa", "ed25519")]
        for text in ("\n".join(lines), "# a comment\r\n\r\n" + "\r\n".join(lines) + "\r\n",
                     self.server.fingerprint("rsa") + "\n" + self.server.fingerprint("ed25519") + "\n"):
            with self.subTest(text=text):
                self.assert_exit(self.run_there(self.target(host_key=text)), 0)

    def test_the_line_that_ssh_keygen_shows_is_a_host_key(self):
        line = f"256 {self.server.fingerprint('ed25519')} root@host (ED25519)\n"
        self.assert_exit(self.run_there(self.target(host_key=line)), 0)
        self.assert_exit(self.run_there(self.target(host_key=line.replace("SHA256:", "SHA256:A"))), 2)

    def test_known_hosts_may_be_the_lines_themselves_of_which_only_those_of_the_host_count(self):
        own, other = (self.server.key_line(kind) for kind in ("ed25519", "rsa"))
        lines = f"shop.example {other}\n# a comment\n[127.0.0.1]:{self.server.port} {own}\n"
        for known, code in ((lines, 0), (lines.replace("127.0.0.1", "127.0.0.2"), 2), (f"@revoked * {own}\n{lines}", 2)):
            with self.subTest(known=known):
                target = self.target(without=("host_key",), known_hosts="${{ secrets.KNOWN }}")
                self.assert_exit(self.run_there(target, secrets={"KNOWN": known}), code)

    def test_a_deployment_connects_once(self):
        for kind in ("ed25519", "ecdsa"):
            with self.subTest(kind=kind):
                before = self.server.log().count("Accepted publickey")
                self.assert_exit(self.run_there(self.target(host_key=self.server.key_line(kind))), 0)
                self.assertEqual(self.server.log().count("Accepted publickey"), before + 1)

    def test_a_line_that_is_no_key_is_refused_wherever_it_stands(self):
        result = self.run_there(self.target(host_key=self.server.key_line("ed25519") + "\nnonsense\n"))
        self.assert_exit(result, 2)
        self.assert_says(result, "nonsense")

    def test_the_users_own_known_hosts_and_key_file_are_found_in_the_home_folder(self):
        home = os.path.join(self.t.dir, "home")
        os.makedirs(os.path.join(home, ".ssh"))
        with open(os.path.join(home, ".ssh", "known_hosts"), "w", encoding="ascii") as f:
            f.write(f"[127.0.0.1]:{self.server.port} {self.server.key_line('ed25519')}\n")
        shutil.copy(self.server.key, os.path.join(home, ".ssh", "id"))
        target = self.target(without=("key", "host_key"), key_file="~/.ssh/id")
        result = self.run_there(target, env={"HOME": home})
        self.assert_exit(result, 0)
        self.assert_silent(result, "chmod 600")
        os.chmod(os.path.join(home, ".ssh", "id"), 0o644)
        result = self.run_there(target, env={"HOME": home})
        self.assert_exit(result, 0)
        self.assert_says(result, "can be read by others", "chmod 600")

    def test_a_key_file_that_is_not_there_is_named(self):
        result = self.run_there(self.target(without=("key",), key_file="/nowhere/id"))
        self.assert_exit(result, 2)
        self.assert_says(result, "key_file", "/nowhere/id")

    def test_a_host_that_the_users_own_known_hosts_does_not_have_is_refused(self):
        home = os.path.join(self.t.dir, "home")
        os.makedirs(os.path.join(home, ".ssh"))
        with open(os.path.join(home, ".ssh", "known_hosts"), "w", encoding="ascii") as f:
            f.write(f"elsewhere {self.server.key_line('ed25519')}\n")
        result = self.run_there(self.target(without=("host_key",)), env={"HOME": home})
        self.assert_exit(result, 2)
        self.assert_says(result, "is not in", "known_hosts")


class Keys(SshCase):
    def test_a_key_is_mended_where_it_has_one_meaning(self):
        with open(self.server.key, encoding="ascii") as f:
            key = f.read()
        for text, words in ((key.replace("\n", " "), "blanks in place of line ends"), (key.replace("\n", ""), "missing line ends"),
                            (key.replace("\n", "\\n"), "written as"), (key.replace("\n", "\r\n"), "CRLF"),
                            ("".join("    " + line for line in key.splitlines(True)), "blanks in its lines"),
                            (base64.b64encode(key.encode()).decode(), "Base64 around it"), (f'"{key}"', "quotes"),
                            ("\ufeff" + key, "byte order mark"), (key[:-20], "a missing last line"), (key.rstrip(), None), (key, None)):
            with self.subTest(words=words, text=text[:40]):
                result = self.run_there(self.target(key="${{ secrets.K }}"), secrets={"K": text})
                self.assert_exit(result, 0)
                if words:
                    self.assert_says(result, "was fixed", words)
                else:
                    self.assert_silent(result, "was fixed")

    def test_another_key_is_refused_by_what_is_wrong_with_it(self):
        with open(self.server.key, encoding="ascii") as f:
            key = f.read()
        for text, words in ((key[:200], "cut off"), (key + key, "more than one key"), (key.replace("b3B", "b%B"), "holds a '%'"),
                            ("ssh-ed25519 AAAA", "a public key"), ("PuTTY-User-Key-File-3: ssh-ed25519", "puttygen"), ("/root/.ssh/id", "key_file"),
                            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "this is a CERTIFICATE"), ("key: " + key, "before -----BEGIN")):
            with self.subTest(words=words):
                result = self.run_there(self.target(key="${{ secrets.K }}"), secrets={"K": text})
                self.assert_exit(result, 2)
                self.assert_says(result, "private key", words)
                self.assert_silent(result, "libssh2")

    def test_an_encrypted_pem_key_keeps_its_headers(self):
        pem = os.path.join(self.t.dir, "pem")
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", pem], check=True, capture_output=True)
        subprocess.run(["openssl", "ec", "-in", pem, "-aes128", "-passout", "pass:open", "-out", pem + "2"], check=True, capture_output=True)
        with open(pem + "2", encoding="ascii") as f:
            text = f.read().replace("\n", " ")
        result = self.run_there(self.target(key="${{ secrets.K }}", key_passphrase="${{ secrets.P }}"), secrets={"K": text, "P": "open"})
        self.assert_exit(result, 2)
        self.assert_says(result, "login as")     # it was read; the host does not know it


class Rsa(SshCase):
    """As cloud providers hand them out, to a server that takes no SHA-1."""
    OPTIONS = ("PubkeyAcceptedAlgorithms rsa-sha2-512,rsa-sha2-256",)

    def key(self, form, passphrase=""):
        path = os.path.join(self.t.dir, f"rsa-{form}-{bool(passphrase)}")
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", form, "-N", passphrase, "-f", path], check=True)
        with open(path + ".pub", encoding="ascii") as f, open(os.path.join(self.server.folder, "authorized_keys"), "a", encoding="ascii") as out:
            out.write(f.read())
        return path

    def test_an_rsa_key_logs_in(self):
        for form, passphrase in (("RFC4716", ""), ("PEM", ""), ("PKCS8", ""), ("PEM", "open sesame"), ("PKCS8", "open sesame")):
            with self.subTest(form=form, passphrase=passphrase):
                with open(self.key(form, passphrase), encoding="ascii") as f:
                    target = self.target(key=f.read(), **({"key_passphrase": passphrase} if passphrase else {}))
                self.assert_exit(self.run_there(target), 0)

    def test_an_encrypted_rsa_key_of_opensshs_own_format_logs_in_or_says_the_way_out(self):
        with open(self.key("RFC4716", "open sesame"), encoding="ascii") as f:
            key = f.read()
        result = self.run_there(self.target(key=key, key_passphrase="open sesame"))
        if libssh2.IS_OLD:
            self.assert_exit(result, 2)
            self.assert_says(result, "ssh-keygen -p -m PEM")
            return
        self.assert_exit(result, 0)
        result = self.run_there(self.target(key=key, key_passphrase="open simsim"))
        self.assert_exit(result, 2)
        self.assert_says(result, "passphrase", "key_passphrase")

    def test_an_rsa_key_of_the_agent_logs_in(self):
        path, sock = self.key("RFC4716"), os.path.join(self.t.dir, "agent")
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", sock], stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while subprocess.run(["ssh-add", "-q", path], env={**os.environ, "SSH_AUTH_SOCK": sock}, stderr=subprocess.DEVNULL).returncode != 0:
                self.assertLess(time.monotonic(), end)
            self.assert_exit(self.run_there(self.target(without=("key",), agent=True), env={"SSH_AUTH_SOCK": sock}), 0)
        finally:
            agent.terminate()
            agent.wait()


class RsaHost(SshCase):
    """A host with nothing but an RSA key, signed with SHA-2 only, as many appliances and older images are."""
    HOST_KEYS = ("rsa",)
    OPTIONS = ("HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256",)

    def known_hosts(self, line):
        path = os.path.join(self.t.dir, "known")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"[127.0.0.1]:{self.server.port} {line}\n")
        return path

    def pinned(self):
        """As fingerprint, as line, in a file."""
        line = self.server.key_line("rsa")
        yield self.target(host_key=self.server.fingerprint("rsa"))
        yield self.target(host_key=line)
        yield self.target(without=("host_key",), known_hosts=self.known_hosts(line))

    def test_its_key_is_checked_however_it_is_pinned(self):
        for target in self.pinned():
            with self.subTest(target=target):
                result = self.run_there(target)
                if libssh2.IS_OLD:
                    self.assert_exit(result, 2)
                    self.assert_says(result, "only", "RSA", "ssh-keyscan -t ed25519" if "host_key" not in target["ssh"] else "Ed25519")
                else:
                    self.assert_exit(result, 0)

    def test_another_rsa_key_is_refused(self):
        if libssh2.IS_OLD:
            self.skipTest(libssh2.WHY_SKIPPED)
        other = os.path.join(self.t.dir, "other")
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", other], check=True)
        with open(other + ".pub", encoding="ascii") as f:
            line = " ".join(f.read().split()[:2])
        for target in (self.target(host_key=line), self.target(without=("host_key",), known_hosts=self.known_hosts(line))):
            with self.subTest(target=target):
                result = self.run_there(target)
                self.assert_exit(result, 2)
                self.assert_says(result, "is not the pinned one", self.server.fingerprint("rsa"))

    def test_each_of_the_two_signatures_will_do(self):
        if libssh2.IS_OLD:
            self.skipTest(libssh2.WHY_SKIPPED)
        for one in ("rsa-sha2-256", "rsa-sha2-512"):
            with self.subTest(one=one), Sshd(host_keys=["rsa"], options=[f"HostKeyAlgorithms {one}"]) as server:
                self.assert_exit(self.t.deploy({"targets": {"web": server.target()}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]}), 0)

    def test_a_signature_of_sha_1_is_not_taken(self):
        with Sshd(host_keys=["rsa"], options=["HostKeyAlgorithms ssh-rsa"]) as server:
            result = self.t.deploy({"targets": {"web": server.target()}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]})
            self.assert_exit(result, 2)
            self.assert_says(result, "ssh-rsa")


class Hardened(Case):
    def test_what_has_nothing_in_common_is_named_and_the_pinned_key_is_not_blamed(self):
        for option, words, newer in (("MACs umac-128-etm@openssh.com", "MAC", False),
                                     ("MACs hmac-sha2-512-etm@openssh.com", "MAC", True),
                                     ("Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com", "cipher", True),
                                     ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "key exchange", False)):
            # AES with GCM has no MAC: without a cipher that needs one there is nothing to miss.
            options = [option, "Ciphers aes128-ctr"] if option.startswith("MACs") else [option]
            with self.subTest(option=option), Sshd(options=options) as server, Trial() as t:
                result = t.deploy({"targets": {"web": server.target()}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]})
                if newer and not libssh2.IS_OLD:
                    self.assert_exit(result, 0)
                else:
                    self.assert_exit(result, 2)
                    self.assert_says(result, words, option.split()[0], option.split()[1].split(",")[0])
                self.assert_silent(result, "pin a key", "md5")


class TwoWays(SshCase):
    OPTIONS = ("AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes", "UsePAM yes")

    def test_a_key_that_was_accepted_while_more_is_wanted_was_not_refused(self):
        result = self.run_there(self.target())
        self.assert_exit(result, 2)
        self.assert_says(result, "half done", "key accepted", "keyboard-interactive", "password")
        self.assert_silent(result, "key refused", "authorized_keys")


class NoServer(Case):
    """Something else than an SSH server answers: answer() gets the socket."""

    def ask(self, answer):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            try:
                while True:
                    with listener.accept()[0] as s:
                        answer(s)
            except OSError:
                pass
        threading.Thread(target=serve, daemon=True).start()
        ssh = {"host": "127.0.0.1", "port": listener.getsockname()[1], "user": "x", "password": "x", "host_key": "SHA256:" + "A" * 43, "connect_timeout": "2s"}
        with listener, Trial() as t:
            result = t.deploy({"targets": {"web": {"ssh": ssh}}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]})
            listener.shutdown(socket.SHUT_RDWR)
        self.assertNotEqual(result.code, 0)
        return result

    def test_a_server_that_closes_early_is_told_as_that(self):
        self.assert_says(self.ask(lambda s: None), "closes the connection before it says anything", "MaxStartups")

    def test_what_speaks_another_protocol_is_shown(self):
        self.assert_says(self.ask(lambda s: s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "not an SSH server", "HTTP/1.1 400 Bad Request", "proxy")

    def test_what_says_nothing_is_told_as_that(self):
        self.assert_says(self.ask(lambda s: s.recv(1 << 16) and s.recv(1)), "says nothing")


class Sudo(Case):
    def test_each_reason_has_its_own_way_out(self):
        why = Sshd.can_have_accounts()
        if why:
            self.skipTest(why)
        accounts = {"ok": Account("x", "ALL=(ALL) NOPASSWD: ALL"), "asks": Account("x", "ALL=(ALL) ALL"), "none": Account("x"),
                    "tty": Account("x", "ALL=(ALL) NOPASSWD: ALL\nDefaults:tty requiretty")}
        with Sshd(accounts=accounts) as server:
            for user, words, not_words in (("ok", "", "sudoers"), ("asks", "NOPASSWD", "requiretty"), ("none", "USER ALL=", "requiretty"),
                                           ("tty", "!requiretty", "NOPASSWD")):
                with self.subTest(user=user), Trial() as t:
                    target = server.target(become="sudo")
                    target["ssh"]["user"] = user
                    result = t.deploy({"targets": {"web": target}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]})
                    self.assert_exit(result, 0 if user == "ok" else 2)
                    self.assert_says(result, words)
                    self.assert_silent(result, not_words)


class LoginShells(Case):
    def test_other_login_shells_and_noisy_start_files_change_nothing(self):
        shells = {name: shutil.which(program) for name, program in (("fishy", "fish"), ("cshy", "tcsh"), ("noisy", "bash"))}
        if (why := Sshd.can_have_accounts()) or None in shells.values():
            self.skipTest(why or "fish, tcsh or bash is missing")
        # bash reads .bashrc under sshd only as the outermost shell.
        with Sshd(accounts={name: Account("x", shell=shell) for name, shell in shells.items()}, options=["SetEnv SHLVL=0"]) as server:
            for name, file in (("fishy", ".config/fish/config.fish"), ("cshy", ".cshrc"), ("noisy", ".bashrc")):
                path = os.path.join(server.folder, f"home_{name}", file)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="ascii") as f:
                    f.write("echo welcome\necho davit-0 x 1\nstty erase ^H\nfalse\n")
                with self.subTest(user=name), Trial() as t:
                    target = server.target(base=os.path.join(server.folder, f"home_{name}", "base"))
                    target["ssh"]["user"] = name
                    path = os.path.join(server.folder, f"home_{name}", "it's a \\ $HOME !file")
                    steps = [{"apply": {"resources": [{"file": {"path": path, "content": "x"}}]}},
                             {"run": {"command": ["sh", "-c", "printf '%s' \"$1\" >\"$2\"", "sh", "!a\\ '\"$`b", path + "2"], "undo": "none"}}]
                    result = t.deploy({"targets": {"web": target}, "steps": steps})
                    self.assert_exit(result, 0)
                    self.assert_silent(result, "welcome")
                    with open(path + "2", "rb") as f:
                        self.assertEqual(f.read(), b"!a\\ '\"$`b")


class Homes(Case):
    def test_an_account_without_a_home_of_its_own_is_told_to_name_a_base(self):
        if why := Sshd.can_have_accounts():
            self.skipTest(why)
        with Sshd(accounts={"homeless": Account("x"), "guest": Account("x")}) as server:
            homes = {name: os.path.join(server.folder, f"home_{name}") for name in ("homeless", "guest")}
            shutil.rmtree(homes["homeless"])
            os.chown(homes["guest"], 0, 0)
            os.chmod(homes["guest"], 0o755)
            for name in homes:
                with self.subTest(user=name), Trial() as t:
                    target = server.target(base=f"{homes[name]}/.local/state/davit")
                    target["ssh"]["user"] = name
                    result = t.deploy({"targets": {"web": target}, "steps": [{"run": {"command": ["true"], "undo": "none"}}]})
                    self.assert_exit(result, 2)
                    self.assert_says(result, f"'{homes[name]}/.local/state/davit', cannot be made", f"name one that '{name}' may write to", "`base: /some/path`")


class Status(SshCase):
    def test_a_status_is_told_as_it_was_and_a_signal_only_where_one_can_have_been(self):
        for target in (self.target(), {"local": {}}):
            for status, words in ((3, "exit status 3"), (127, "exit status 127"), (128, "exit status 128"), (137, "exit status 137, ended by signal 9"),
                                  (193, "exit status 193"), (200, "exit status 200"), (254, "exit status 254"), (255, "exit status 255")):
                with self.subTest(target=next(iter(target)), status=status):
                    result = self.run_there(dict(target), "sh", "-c", f"exit {status}")
                    self.assert_exit(result, 1)
                    self.assert_says(result, words)
                    if status != 137:
                        self.assert_silent(result, "signal")


class Bracketed(SshCase):
    OPTIONS = ("ListenAddress ::1",)

    @classmethod
    def setUpClass(cls):
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::1", 0))
        except OSError as e:
            raise unittest.SkipTest("no ::1 here") from e
        super().setUpClass()

    def test_an_address_in_brackets_is_the_address(self):
        known = os.path.join(self.t.dir, "known")
        scanned = subprocess.run(["ssh-keyscan", "-p", str(self.server.port), "::1"], check=True, capture_output=True).stdout
        with open(known, "wb") as f:
            f.write(scanned)
        for host in ("::1", "[::1]"):
            with self.subTest(host=host):
                self.assert_exit(self.run_there(self.target(without=("host_key",), host=host, known_hosts=known)), 0)


if __name__ == "__main__":
    main()
