"""A GitHub Enterprise Server of the older generation as an agent meets it: runner-registration, connectionData, pools, agents, sessions with
encrypted messages, job requests, timelines, feeds, logs, attachments and plan events; and a broker with a run service, to which the queue may send
single polls. It is strict: what a request must carry and what may follow what is looked at with every request, and
what is wrong is kept as a complaint. Jobs, cancels and faults are the test's.

    with Pipelines() as server:
        server.url, server.registration_token()               # for `agent configure`
        job = server.queue(Job(server, ["echo hi"]))           # sent once an agent polls
        job.wait()                                             # → the JobCompleted event
        job.record("Run echo hi"), job.log("Run echo hi"), job.feed()
        server.fault("messages", status=401); server.complaints

Where the resources lie is told by connectionData alone, and differs between the two bases that it serves. The tokens are opaque, the
runner's assertion is verified, keys and messages are encrypted by the openssl command.
"""
import base64
import http.server
import json
import os
import re
import secrets
import tempfile
import threading
import time
import urllib.parse
import uuid

from servers.pipelines_job import JobCalls
from servers.pipelines_parts import DEADLINE, NOBODY, OTHERS, RESOURCES, SECRET, VERSIONS, Job, Refused, openssl, public_pem, unb64url

__all__ = ["SECRET", "Job", "Pipelines"]


class Pipelines:
    def __init__(self, signature="PS256", encrypt=True, fips=True, properties=None, hold_s=20, lock_s=600):
        self.signature, self.encrypt, self.fips, self.properties = signature, encrypt, fips, properties or {}
        self.hold_s, self.lock_s = hold_s, lock_s
        self.registration, self.management = "AREG" + secrets.token_hex(8), "mgmt-" + secrets.token_hex(16)
        self.counts, self.agents, self.sessions, self.runner_tokens, self.jobs = {}, {}, {}, {}, []
        self.complaints, self.requests, self.faults = [], [], []
        self.storage = "BLOB_STORAGE_TYPE_AZURE"
        self.migrating, self.unknown = False, ()  # members of an agent that the server is too old for
        self.condition = threading.Condition()
        self.stopped = False

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="pipelines-")
        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.tenant = f"{self.url}/_services/pipelines/T0pe9/"
        self.jobs_base = f"{self.url}/_services/jobs/x4/"
        self.token_url = f"{self.url}/_services/vstoken/oauth2/token"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        with self.condition:
            self.stopped = True
            self.condition.notify_all()
        self.http.shutdown()
        self.http.server_close()
        self.folder.cleanup()

    def registration_token(self, _scope=None):
        return self.registration

    remove_token = registration_token

    def count(self, what):
        with self.condition:
            self.counts[what] = self.counts.get(what, 46) + 1
            return self.counts[what]

    def until(self, what, condition, seconds=DEADLINE):
        end = time.monotonic() + seconds
        with self.condition:
            while True:
                value = condition()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not within {seconds} s: {what}\ncomplaints: {self.complaints}")
                self.condition.wait(min(left, 0.2))

    def complain(self, text):
        self.complaints.append(text)

    def calm(self):
        assert self.complaints == [], "\n".join(self.complaints)

    # -- the test's words --

    def fault(self, resource, method=None, times=1, **answer):
        """The next requests of that resource are answered with status and body (an error's class by `error`), or after=…"""
        with self.condition:
            self.faults.append({"resource": resource, "method": method, "times": times, **answer})

    def only_session(self):
        return self.until("a session", lambda: next((s for s in self.sessions.values() if not s["expired"]), None))

    def send(self, kind, body, **more):
        """A message for the agent that has the only session; it is given again until it is removed."""
        with self.condition:
            message = {"id": self.count("message"), "type": kind, "body": body, **more}
            self.counts.setdefault("messages", []).append(message)
            self.condition.notify_all()
            return message

    def queue(self, job, twice=False):
        with self.condition:
            self.jobs.append(job)
            if job.by_run_service:
                self.send("RunnerJobRequest", {"runner_request_id": job.id, "run_service_url": self.url + "/run/", "billing_owner_id": "U_1",
                                               "should_acknowledge": True}, broker=True)
            else:
                self.send("PipelineAgentJobRequest", job.message, job=job, again=twice)
        return job

    def announce_by_reference(self, job):
        with self.condition:
            self.jobs.append(job)
            self.send("RunnerJobRequest", {"runner_request_id": job.id, "should_acknowledge": True})
        return job

    def cancel(self, job, timeout="00:05:00"):
        return self.send("JobCancellation", {"jobId": job.id, "timeout": timeout})

    def seen(self, resource, method=None):
        return [r for r in list(self.requests) if r["resource"] == resource and method in (None, r["method"])]

    def job_of(self, **values):
        return next((j for j in self.jobs if all(getattr(j, k) == v for k, v in values.items())), None)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


