"""What servers.pipelines is made of: where its resources lie, keys and tokens, the job of a test, errors."""
import base64
import re
import secrets
import subprocess
import uuid

NOBODY = "00000000-0000-0000-0000-000000000000"
DEADLINE = 60
# name → (location, template at the tenant, template at the jobs' base, maximum version, released version)
HUB = "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}"
RESOURCES = {
    "pools": ("a8c47e17-4d56-4a56-92bb-de7ea7dc65be", "_apis/{area}/{resource}/{poolId}", None, "7.1", "7.1"),
    "agents": ("e298ef32-5878-4cab-993c-043836571f42", "_apis/{area}/pools/{poolId}/{resource}/{agentId}", None, "7.1", "5.0"),
    "sessions": ("134e239e-2df3-4794-a6f6-24f1f19ec8dc", "_apis/{area}/pools/{poolId}/{resource}/{sessionId}", None, "7.1", "5.0"),
    "messages": ("c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "_apis/{area}/pools/{poolId}/{resource}/{messageId}", None, "7.1", "5.0"),
    "jobrequests": ("fc825784-c92a-4299-9221-998a02d1b54f", "_apis/{area}/pools/{poolId}/{resource}/{requestId}", None, "7.1", "5.0"),
    "jobmessages": ("25adab70-1379-4186-be8e-b643061ebe3a", "_apis/{area}/{resource}/{messageId}", None, "7.1", "5.0"),
    "events": ("557624af-b29e-4c20-8ab0-0399d2204f3f", None, HUB + "/{resource}", "7.1", "1.0"),
    "records": ("8893bc5b-35b2-4be7-83cb-99e683551db4", None, HUB + "/timelines/{timelineId}/{resource}", "7.1", "5.0"),
    "feed": ("858983e4-19bd-4c5e-864c-507b59b58b12", None, HUB + "/timelines/{timelineId}/records/{recordId}/{resource}", "7.1", "5.0"),
    "logs": ("46f5667d-263a-4684-91b1-dff7fdcf64e2", None, "/" + HUB + "/{resource}/{logId}", "5.0", "5.0"),
    "attachments": ("7898f959-9cdf-4096-b29e-7f293031629e", None,
                    HUB + "/timelines/{timelineId}/records/{recordId}/{resource}/{type}/{*name}", "7.1", "5.0"),
    "actiondownloadinfo": ("27d7f831-88c1-4719-8ca1-6a061dad90eb", None, HUB + "/{resource}", "7.1", "5.0"),
}
# (method, resource) → the api-version that is right by the rule of negotiation with the versions above
VERSIONS = {("GET", "messages"): "6.0-preview.1", ("POST", "events"): "2.0-preview.1", ("POST", "logs"): "5.0",
            ("GET", "jobmessages"): "6.0-preview.1", ("POST", "actiondownloadinfo"): "6.0-preview.1"}
OTHERS = {"agents": "6.0-preview.2"}
STATES, SECRET = ["pending", "inProgress", "completed"], "s3cr3t-value"


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der(tag, content):
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + length + content


def public_pem(key):
    """SubjectPublicKeyInfo of {"modulus", "exponent"}."""
    numbers = b"".join(der(2, b"\0" + base64.b64decode(key[name])) for name in ("modulus", "exponent"))
    whole = der(0x30, der(0x30, bytes.fromhex("06092a864886f70d0101010500")) + der(3, b"\0" + der(0x30, numbers)))
    return "-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(whole).decode() + "-----END PUBLIC KEY-----\n"


def openssl(*words, data=b""):
    return subprocess.run(["openssl", *words], input=data, check=True, capture_output=True).stdout


def token(value):
    """A value as a template token."""
    if isinstance(value, dict) and "expr" in value:
        return {"type": 3, **value}
    if isinstance(value, dict):
        return {"type": 2, "map": [{"key": k, "value": token(v)} for k, v in value.items()]}
    return {"type": 5, "bool": value} if isinstance(value, bool) else value


def context(value):
    if isinstance(value, dict):
        return {"t": 2, "d": [{"k": k, "v": context(v)} for k, v in value.items()]}
    return value


class Job:
    """One job in the older form. steps: scripts, or objects of the message."""

    def __init__(self, server, steps, outputs=None, environment=None, secret=SECRET, variables=None, by_run_service=False,
                 visibility="private"):
        self.server, self.id, self.plan = server, str(uuid.uuid4()), str(uuid.uuid4())
        self.timeline, self.scope = str(uuid.uuid4()), str(uuid.uuid4())
        self.token, self.github_token = "job-" + secrets.token_hex(16), "ghs_" + secrets.token_hex(12)
        self.number = server.count("request")
        self.by_run_service, self.visibility = by_run_service, visibility
        self.results, self.blobs = [], {}
        self.records, self.logs, self.lines, self.attachments = {}, {}, [], {}
        self.event = self.completion = None
        self.renewals, self.calls, self.asked_actions = 0, [], []
        self.taken, self.gone = False, False
        self.message = self.make(steps, outputs, environment, secret, variables or {})

    def make(self, steps, outputs, environment, secret, variables):
        base = f"{self.server.url}/run/" if self.by_run_service else self.server.jobs_base
        all_steps = []
        for number, step in enumerate(steps, 1):
            if isinstance(step, str):
                step = {"inputs": token({"script": step}), "reference": {"type": "script"}}
            name = step.get("contextName", f"__step{number}")
            all_steps.append({"type": "action", "id": str(uuid.uuid4()), "name": name, "contextName": name, "condition": "success()",
                              **step})
        github = {"repository": "acme/widgets", "repository_owner": "acme", "ref": "refs/heads/main", "sha": "0123456789" * 4,
                  "run_id": "42", "run_attempt": "1", "server_url": self.server.url, "api_url": self.server.url + "/api/v3",
                  "event_name": "push", "actor": "octocat", "workflow": "ci", "job": "build",
                  "event": {"ref": "refs/heads/main", "repository": {"full_name": "acme/widgets", "visibility": self.visibility}}}
        plain = {"system.github.token": self.github_token, "github_token": self.github_token, "DEPLOY_KEY": secret,
                 "system.orchestrationId": f"{self.plan}.build.__default", "DistributedTask.EnhancedAnnotations": "true", **variables}
        return {
            "messageType": "RunnerJobRequest" if self.by_run_service else "PipelineAgentJobRequest",
            "plan": {"planId": self.plan, "planType": "Build", "version": 12, "scopeIdentifier": self.scope},
            "timeline": {"id": self.timeline, "changeId": 1, "location": None},
            "jobId": self.id, "jobDisplayName": "build", "jobName": "__default", "requestId": self.number,
            "lockedUntil": "2026-01-02T03:04:05.1234567Z",
            "resources": {"endpoints": [{
                "name": "SystemVssConnection", "url": base,
                "authorization": {"scheme": "OAuth", "parameters": {"AccessToken": self.token}},
                "data": {"CacheServerUrl": self.server.url + "/cache/", "GenerateIdTokenUrl": ""}}]},
            "variables": {k: {"value": v, **({"isSecret": True} if k in ("DEPLOY_KEY", "github_token", "system.github.token") else {})}
                          for k, v in plain.items()},
            "mask": [{"type": "regex", "value": re.escape(secret)}],
            "contextData": {"github": context(github), "needs": {"t": 2}, "inputs": None, "vars": {"t": 2}, "matrix": None,
                            "strategy": context({"fail-fast": True}), "job": {"t": 2}},
            "environmentVariables": [], "defaults": [], "fileTable": [".github/workflows/ci.yml"], "workspace": None, "jobContainer": None,
            "jobServiceContainers": None, "jobOutputs": token(outputs) if outputs else None,
            "actionsEnvironment": environment, "steps": all_steps}

    # -- what came of it --

    def wait(self, seconds=DEADLINE):
        """The event, or the completion, that ended it."""
        return self.server.until("the end of the job", lambda: self.event or self.completion, seconds)

    def record(self, name):
        found = [r for r in self.records.values() if r.get("name") == name]
        assert found, f"no record '{name}' among {[r.get('name') for r in self.records.values()]}"
        return found[0]

    def steps(self):
        """name → result, in their order."""
        steps = [r for r in self.records.values() if r.get("type") == "Task"]
        return {r["name"]: r["result"] for r in sorted(steps, key=lambda r: r["order"])}

    def raw_log(self, record):
        return b"".join(self.logs[record["log"]["id"]])

    def log(self, name):
        """Of a step, without time stamps."""
        lines = self.raw_log(self.record(name)).decode().splitlines()
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z ", line) for line in lines), lines
        return "\n".join(line.split(" ", 1)[1] for line in lines)

    def feed(self, name):
        record = self.record(name)["id"]
        return [line for step, _, lines in list(self.lines) if step == record for line in lines]

    def issues(self, name):
        return [(i["type"], i["message"]) for i in self.record(name).get("issues") or []]


class Refused(Exception):
    """An error of the service: status, class, errorCode."""

    def __init__(self, status, name, message="no", code=0):
        super().__init__(name)
        self.status, self.name, self.message, self.code = status, name, message, code

    def body(self):
        return {"$id": "1", "innerException": None, "message": self.message, "errorCode": self.code, "eventId": 3000, "typeKey": self.name,
                "typeName": f"GitHub.DistributedTask.WebApi.{self.name}, GitHub.DistributedTask.WebApi"}
