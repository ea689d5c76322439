#!/usr/bin/env python3
"""S10: the reverse proxy had no route to the new service."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Service, Trial, main  # noqa: E402
from servers import nginx  # noqa: E402
from servers.nginx import Authority, Nginx  # noqa: E402

PROXY = """server { listen 127.0.0.1:{tls} ssl default_server; ssl_certificate {dir}/shop.pem; ssl_certificate_key {dir}/shop.key; return 404; }
           ROUTES"""
ROUTE = """server { listen 127.0.0.1:{tls} ssl; server_name shop.example; ssl_certificate {dir}/shop.pem; ssl_certificate_key {dir}/shop.key;
           location / { proxy_pass UPSTREAM; } }"""


@unittest.skipIf(nginx.lacking(), nginx.lacking())
class Routes(Case):
    def gate(self, t, web, host="shop.example"):
        port = web.port["tls"]
        with open(os.path.join(web.dir, "ca.pem"), encoding="ascii") as f:
            authority = f.read()
        check = {"http": f"https://{host}:{port}/", "resolve": f"{host}:{port}:127.0.0.1", "ca": authority, "answer_headers": {"X-Version": "2"},
                 "interval": "50ms", "for": 3}
        return t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"health-gate": {"deadline": "1500ms", "checks": [check]}}]})

    def test_the_name_the_certificate_and_the_version_behind_the_proxy_are_each_judged(self):
        with Trial() as t, Service(lambda *_: (200, {"X-Version": "1"}, b"")) as old, Service(lambda *_: (200, {"X-Version": "2"}, b"")) as new, \
                Nginx(PROXY.replace("ROUTES", ""), lambda web: Authority(web.dir).sign("shop", ["shop.example"], 90)) as web:
            none = self.gate(t, web)
            self.assert_exit(none, 1)
            self.assert_says(none, "answered 404, wanted 200")
            # The workers of before stay as long as connections to them are kept: each try makes one of its own.
            for upstream, code, words in ((old, 1, "X-Version is '1', wanted '2'"), (new, 0, "passed")):
                web.configure(PROXY.replace("ROUTES", ROUTE.replace("UPSTREAM", upstream.url)))
                renew = t.deploy({"targets": {"web": {"local": {}}}, "steps": [{"run": {"command": web.reload_command(), "undo": "none", "after_undo": "true"}}]})
                self.assert_exit(renew, 0)
                result = self.gate(t, web)
                self.assert_exit(result, code)
                self.assert_says(result, words)
            other = self.gate(t, web, host="api.example")
            self.assert_exit(other, 1)
            self.assert_says(other, "api.example")


if __name__ == "__main__":
    main()