class Handler(JobCalls, http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = property(lambda self: self.server.owner)

    def log_message(self, *_):
        pass

    # -- answers --

    def answer(self, status, body=None, kind="application/json; charset=utf-8; api-version=5.1-preview.1", headers=()):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if data:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def listed(self, items):
        self.answer(200, {"count": len(items), "value": items})

    def challenge(self):
        self.answer(401, None, headers=[("WWW-Authenticate", "Bearer")])

    # -- what every request must have --

    def bearer(self):
        word, _, value = (self.headers.get("Authorization") or "").partition(" ")
        return value if word == "Bearer" else None

    def check(self, condition, text):
        if not condition:
            self.owner.complain(f"{self.command} {self.path}: {text}")
        return condition

    def check_old_headers(self, resource, body):
        accept = self.headers.get("Accept", "")
        version = VERSIONS.get((self.command, resource)) or OTHERS.get(resource, "5.1-preview.1")
        self.check(accept == f"application/json; api-version={version}", f"Accept is '{accept}', not of version {version}")
        content = self.headers.get("Content-Type", "")
        if body:
            binary = resource == "attachments" or (resource == "logs" and self.values.get("logId"))
            kind = "application/octet-stream" if binary else "application/json; charset=utf-8"
            self.check(content == f"{kind}; api-version={version}", f"Content-Type is '{content}'")
            self.check("Transfer-Encoding" not in self.headers, "chunked")
        self.check(self.headers.get("X-TFS-FedAuthRedirect") == "Suppress", "no X-TFS-FedAuthRedirect")
        self.check(re.fullmatch(r"[0-9a-f-]{36}", self.headers.get("X-TFS-Session", "")), "no X-TFS-Session")
        own = self.headers.get("X-VSS-E2EID", "")
        known = self.owner.counts.setdefault("e2e", set())
        self.check(own and own not in known, "X-VSS-E2EID is missing or was used before")
        known.add(own)
        self.check("Expect" not in self.headers, "Expect")

    def any(self):
        owner = self.owner
        length = int(self.headers.get("Content-Length") or 0)
        self.raw = self.rfile.read(length)
        self.url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(self.url.query, keep_blank_values=True))
        self.check(self.headers.get("User-Agent", "").startswith("GitHubActionsRunner-"), "User-Agent")
        self.check(length == 0 or self.headers.get("Content-Type"), "a body without a type")
        self.values = {}
        resource, handler = self.route()
        with owner.condition:
            owner.requests.append({"method": self.command, "path": self.path, "resource": resource, "token": self.bearer(),
                                   "body": self.raw, "headers": dict(self.headers.items())})
            fault = next((f for f in owner.faults if f["resource"] == resource and f["method"] in (None, self.command) and f["times"] > 0), None)
            if fault:
                fault["times"] -= 1
        if handler is None:
            self.check(False, "there is nothing like that")
            return self.answer(404, {"message": "nothing here"})
        try:
            if fault and fault.get("cut"):
                self.close_connection = True
                return None
            if fault and fault.get("error"):
                raise Refused(fault.get("status", 400), fault["error"], fault.get("message", "no"), fault.get("code", 0))
            if fault and fault["status"] == 401:
                return self.challenge()
            if fault:
                return self.answer(fault["status"], fault.get("body"), headers=fault.get("headers", ()))
            if resource in RESOURCES:
                self.check_old_headers(resource, self.raw)
            return handler()
        except Refused as error:
            return self.answer(error.status, error.body())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            return None
        finally:
            with owner.condition:
                owner.condition.notify_all()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = any

    def json(self):
        try:
            return json.loads(self.raw)
        except ValueError:
            self.check(False, "the body is not JSON")
            raise Refused(400, "VssPropertyValidationException") from None

    # -- routes --

    def route(self):
        owner, path = self.owner, self.url.path
        fixed = {"/api/v3/actions/runner-registration": ("runner-registration", self.register),
                 "/_services/vstoken/oauth2/token": ("token", self.make_token),
                 "/broker/message": ("broker", self.broker_message), "/broker/acknowledge": ("acknowledge", self.acknowledge),
                 "/run/acquirejob": ("acquirejob", self.acquire), "/run/renewjob": ("renewjob", self.renew_v2),
                 "/run/completejob": ("completejob", self.complete_v2)}
        if path in fixed:
            return fixed[path]
        if path.startswith("/results/"):
            return "results", self.results
        if path.startswith("/archives/"):
            return "archive", self.archive
        for base, index in ((owner.tenant, 1), (owner.jobs_base, 2)):
            start = urllib.parse.urlsplit(base).path
            if not path.startswith(start):
                continue
            rest = path[len(start):]
            if rest == "_apis/connectionData":
                self.index = index
                return "connectionData", self.connection_data
            for name, row in RESOURCES.items():
                if row[index] and self.match(row[index], name, rest):
                    return name, getattr(self, "on_" + name)
        return path, None

    def match(self, template, name, path):
        """Optional segments at the end may be missing."""
        template = template.strip("/").replace("{area}", "distributedtask").replace("{resource}", name)
        wanted, given = template.split("/"), path.strip("/").split("/")
        if len(given) > len(wanted) or not all(w.startswith("{") for w in wanted[len(given):]):
            return False
        values = {}
        for w, g in zip(wanted, given):
            if w.startswith("{"):
                values[w.strip("{*}")] = urllib.parse.unquote(g)
            elif w != g:
                return False
        if not all(given):
            return False
        self.values = values
        return True

    def connection_data(self):
        self.check(self.query == {"connectOptions": "1", "lastChangeId": "-1", "lastChangeId64": "-1"}, "the query of connectionData")
        own = self.bearer()
        known = self.owner.job_of(token=own) if self.index == 2 else own == self.owner.management or own in self.owner.runner_tokens
        if not known:
            return self.challenge()
        definitions = [{"serviceType": "distributedtask", "identifier": row[0].upper() if self.index == 2 else row[0], "displayName": name,
                        "relativeToSetting": "context", "relativePath": row[self.index], "resourceVersion": 2 if name == "agents" else 1,
                        "minVersion": "1.0", "maxVersion": row[3], "releasedVersion": row[4]}
                       for name, row in RESOURCES.items() if row[self.index]]
        definitions.append({"serviceType": "other", "identifier": str(uuid.uuid4()), "displayName": "x", "relativePath": None})
        self.answer(200, {"instanceId": str(uuid.uuid4()), "locationServiceData": {
            "serviceOwner": NOBODY, "lastChangeId": 12, "clientCacheTimeToLive": 3600, "serviceDefinitions": definitions}})

    # -- registration --

    def register(self):
        body = self.json()
        word, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if word.lower() != "remoteauth" or value != self.owner.registration:
            return self.answer(404, {"message": "Not Found"})
        self.check(body.get("runner_event") in ("register", "remove") and body.get("url", "").startswith(self.owner.url), f"body {body}")
        return self.answer(200, {"url": self.owner.tenant, "token_schema": "OAuthAccessToken", "token": self.owner.management})

    def need_management(self):
        """Of the management token, or of a runner, who may look."""
        own = self.bearer()
        if own == self.owner.management:
            return
        raise Refused(401, "VssUnauthorizedException")

    def on_pools(self):
        self.need_management()
        self.check(self.query == {"poolType": "Automation"}, "the query of pools")
        self.listed([{"id": 1, "name": "Default", "isInternal": True, "isHosted": False, "poolType": "automation", "size": 1},
                     {"id": 2, "name": "Hosted", "isInternal": False, "isHosted": True},
                     {"id": 3, "name": "ships", "isInternal": False, "isHosted": False}])

    def agent_view(self, agent):
        return {k: v for k, v in agent.items() if not k.startswith("_")}

    def on_agents(self):
        owner = self.owner
        self.need_management()
        if self.command == "GET":
            self.check(self.values.get("poolId") == "0" and self.query.get("includeCapabilities") == "False", "looks in one pool only")
            return self.listed([self.agent_view(a) for a in owner.agents.values() if a["name"] == self.query["agentName"]])
        if self.command == "DELETE":
            self.check(self.values.get("poolId") == "0", "pool is not 0")
            if owner.agents.pop(int(self.values["agentId"]), None) is None:
                raise Refused(404, "TaskAgentNotFoundException")
            return self.answer(204)
        agent = self.json()
        for name, kind in (("name", str), ("version", str), ("osDescription", str), ("ephemeral", bool), ("disableUpdate", bool),
                           ("labels", list)):
            self.check(isinstance(agent.get(name), kind), f"agent without {name}")
        self.check(agent.get("maxParallelism") == 1, "maxParallelism")
        self.check(all(set(label) == {"id", "name", "type"} and label["type"] in ("system", "user") for label in agent.get("labels", [])),
                   f"labels {agent.get('labels')}")
        key = agent.get("authorization", {}).get("publicKey") or {}
        self.check(key.get("exponent") == "AQAB" and len(base64.b64decode(key.get("modulus", ""))) >= 256, "the public key")
        if self.command == "POST":
            self.check("properties" not in agent, "properties are the service's")
            if any(a["name"] == agent["name"] for a in owner.agents.values()):
                raise Refused(409, "TaskAgentExistsException", f"{agent['name']} exists")
            agent["id"] = owner.count("agent")
        elif int(self.values["agentId"]) not in owner.agents or agent.get("id") != int(self.values["agentId"]):
            raise Refused(404, "TaskAgentNotFoundException")
        agent["_pem"] = os.path.join(owner.folder.name, f"agent-{agent['id']}.pem")
        with open(agent["_pem"], "w") as out:
            out.write(public_pem(key))
        agent["_pool"], agent["createdOn"] = int(self.values["poolId"]), "2026-01-02T03:04:05.67Z"
        agent["authorization"] = {"clientId": str(uuid.uuid4()), "authorizationUrl": owner.token_url, "publicKey": key}
        properties = {**({} if owner.signature == "PS256" else {"RequireFipsCryptography": "false"}), **owner.properties}
        agent["properties"] = {k: {"$type": "System.String", "$value": v} if isinstance(v, str) else {"$type": "System.Boolean", "$value": v}
                               for k, v in properties.items()}
        owner.agents[agent["id"]] = agent
        return self.answer(200, {k: v for k, v in self.agent_view(agent).items() if k not in owner.unknown})

    def make_token(self):
        owner = self.owner
        form = dict(urllib.parse.parse_qsl(self.raw.decode()))
        self.check(self.headers.get("Content-Type") == "application/x-www-form-urlencoded", "the type of the form")
        self.check(form.get("grant_type") == "client_credentials", "grant_type")
        head, claims, signature = form["client_assertion"].split(".")
        said = json.loads(unb64url(claims))
        agent = next((a for a in owner.agents.values() if a["authorization"]["clientId"] == said["sub"]), None)
        if agent is None:
            return self.answer(400, {"error": "invalid_client", "error_description": "no such client"})
        algorithm = json.loads(unb64url(head))["alg"]
        self.check(algorithm == owner.signature, f"signed by {algorithm}")
        self.check(said["aud"] == owner.token_url and said["iss"] == said["sub"] and said["exp"] > time.time() - 300, f"claims {said}")
        path = os.path.join(owner.folder.name, f"signature-{uuid.uuid4()}")
        with open(path, "wb") as out:
            out.write(unb64url(signature))
        words = ["dgst", "-sha256", "-verify", agent["_pem"], "-signature", path]
        if algorithm == "PS256":
            words += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
        openssl(*words, data=f"{head}.{claims}".encode())
        own = "runner-" + secrets.token_hex(16)
        owner.runner_tokens[own] = agent["id"]
        return self.answer(200, {"access_token": own, "token_type": "JWT", "expires_in": 3000})

    def need_runner(self):
        own = self.bearer()
        agent = self.owner.agents.get(self.owner.runner_tokens.get(own))
        if own not in self.owner.runner_tokens:
            raise Refused(401, "VssUnauthorizedException")
        if agent is None:
            raise Refused(404, "TaskAgentNotFoundException", "the agent was deleted")
        if self.values.get("poolId") is not None:
            self.check(int(self.values["poolId"]) == agent["_pool"], "another pool")
        return agent

    # -- sessions and messages --

    def on_sessions(self):
        owner, agent = self.owner, self.need_runner()
        if self.command == "DELETE":
            if owner.sessions.pop(self.values["sessionId"], None) is None:
                raise Refused(400, "TaskAgentSessionExpiredException")
            return self.answer(204)
        body = self.json()
        self.check(body["sessionId"] == NOBODY and body["agent"]["id"] == agent["id"] and body["agent"]["name"] == agent["name"] and
                   body["ownerName"] and body["useFipsEncryption"] is False, f"session {body}")
        if any(s["agent"] == agent["id"] and not s["expired"] for s in owner.sessions.values()):
            raise Refused(409, "TaskAgentSessionConflictException", "a session is open already")
        session = {"id": str(uuid.uuid4()), "agent": agent["id"], "key": secrets.token_bytes(32), "last": None, "polling": 0, "expired": False,
                   "said": 0, "given": []}
        owner.sessions[session["id"]] = session
        answer = {**body, "sessionId": session["id"]}
        if owner.encrypt:
            words = ["pkeyutl", "-encrypt", "-pubin", "-inkey", agent["_pem"], "-pkeyopt", "rsa_padding_mode:oaep"]
            if owner.fips:
                words += ["-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"]
            answer["encryptionKey"] = {"encrypted": True, "value": base64.b64encode(openssl(*words, data=session["key"])).decode()}
            answer["useFipsEncryption"] = owner.fips
        return self.answer(200, answer)

    def encrypted(self, session, message):
        """The message as the agent gets it, once a session."""
        text = "\ufeff" + json.dumps(message["body"])
        wire = {"messageType": message["type"], **({"messageId": message["id"]} if message["id"] else {})}
        if not self.owner.encrypt:
            return {**wire, "body": text}
        vector = secrets.token_bytes(16)
        key = secrets.token_bytes(32) if message.pop("spoilt", False) else session["key"]
        data = openssl("enc", "-aes-256-cbc", "-K", key.hex(), "-iv", vector.hex(), data=text.encode())
        return {**wire, "iv": base64.b64encode(vector).decode(), "body": base64.b64encode(data).decode()}

    def check_poll(self, session, last):
        expected = {"sessionId", "status", "runnerVersion", "os", "architecture", "disableUpdate"}
        self.check(set(self.query) - {"lastMessageId"} == expected, f"the query of messages: {self.query}")
        # a poll that was given up may have been answered: what the agent did not see it does not name
        said = int(self.query.get("lastMessageId", session["said"]))
        self.check(session["said"] <= said <= (last or 0), f"lastMessageId is {said}, it was {session['said']}, the last message {last}")
        session["said"] = said
        self.check(self.query.get("disableUpdate") == "true" and self.query.get("os") == "Linux", "the query of messages")
        running = any(j.taken and not (j.event or j.completion) and j.renewals for j in self.owner.jobs)
        self.owner.requests[-1]["status"] = self.query.get("status")
        self.owner.counts["running at poll"] = running

    def on_messages(self):
        owner = self.owner
        self.need_runner()
        session = owner.sessions.get(self.query.get("sessionId"))
        if session is None or session["expired"]:
            raise Refused(400, "TaskAgentSessionExpiredException", "the session has expired")
        if self.command == "DELETE":
            self.check(session["polling"] == 0, "removes a message while it polls")
            with owner.condition:
                left = owner.counts.get("messages", [])
                found = next((m for m in left if m["id"] == int(self.values["messageId"])), None)
                if found is not None:
                    if found.pop("again", False):
                        found["id"] = owner.count("message")  # a service that lost the removal gives it once more
                    else:
                        left.remove(found)
                        if found.get("job"):
                            found["job"].taken = True
            return self.answer(200)
        self.check_poll(session, session["last"])
        if owner.migrating:
            return self.answer(200, {"messageId": 9000, **self.encrypted(session, {
                "id": None, "type": "BrokerMigration", "body": {"brokerBaseUrl": owner.url + "/broker"}})})
        return self.hold(session, lambda m: not m.get("broker"), self.give)

    def give(self, session, message):
        session["last"] = message["id"]
        self.answer(200, self.encrypted(session, message))

    def hold(self, session, wanted, give):
        """The long poll."""
        owner = self.owner
        with owner.condition:
            session["polling"] += 1
            try:
                end = time.monotonic() + owner.hold_s
                while not owner.stopped and time.monotonic() < end and not self.is_gone():
                    if session["expired"]:
                        raise Refused(400, "TaskAgentSessionExpiredException", "the session has expired")
                    message = next((m for m in owner.counts.get("messages", []) if wanted(m) and m["id"] not in session["given"]), None)
                    if message is not None:
                        break
                    owner.condition.wait(0.1)
                else:
                    message = None
            finally:
                session["polling"] -= 1
        if message is None:
            return self.answer(202)
        return give(session, message)

    def is_gone(self):
        """The agent has given the poll up."""
        import select
        import socket
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def on_jobrequests(self):
        owner = self.owner
        self.need_runner()
        job = owner.job_of(number=int(self.values["requestId"]))
        if job is None or job.gone:
            raise Refused(404, "TaskAgentJobNotFoundException", "there is no such job")
        if self.command == "GET":
            return self.answer(200, {"requestId": job.number, "result": job.event and job.event["result"]})
        body = self.json()
        self.check(self.command == "PATCH" and self.query == {"lockToken": NOBODY} and body.get("requestId") == job.number, "a renewal")
        self.check(self.headers.get("X-VSS-OrchestrationId") == f"{job.plan}.build.__default", "X-VSS-OrchestrationId")
        job.renewals += 1
        until = time.strftime("%Y-%m-%dT%H:%M:%S.1234567Z", time.gmtime(time.time() + owner.lock_s))
        return self.answer(200, {"requestId": job.number, "lockedUntil": until, "reservedAgent": {"id": 1, "name": "box"}})

    def on_jobmessages(self):
        self.need_runner()
        job = self.owner.job_of(id=self.values["messageId"])
        if job is None:
            raise Refused(404, "TaskAgentJobNotFoundException")
        job.taken = True
        return self.answer(200, job.message)
