#!/usr/bin/env python3
"""What a health gate asks from this machine: HTTP in depth, certificates, names, routes of a proxy; judged by nginx, OpenSSL and a DNS server."""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.gate import GateCase  # noqa: E402
from harness.trial import DAVIT, Service, Trial, main  # noqa: E402
from servers import mounts, nginx, postgres  # noqa: E402
from servers.nginx import Authority, Nginx  # noqa: E402
from servers.starttls import StartTls  # noqa: E402


class Answers:
    """A server that answers a request for TLS with these bytes; None: with nothing."""

    def __init__(self, answer):
        self.answer, self.held = answer, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.answer is None:
                self.held.append(connection)
                continue
            with connection:
                connection.recv(8, socket.MSG_WAITALL)
                connection.sendall(self.answer)

    def __enter__(self):
        self.thread.start()
        return "127.0.0.1:%d" % self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.held:
            connection.close()


class Http(GateCase):
    def test_a_value_in_json_is_found_by_its_pointer_and_compared(self):
        body = json.dumps({"status": "ok", "checks": [{"name": "db/main", "lag": 2.0}], "a/b": {"m~n": None}}).encode()
        with Trial() as t, Service(lambda path, count: (200, {"Content-Type": "application/json"}, body)) as service:
            def check(pointer, equals):
                return {"http": service.url, "json": {"pointer": pointer, "equals": equals}}
            self.assert_exit(self.gate(t, check("/status", "ok"), check("/checks/0/lag", 2), check("/checks/0", {"lag": 2.0, "name": "db/main"})), 0)
            self.gate_says(t, check("/status", "degraded"), check("/a~1b/x", 1), says=['/status is "ok", wanted "degraded"', "the body has no /a~1b/x, wanted 1 there"], deadline=300)
        with Trial() as t, Service(lambda path, count: (200, {}, b"<html>")) as service:
            self.gate_says(t, {"http": service.url, "json": {"pointer": "/status", "equals": "ok"}}, says=["the body is not JSON"], deadline=300)

    def test_a_byte_order_mark_before_the_json_is_passed_over_and_what_is_wrong_with_it_is_told(self):
        bodies = {"/mark": b'\xef\xbb\xbf{"status": "ok"}', "/cut": b'{"status": "ok"', "/long": b'{"status": "' + b"x" * (300 << 10) + b'"}'}
        with Trial() as t, Service(lambda path, count: (200, {}, bodies[path])) as service:
            def check(path):
                return {"http": service.url + path, "json": {"pointer": "/status", "equals": "ok"}}
            self.assert_exit(self.gate(t, check("/mark")), 0)
            self.gate_says(t, check("/cut"), check("/long"), says=["the body is not JSON: ", "longer than 256 KiB"], deadline=300)

    def test_an_address_that_cannot_be_asked_is_found_before(self):
        with Trial() as t:
            for address in ("http://[::1", "http://", "https://shop.example:port/", "http://shop example/"):
                with self.subTest(address):
                    result = self.gate(t, {"http": address})
                    self.assert_exit(result, 2)
                    self.assert_says(result, f"'{address}' cannot be asked: ")

    def test_a_method_and_a_body_are_sent_from_here_and_from_the_target(self):
        with Trial() as t, Service(lambda path, count: 200) as service:
            post = {"http": service.url + "/q", "method": "POST", "body": '{"query": "{ping}"}', "headers": {"Content-Type": "application/json"}}
            self.assert_exit(self.gate(t, post), 0)
            self.assert_exit(self.gate(t, {**post, "from": "here"}), 0)
            self.assertEqual([(m, body) for m, _, body in service.requests], [("POST", b'{"query": "{ping}"}')] * len(service.requests))

    def test_headers_of_the_answer_tell_which_version_serves(self):
        with Trial() as t, Service(lambda path, count: (200, {"X-Version": "v2" if count > 3 else "v1"}, b"")) as service:
            for where in ({}, {"from": "here"}):
                service.count = 0
                self.assert_exit(self.gate(t, {"http": service.url, "answer_headers": {"X-Version": "v2", "Server": ""}, **where}), 0)
            self.gate_says(t, {"http": service.url, "answer_headers": {"X-Version": "v3"}}, says=["X-Version is 'v2', wanted 'v3'"], deadline=300)

    def test_a_body_of_any_length_is_judged_by_its_beginning_from_the_target_too(self):
        with Trial() as t, Service(lambda path, count: (200, {}, b"begin\n" + b"x" * 400_000)) as service:
            for where in ({}, {"from": "here"}):
                self.assert_exit(self.gate(t, {"http": service.url, "contains": "begin", **where}), 0)

    def test_every_probe_is_recorded_with_address_status_time_and_first_bytes(self):
        with Trial() as t, Service(lambda path, count: (503 if count == 1 else 200, {}, b"hello \x1b[31mred\x1b[0m\nsecond")) as service:
            result = self.gate(t, {"http": service.url, "name": "shop"})
            self.assert_exit(result, 0)
            self.assert_says(result, "wait shop: answered 503", 'ok   shop: answered 200, "hello ')
            self.assert_silent(result, "\x1b")
            first, last = self.probes(t)
            self.assertEqual((first["ok"], first["status"], last["ok"], last["status"]), (False, 503, True, 200))
            self.assertEqual(last["address"], service.url.removeprefix("http://"))
            self.assertTrue(last["begins"].startswith("hello "), last)
            self.assertNotIn("\x1b", json.dumps(last))
            self.assertEqual(last["latency"]["count"], 1)
            self.assertGreaterEqual(last["ms"], 0)

    def test_an_input_of_another_probe_is_refused_instead_of_left_out(self):
        with Trial() as t:
            refused = self.gate(t, {"tcp": "127.0.0.1:1", "status": 200}, {"http": "http://127.0.0.1:1", "exit": [1]})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "`status` belongs to a check by `http`, and this one is by `tcp`", "`exit` belongs to a check by `command`")


