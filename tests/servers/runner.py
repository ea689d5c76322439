"""A minimal GitHub Actions runner as a test sees it: it speaks protocol V2 by the book, in the standard library and the
openssl command line (for RSA), and does no work. What it sends is what the forge must accept without a complaint."""
import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.parse
import uuid

from servers.forge import ForgeError

AGENT = "GitHubActionsRunner-linux-x64/2.336.0 CommitSHA/none (Runner)"


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Runner:
    keys = {}

    def __init__(self, forge, scope, name="box-1", labels=("self-hosted", "Linux", "X64"), ephemeral=False):
        self.forge, self.scope, self.name, self.labels, self.ephemeral = forge, scope, name, labels, ephemeral
        self.actions_session = str(uuid.uuid4())
        self.key = os.path.join(tempfile.mkdtemp(prefix="runner-", dir=forge.folder), "key.pem")
        self.token = self.session = None

    # -- registration --

    def entity(self):
        return ("repos/" if "/" in self.scope else "orgs/") + self.scope

    def make_key(self, bits=2048, fresh=False):
        """A key of its own if fresh, else one that this process makes once."""
        if bits not in Runner.keys or fresh:
            subprocess.run(["openssl", "genrsa", "-out", self.key, str(bits)], check=True, capture_output=True)
            with open(self.key) as text:
                Runner.keys.setdefault(bits, text.read())
        else:
            with open(self.key, "w") as out:
                out.write(Runner.keys[bits])

    def public_xml(self):
        modulus = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True, capture_output=True,
                                 text=True).stdout.strip().split("=")[1]
        n = base64.b64encode(bytes.fromhex(modulus)).decode()
        return f"<RSAKeyValue><Modulus>{n}</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"

    def remote_auth(self, token):
        return {"Authorization": f"RemoteAuth {token}", "User-Agent": AGENT}

    def register_body(self, **changes):
        labels = [{"id": 0, "name": n, "type": "system" if i < 3 else "user"} for i, n in enumerate(self.labels)]
        return {"url": f"{self.forge.url}/{self.scope}", "group_id": 1, "name": self.name, "version": "2.336.0",
                "updates_disabled": True, "ephemeral": self.ephemeral, "labels": labels, "public_key": self.public_xml(), **changes}

    def configure(self, **changes):
        token = self.forge.registration_token(self.scope)
        auth = self.remote_auth(token)
        api = self.forge.api
        answer = self.forge.json("POST", f"{api}/actions/runner-registration",
                                 {"url": f"{self.forge.url}/{self.scope}", "runner_event": "register"}, auth)
        assert answer["use_v2_flow"] is True and answer["token_schema"] == "OAuthAccessToken", answer
        groups = self.forge.json("GET", f"{api}/{self.entity()}/actions/runner-groups", headers=auth)
        assert groups["runner_groups"][0]["default"] is True
        self.forge.json("GET", f"{api}/{self.entity()}/actions/runners?name={urllib.parse.quote(self.name)}", headers=auth)
        self.make_key()
        self.registered = self.forge.json("POST", f"{api}/actions/runners/register", self.register_body(**changes), auth)
        self.id = self.registered["id"]
        details = self.registered["authorization"]
        self.client_id, self.token_url, self.broker = details["client_id"], details["authorization_url"], details["server_url"]
        return self

    def remove(self):
        token = self.forge.remove_token(self.scope)
        return self.forge.request("DELETE", f"{self.forge.api}/{self.entity()}/actions/runners/{self.id}",
                                  headers=self.remote_auth(token))[0]

    # -- OAuth --

    def assertion(self, algorithm="PS256", key=None, **changes):
        now = int(time.time())
        claims = {"sub": self.client_id, "jti": str(uuid.uuid4()), "iss": self.client_id, "aud": self.token_url, "nbf": now,
                  "exp": now + 300, **changes}
        text = b64url(json.dumps({"typ": "JWT", "alg": algorithm}).encode()) + "." + b64url(json.dumps(claims).encode())
        args = ["openssl", "dgst", "-sha256", "-sign", key or self.key]
        if algorithm == "PS256":
            args += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
        signature = subprocess.run(args, input=text.encode(), check=True, capture_output=True).stdout
        return text + "." + b64url(signature)

    def send_assertion(self, jwt):
        form = urllib.parse.urlencode({
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": jwt})
        return self.forge.json("POST", self.token_url, form.encode(),
                               {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "User-Agent": AGENT})

    def login(self, **changes):
        answer = self.send_assertion(self.assertion(**changes))
        assert answer["token_type"] == "JWT" and answer["expires_in"] > 0, answer
        self.token = answer["access_token"]
        return self

    def service(self, method, url, body=None, token=None, timeout=70):
        return self.forge.request(method, url, body, {
            "Authorization": f"Bearer {token or self.token}", "Accept": "application/json", "User-Agent": AGENT,
            "X-Actions-Session": self.actions_session}, timeout)

    def service_json(self, method, url, body=None, token=None, timeout=70):
        text = self.service(method, url, body, token, timeout)[2]
        return json.loads(text) if text.strip() else None

    # -- session and messages --

    def session_body(self, **changes):
        return {"sessionId": "00000000-0000-0000-0000-000000000000", "ownerName": f"{self.name} (PID: 1)",
                "agent": {"id": self.id, "name": self.name, "version": "2.336.0", "osDescription": "Linux 6.1"},
                "useFipsEncryption": False, **changes}

    def open_session(self):
        answer = self.service_json("POST", self.broker + "session", self.session_body())
        assert "encryptionKey" not in answer
        self.session = answer["sessionId"]
        return self

    def close_session(self):
        return self.service("DELETE", f"{self.broker}session?sessionId={self.session}")[0]

    def query(self, status="Online"):
        return f"sessionId={self.session}&status={status}&runnerVersion=2.336.0&os=Linux&architecture=X64"

    def poll(self, status="Online", timeout=70):
        """The message, or None."""
        code, _, text = self.service("GET", f"{self.broker}message?{self.query(status)}&disableUpdate=true", timeout=timeout)
        if code != 200 or not text:
            return None
        message = json.loads(text)
        message["body"] = json.loads(message["body"]) if message.get("body") else None
        return message

    def poll_job(self, tries=50):
        for _ in range(tries):
            message = self.poll()
            if message and message["messageType"] == "RunnerJobRequest":
                return message["body"]
        raise AssertionError("no job came")

    def acknowledge(self, reference):
        return self.service("POST", f"{self.broker}acknowledge?{self.query()}",
                            {"runnerRequestId": reference["runner_request_id"]})[0]

    def acquire(self, reference):
        message = self.service_json("POST", reference["run_service_url"] + "acquirejob", {
            "jobMessageId": reference["runner_request_id"], "runnerOS": "Linux", "billingOwnerId": reference["billing_owner_id"]})
        return Job(self, message)

    def take_job(self):
        """Session open → the job, acknowledged, acquired and renewed once."""
        reference = self.poll_job()
        if reference["should_acknowledge"]:
            assert self.acknowledge(reference) == 200
        job = self.acquire(reference)
        job.renew()
        return job

    def ready(self):
        return self.configure().login().open_session()


class Job:
    def __init__(self, runner, message):
        self.runner, self.forge, self.message = runner, runner.forge, message
        endpoint, = [e for e in message["resources"]["endpoints"] if e["name"] == "SystemVssConnection"]
        self.url, self.token = endpoint["url"], endpoint["authorization"]["parameters"]["AccessToken"]
        self.plan, self.id = message["plan"]["planId"], message["jobId"]
        self.variables = {k: v["value"] for k, v in message["variables"].items()}
        self.results = self.variables["system.github.results_endpoint"]
        self.order = 0
        self.github_token = self.variables["system.github.token"]

    def call(self, method, url, body):
        return self.runner.service_json(method, url, body, self.token)

    def ids(self):
        return {"planId": self.plan, "jobId": self.id}

    def backend_ids(self):
        return {"workflow_run_backend_id": self.plan, "workflow_job_run_backend_id": self.id}

    def renew(self):
        return self.call("POST", self.url + "renewjob", self.ids())["lockedUntil"]

    def update_steps(self, *steps):
        self.order += 1
        body = {"steps": list(steps), "change_order": self.order, **self.backend_ids()}
        return self.call("POST", self.results + "twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate",
                         body)

    def receiver(self, name, **members):
        return self.call("POST", f"{self.results}twirp/results.services.receiver.Receiver/{name}", {**self.backend_ids(), **members})

    def put(self, url, data, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.forge.request("PUT", url, data, {"content-type": "text/plain", **headers}, raw=True)[0]

    def upload_log(self, text, step=None):
        kind, ids = ("Step", {"step_backend_id": step}) if step else ("Job", {})
        url = self.receiver(f"Get{kind}LogsSignedBlobURL", **ids)["logs_url"]
        assert self.put(url, text.encode(), x_ms_blob_type="BlockBlob", x_ms_blob_content_type="text/plain") == 201
        return self.receiver(f"Create{kind}LogsMetadata", uploaded_at="2026-03-01T10:20:30.123Z", line_count=text.count("\n"), **ids)

    def upload_summary(self, text, step):
        answer = self.receiver("GetStepSummarySignedBlobURL", step_backend_id=step)
        assert self.put(answer["summary_url"], text.encode(), x_ms_blob_type="BlockBlob", content_type="application/octet-stream") == 201
        return self.receiver("CreateStepSummaryMetadata", uploaded_at="2026-03-01T10:20:30.123Z", size=len(text.encode()),
                             step_backend_id=step)

    def step(self, number, name, status=6, conclusion=2, external_id=None):
        done = status == 6
        return {"external_id": external_id or str(uuid.uuid4()), "number": number, "name": name, "status": status,
                "started_at": "2026-03-01T10:20:29.200Z" if status in (3, 6) else None,
                "completed_at": "2026-03-01T10:20:30.050Z" if done else None, "conclusion": conclusion if done else 0}

    def result(self, step, conclusion="succeeded", annotations=(), kind="run"):
        return {"external_id": step["external_id"], "number": step["number"], "name": step["name"], "type": kind,
                "status": "completed", "conclusion": conclusion, "started_at": "2026-03-01T10:20:29.2Z",
                "completed_at": "2026-03-01T10:20:30.05Z", "annotations": list(annotations)}

    def complete(self, conclusion="succeeded", **members):
        body = {**self.ids(), "conclusion": conclusion, "billingOwnerId": self.message["billingOwnerId"], **members}
        return self.runner.service("POST", self.url + "completejob", body, self.token)[0]


def plain(data):
    """Context data without its types."""
    if isinstance(data, dict):
        kind = data.get("t", 0)
        if kind in (2, 5):
            return {e["k"]: plain(e["v"]) for e in data.get("d", [])}
        return {1: [plain(x) for x in data.get("a", [])], 3: data.get("b", False), 4: data.get("n", 0), 0: data.get("s")}[kind]
    return data


def refused(call, *args, **kwargs):
    """The ForgeError that the call must end with."""
    try:
        answer = call(*args, **kwargs)
    except ForgeError as error:
        return error
    raise AssertionError(f"it was not refused: {answer!r}")
