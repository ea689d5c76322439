#!/usr/bin/env python3
"""Answers as Scaleway itself did: for each path the last good answer that was recorded there, lists made from the recorded objects. Prints its URL, the ids of what was
recorded and the refusals; ends when its input does. Without the contracts at hand it says so ("skip")."""
import http.server
import json
import os
import re
import sys
import threading
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from servers import scaleway_schema, suite_world  # noqa: E402

OBJECT = re.compile(r"/(instance|block)/v1/zones/([^/]+)/(servers|ips|volumes)/([0-9a-f-]{36})")
WRAPS = {"servers": "server", "ips": "ip"}


def gather(rows):
    """Answers by path, and the objects of each kind by their ids."""
    answers, objects = {}, {"servers": {}, "ips": {}, "volumes": {}}
    for row in rows:
        if row["method"] != "GET" or row["status"] != 200:
            continue
        answers[row["path"]] = row["res"]
        match = OBJECT.fullmatch(row["path"])
        if match and (match[3] != "volumes" or match[1] == "block") and match[2] == "fr-par-1":
            objects[match[3]][match[4]] = row["res"][WRAPS[match[3]]] if match[3] in WRAPS else row["res"]
    return answers, objects


def answer_of(answers, objects, path):
    if path in answers:
        return 200, answers[path]
    name = path.rsplit("/", 1)[1]
    if name in objects:
        return 200, {name: list(objects[name].values()), "total_count": len(objects[name])}
    return 404, {"type": "not_found", "message": "resource is not found", "resource": "instance_user_data", "resource_id": name}


def main():
    rows = scaleway_schema.recorded()
    if rows is None:
        suite_world.skip("the recorded exchanges are not at hand")
        return
    answers, objects = gather(rows)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, body = answer_of(answers, objects, urllib.parse.urlsplit(self.path).path)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    refusals = [{"status": r["status"], "body": r["res"]} for r in rows if r["status"] >= 400]
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "servers": len(objects["servers"]), "volumes": len(objects["volumes"]), "ips": len(objects["ips"]),
                      "refusals": [r for i, r in enumerate(refusals) if json.dumps(r)[:60] not in {json.dumps(x)[:60] for x in refusals[:i]}]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
