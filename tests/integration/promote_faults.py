#!/usr/bin/env python3
"""promote at a registry that answers 500, cuts its bodies or sends other bytes than were asked for: the tag stays where it was."""
import http.client
import http.server
import json
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.trial import Case, Trial, main  # noqa: E402
from servers.registry import Registry  # noqa: E402


class Between:
    """Hands each request on to a real registry. fault(method, path, status, body) → (status, body, bytes that are sent), or None."""

    def __init__(self, registry):
        outer = self
        self.fault, self.struck = lambda *_: None, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def any(self):
                given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                there = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding", "connection")}
                there.request(self.command, self.path, given, headers)
                reply = there.getresponse()
                body, status = reply.read(), reply.status
                wrong = outer.fault(self.command, self.path, status, body)
                outer.struck += wrong is not None
                status, body, sent = wrong or (status, body, len(body))
                self.send_response(status)
                for name, value in reply.getheaders():
                    if name.lower() not in ("content-length", "connection", "date", "transfer-encoding"):
                        self.send_header(name, value.replace(registry.url, outer.url))
                length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length or "0")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body[:sent])
                self.close_connection = True
                there.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@unittest.skipUnless(Registry.available(), "this machine has no docker-registry")
class PromoteFaults(Case):
    def setUp(self):
        self.t = self.enterContext(Trial())
        self.registry = self.enterContext(Registry())
        self.between = self.enterContext(Between(self.registry))
        self.old = self.registry.push_index("shop/web", "production", "old")
        self.new = self.registry.push_index("shop/web", "staging", "new")

    def promote(self, fault):
        self.between.fault, self.between.struck = fault, 0
        document = {"name": "shop", "environment": "test",
                    "targets": {"here": {"local": {}, "base": self.t.base}, "images": {"registry": {"url": self.between.url}}},
                    "steps": [{"promote": {"from": "shop/web:staging", "to": "shop/web:production", "target": "images"}}]}
        with open(os.path.join(self.t.src, "deploy.yml"), "w", encoding="utf-8") as f:
            json.dump(document, f)
        return self.t.run("deploy", "deploy.yml")

    def stays(self, code, fault):
        result = self.promote(fault)
        self.assertGreater(self.between.struck, 0, "the fault was met")
        self.assert_exit(result, code)
        self.assertEqual(self.registry.digest("shop/web", "production"), self.old)
        opened = os.path.join(self.t.base, "open")
        self.assertEqual(os.listdir(opened) if os.path.isdir(opened) else [], [])
        return result

    def test_500_to_every_question_is_told_before_the_first_change(self):
        self.stays(2, lambda method, path, status, body: (500, b"{}", 2))

    def test_500_to_the_tag_itself_takes_the_deployment_back(self):
        self.stays(1, lambda method, path, status, body: (500, b"{}", 2) if method == "PUT" and "/manifests/" in path else None)

    def test_a_manifest_that_was_cut_is_asked_for_again(self):
        result = self.promote(lambda method, path, status, body: (status, body, len(body) // 2)
                              if method == "GET" and "/manifests/" in path and self.between.struck == 0 else None)
        self.assert_exit(result, 0)
        self.assertEqual(self.between.struck, 1)
        self.assertEqual(self.registry.digest("shop/web", "production"), self.new)

    def test_bytes_that_do_not_have_the_digest_are_refused(self):
        result = self.stays(1, lambda method, path, status, body: (status, body.replace(b"amd64", b"evil6"), len(body))
                            if method == "GET" and "/manifests/" in path else None)
        self.assert_says(result, "the registry sent other bytes than those of " + self.new)


if __name__ == "__main__":
    main()