class Judging(GateCase):
    def test_a_check_that_must_settle_passes_only_after_that_time_without_a_failure(self):
        with Trial() as t, Service(lambda path, count: 500 if count == 4 else 200) as service:
            self.assert_exit(self.gate(t, {"http": service.url, "settle": "600ms"}), 0)
            probes = self.probes(t)
            self.assertFalse(probes[3]["ok"])
            self.assertGreaterEqual(len(probes), 8)
        with Trial() as t:
            refused = self.gate(t, {"http": "http://127.0.0.1:1", "settle": "30s"})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "cannot settle before the gate's deadline is over")

    def test_percentiles_are_bounded_and_a_slow_start_leaves_the_window(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def answer(path, count):
            release.wait(0.3 if count <= 2 else 0.03)
            return 200
        with Trial() as t, Service(answer) as service:
            self.assert_exit(self.gate(t, {"http": service.url, "interval": "10ms", "latency": {"samples": 10, "p95": "250ms"}}), 0)
            latency = self.probes(t)[-1]["latency"]
            self.assertEqual(latency["count"], 10)
            self.assertLess(latency["p95"], 250)
            slow = self.gate(t, {"http": service.url, "interval": "10ms", "latency": {"samples": 5, "p50": "5ms"}}, deadline="1s")
            self.assert_exit(slow, 1)
            self.assert_says(slow, "but too slowly: 50 of 100 take up to")

    def test_the_time_before_the_deployment_bounds_the_time_after_it(self):
        with Trial() as t:
            t.write("version", b"1")
            release = threading.Event()
            self.addCleanup(release.set)

            def answer(path, count):
                release.wait(0.02 if t.read("version") == b"1" else 0.4)
                return 200
            with Service(answer) as service:
                check = {"http": service.url, "interval": "10ms", "latency": {"samples": 4, "times": 4}}
                slower = self.gate(t, check, deadline="4s", before=[{"apply": {"resources": [{"file": {"path": t.path("version"), "content": "2"}}]}}])
                self.assert_exit(slower, 1)
                self.assert_says(slower, "after what it was before")
                self.assertEqual(t.read("version"), b"1")


class Names(GateCase):
    def setUp(self):
        self.answers = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.resolver = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def tearDown(self):
        self.socket.close()

    def serve(self):
        """A and AAAA of self.answers; other names do not exist."""
        while True:
            try:
                query, peer = self.socket.recvfrom(1500)
            except OSError:
                return
            end, labels = 12, []
            while query[end]:
                labels.append(query[end + 1:end + 1 + query[end]].decode())
                end += 1 + query[end]
            kind = struct.unpack(">H", query[end + 1:end + 3])[0]
            known = self.answers.get(".".join(labels))
            family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
            found = [a for a in known or () if (":" in a) == (family == socket.AF_INET6)] if family else []
            reply = query[:2] + struct.pack(">HHHHH", 0x8180 if known is not None else 0x8183, 1, len(found), 0, 0) + query[12:end + 5]
            for address in found:
                data = socket.inet_pton(family, address)
                reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
            self.socket.sendto(reply, peer)

    def test_a_name_has_exactly_the_addresses_that_it_must_have_at_the_server_that_is_asked(self):
        self.answers["shop.example"] = ["192.0.2.7", "2001:db8::7"]
        with Trial() as t:
            dns = {"name": "shop.example", "resolver": self.resolver}
            self.assert_exit(self.gate(t, {"dns": {**dns, "addresses": ["192.0.2.7", "2001:DB8:0::7"]}}, {"dns": dns}), 0)
            self.gate_says(t, {"dns": {**dns, "addresses": ["192.0.2.7", "192.0.2.8"]}}, {"dns": {**dns, "name": "gone.example"}}, says=["missing: 192.0.2.8; unexpected: 2001:db8::7", "does not resolve: there is no such name"], deadline=500)
            refused = self.gate(t, {"dns": {**dns, "addresses": ["shop"]}}, {"dns": {"name": "x", "resolver": "dns.example"}})
            self.assert_exit(refused, 2)
            self.assert_says(refused, "'shop' is not an address", "'dns.example' is not an IPv4 address")

    def test_a_name_that_comes_up_later_is_waited_for(self):
        with Trial() as t:
            threading.Timer(0.5, self.answers.update, [{"late.example": ["192.0.2.9"]}]).start()
            self.assert_exit(self.gate(t, {"dns": {"name": "late.example", "resolver": self.resolver, "addresses": ["192.0.2.9"]}}), 0)

    def test_without_a_server_the_name_is_resolved_as_this_machine_does(self):
        why = mounts.why_not(["/etc/hosts"])
        if why:
            self.skipTest(why)
        with Trial() as t:
            hosts = t.write("hosts", b"127.0.0.1 localhost\n192.0.2.7 shop.example\n")
            document = {"name": "shop", "environment": "test", "targets": {"here": {"local": {}, "base": t.base}}, "steps": [
                {"health-gate": {"deadline": "5s", "checks": [{"dns": {"name": "shop.example", "addresses": ["192.0.2.7"]}}]}}]}
            t.write("deploy.yml", json.dumps(document).encode())
            done = subprocess.run([*mounts.command(), "sh", "-c", 'mount --bind "$1" /etc/hosts && exec "$2" deploy "$3"', "sh", hosts, DAVIT, t.path("deploy.yml")],
                                  env={**os.environ, "DAVIT_STATE": t.state}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


@unittest.skipIf(nginx.lacking(), nginx.lacking())
class Tls(GateCase):
    SERVERS = """server { listen 127.0.0.1:{good} ssl; ssl_certificate {dir}/good.pem; ssl_certificate_key {dir}/good.key; return 200 "good"; }
                 server { listen 127.0.0.1:{old} ssl; ssl_certificate {dir}/old.pem; ssl_certificate_key {dir}/old.key; return 200 "old"; }"""

    def certificates(self, web):
        authority = Authority(web.dir)
        authority.sign("good", ["shop.example", "www.shop.example", "127.0.0.1"], 90)
        authority.sign("old", ["shop.example"], 3)

    def setUp(self):
        self.web = self.enterContext(Nginx(self.SERVERS, self.certificates))
        self.t = self.enterContext(Trial())
        with open(os.path.join(self.web.dir, "ca.pem"), encoding="ascii") as f:
            self.ca = f.read()
        with open(os.path.join(self.t.src, "ca.pem"), "w", encoding="ascii") as f:
            f.write(self.ca)

    def check(self, port, **more):
        return {"tls": {"address": f"127.0.0.1:{self.web.port[port]}", "server_name": "shop.example", "ca": "ca.pem", **more}}

    def test_names_issuer_and_days_of_a_certificate_are_judged(self):
        good = self.check("good", names=["www.shop.example"], issuer="O=Davit Test", days=30)
        self.assert_exit(self.gate(self.t, good, self.check("good", ca=self.ca)), 0)
        self.gate_says(self.t, self.check("old", days=30), self.check("good", names=["api.example"], issuer="Let's Encrypt"), says=["days, wanted 30", "it is for shop.example, www.shop.example, not for api.example", "it is from O = Davit Test"])

    def test_an_authority_that_nobody_trusts_is_named_unless_it_need_not_be_trusted(self):
        stranger = self.check("good")
        del stranger["tls"]["ca"]
        self.gate_says(self.t, stranger, says=["certificate"])
        stranger["tls"].update(verify=False, days=60)
        self.assert_exit(self.gate(self.t, stranger), 0)

    def test_a_certificate_that_mail_servers_show_after_starttls_is_judged_too(self):
        def pair(name):
            return (os.path.join(self.web.dir, f"{name}.pem"), os.path.join(self.web.dir, f"{name}.key"))
        for protocol in ("smtp", "imap"):
            with StartTls(protocol, *pair("good")) as good, StartTls(protocol, *pair("old")) as old, \
                    StartTls(protocol, *pair("good"), offers=False) as clear:
                def check(server, protocol=protocol, **more):
                    return {"tls": {"address": server.address, "server_name": "shop.example", "ca": "ca.pem", "starttls": protocol, **more}}
                self.assert_exit(self.gate(self.t, check(good, names=["www.shop.example"], days=30)), 0)
                self.assertTrue(any("STARTTLS" in line for line in good.said), good.said)
                self.assertFalse(any("AUTH" in line or "LOGIN" in line for line in good.said), good.said)
                self.gate_says(self.t, check(old, days=30), says=["days, wanted 30"])
                self.assert_exit(self.gate(self.t, check(clear, verify=False), deadline="400ms"), 1)

    def test_a_certificate_of_postgresql_is_judged_behind_its_own_request_for_tls(self):
        why = postgres.lacking()
        if why:
            self.skipTest(why)

        def check(server, **more):
            return {"tls": {"address": f"127.0.0.1:{server.port}", "server_name": "shop.example", "ca": "ca.pem", "starttls": "postgres", **more}}
        with postgres.Postgres() as server:
            self.gate_says(self.t, check(server, verify=False), says=["it offers no TLS"])
            server.stop("fast")
            server.secure(*(os.path.join(self.web.dir, "good" + end) for end in (".pem", ".key")))
            server.start()
            env = {"https_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
            good = self.gate(self.t, check(server, names=["www.shop.example"], days=30), env=env)
            self.assert_exit(good, 0)
            self.assert_says(good, "is valid for")
            self.assertEqual(self.probes(self.t)[-1]["address"], f"127.0.0.1:{server.port}")
            for wrong, words in (({"server_name": "api.example"}, "api.example"), ({"names": ["db.example"]}, "not for db.example"),
                                 ({"days": 3650}, "wanted 3650"), ({"ca": None}, "certificate"), ({"issuer": "O=Another"}, "wanted O=Another")):
                asked = check(server, **wrong)
                asked["tls"] = {k: v for k, v in asked["tls"].items() if v is not None}
                self.gate_says(self.t, asked, says=[words])
            name = check(server)
            name["tls"]["address"] = f"localhost:{server.port}"
            self.assert_exit(self.gate(self.t, name), 0)

    def test_what_is_no_postgresql_is_told_and_nothing_that_came_in_clear_is_taken_for_tls(self):
        for answer, words in ((b"N", "it offers no TLS"), (b"HTTP/1.1 400\r\n", "does not answer as PostgreSQL does"), (b"", "closed the connection"),
                              (b"S" + b"in clear" * 20, "certificate of"), (None, "made no handshake within 300ms")):
            with self.subTest(answer), Answers(answer) as address:
                asked = {"tls": {"address": address, "starttls": "postgres", "verify": False}, "timeout": "300ms"}
                self.gate_says(self.t, asked, says=[words])

    def test_what_speaks_no_tls_is_no_certificate(self):
        with Service(lambda path, count: 200) as plain:
            self.gate_says(self.t, {"tls": {"address": plain.url.removeprefix("http://"), "ca": "ca.pem"}}, says=["certificate of 127.0.0.1:"])

    def test_https_goes_to_the_address_that_resolve_names_with_the_name_that_the_certificate_is_for(self):
        port = self.web.port["good"]
        route = {"http": f"https://shop.example:{port}/", "resolve": f"shop.example:{port}:127.0.0.1", "ca": "ca.pem", "contains": "good"}
        self.assert_exit(self.gate(self.t, route), 0)
        other = {**route, "http": f"https://api.example:{port}/", "resolve": f"api.example:{port}:127.0.0.1"}
        self.gate_says(self.t, other, says=["api.example"])


if __name__ == "__main__":
    main()
