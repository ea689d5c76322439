#!/usr/bin/env python3
"""S9: certificates were renewed by hand."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers import nginx  # noqa: E402
from servers.nginx import Authority, Nginx  # noqa: E402

SERVER = "server { listen 127.0.0.1:{tls} ssl; ssl_certificate {dir}/shop.pem; ssl_certificate_key {dir}/shop.key; return 200; }"
RENEW = """set -e
openssl x509 -checkend $((30 * 86400)) -noout -in $DIR/shop.pem && exit 0
openssl x509 -req -in $DIR/shop.csr -CA $DIR/ca.pem -CAkey $DIR/ca.key -CAcreateserial -days 90 -extfile $DIR/shop.ext -out $DIR/new.pem
mv $DIR/new.pem $DIR/shop.pem
exec $RELOAD
"""


@unittest.skipIf(nginx.lacking(), nginx.lacking())
class Certificates(Case):
    def test_a_certificate_that_ends_soon_fails_the_gate_and_a_run_step_renews_it_in_time(self):
        with Trial() as t, Nginx(SERVER, lambda web: Authority(web.dir).sign("shop", ["shop.example", "www.shop.example"], 20)) as web:
            with open(os.path.join(web.dir, "ca.pem"), encoding="ascii") as f:
                authority = f.read()
            gate = {"health-gate": {"deadline": "3s", "checks": [{"interval": "100ms", "tls": {
                "address": f"127.0.0.1:{web.port['tls']}", "server_name": "shop.example", "names": ["www.shop.example"], "issuer": "O=Davit Test",
                "days": 30, "ca": authority}}]}}
            renew = {"run": {"script": RENEW, "env": {"DIR": web.dir, "RELOAD": " ".join(web.reload_command())}, "undo": "none", "after_undo": "true"}}
            soon = t.deploy({"targets": {"web": {"local": {}}}, "steps": [gate]})
            self.assert_exit(soon, 1)
            self.assert_says(soon, "it ends in 19 days, wanted 30")
            self.assert_exit(t.deploy({"targets": {"web": {"local": {}}}, "steps": [renew, gate]}), 0)
            self.assert_exit(t.deploy({"targets": {"web": {"local": {}}}, "steps": [gate]}), 0)


if __name__ == "__main__":
    main()
