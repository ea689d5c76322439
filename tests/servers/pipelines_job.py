"""What a job asks of servers.pipelines with its own token, and the broker and the run service of the newer generation."""
import json
import re
import time

from servers.pipelines_parts import STATES, Refused


class JobCalls:
    """Of the handler."""

    # -- the job's own --

    def need_job(self):
        job = self.owner.job_of(token=self.bearer())
        if job is None:
            raise Refused(401, "VssUnauthorizedException")
        right = {"scopeIdentifier": job.scope, "hubName": "Build", "planId": job.plan, "timelineId": job.timeline}
        wrong = {k: v for k, v in self.values.items() if k in right and right[k] != v}
        if wrong:
            raise Refused(404, "TaskOrchestrationPlanNotFoundException", f"{wrong}")
        self.check(job.renewals > 0, "reports before the lease was renewed")
        self.check(job.event is None, "comes after the job's end")
        return job

    def wrapper(self):
        body = self.json()
        self.check(isinstance(body.get("value"), list) and body.get("count") == len(body["value"]) > 0, "the wrapper's count")
        return body

    def on_records(self):
        job, body = self.need_job(), self.wrapper()
        with self.owner.condition:
            for record in body["value"]:
                self.take_record(job, record)
            answer = [dict(r) for r in job.records.values()]
        return self.listed(answer)

    def take_record(self, job, record):
        known = job.records.get(record["id"])
        if known is None:
            self.check(record.get("type") in ("Job", "Task") and record.get("name"), f"a new record without type or name: {record}")
            known = job.records[record["id"]] = {"changeId": 0}
        if record.get("type") == "Task":
            self.check(record.get("parentId") == job.id and isinstance(record.get("order"), int) and record.get("refName"), f"a step: {record}")
        if record.get("type") == "Job":
            self.check(record["id"] == job.id, "another job's record")
        before, after = known.get("state", "pending"), record.get("state") or known.get("state", "pending")
        self.check(STATES.index(after) >= STATES.index(before), f"'{record.get('name')}' goes back from {before} to {after}")
        if after == "completed" and "result" in record:
            self.check(record["result"] and record.get("finishTime") and record.get("percentComplete") == 100, f"completed: {record}")
        issues = record.get("issues") or []
        kinds = {"error": "errorCount", "warning": "warningCount", "notice": "noticeCount"}
        for kind, name in kinds.items():
            self.check(sum(i["type"] == kind for i in issues) == record.get(name, 0), f"{name} of {record}")
        if record.get("log"):
            self.check(record["log"]["id"] in job.logs, "refers to a log that is not there")
        known.update({k: v for k, v in record.items() if v is not None and not (k == "issues" and not v) and k != "changeId"})
        known["changeId"] += 1

    def on_logs(self):
        job = self.need_job()
        if not self.values.get("logId"):
            body = self.json()
            self.check(re.fullmatch(r"logs\\[0-9a-f-]{36}", body.get("path", "")), f"the log's path: {body}")
            with self.owner.condition:
                number = self.owner.count("log")
                job.logs[number] = []
            return self.answer(201, {"id": number, "lineCount": 0, "path": body["path"], "location": None})
        parts = job.logs.get(int(self.values["logId"]))
        if not self.check(parts is not None, "no such log"):
            raise Refused(404, "TaskLogNotFoundException")
        self.check(0 < len(self.raw) <= 4 << 20, f"a part of {len(self.raw)} bytes")
        parts.append(self.raw)
        return self.answer(200, {"id": int(self.values["logId"]), "lineCount": b"".join(parts).count(b"\n")})

    def on_feed(self):
        job, body = self.need_job(), self.wrapper()
        self.check(self.values["recordId"] == job.id and body.get("stepId"), "the feed's record is the job's")
        self.check(len(body["value"]) <= 100 and all(isinstance(v, str) and len(v) <= 1027 for v in body["value"]), "lines of the feed")
        job.lines.append((body["stepId"], body.get("startLine"), body["value"]))
        return self.answer(200)

    def on_attachments(self):
        job = self.need_job()
        self.check(self.values["recordId"] == job.id, "an attachment of another record")
        job.attachments[self.values["type"], self.values["name"]] = self.raw
        return self.answer(200, {"type": self.values["type"], "name": self.values["name"]})

    def on_actiondownloadinfo(self):
        job, body = self.need_job(), self.json()
        self.check(self.query == {"jobId": job.id}, "jobId")
        job.asked_actions.append(body["actions"])
        answer = {}
        for action in body["actions"]:
            self.check(set(action) == {"nameWithOwner", "ref", "path"}, f"asks {action}")
            key = f"{action['nameWithOwner']}@{action['ref']}"
            answer[key] = {"nameWithOwner": action["nameWithOwner"], "ref": action["ref"], "resolvedNameWithOwner": action["nameWithOwner"],
                           "resolvedSha": "ab" * 20, "tarballUrl": f"{self.owner.url}/archives/{action['nameWithOwner']}.tar.gz",
                           "zipballUrl": None, "authentication": None}
        return self.answer(200, {"actions": answer})

    def archive(self):
        data = self.owner.archives[self.url.path[len("/archives/"):]]
        self.send_response(200)
        self.send_header("Content-Type", "application/gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def on_events(self):
        job, event = self.need_job(), self.json()
        if event.get("name") != "JobCompleted":
            self.check(False, f"event {event.get('name')}")
            raise Refused(404, "VssServiceException")
        self.check(event.get("jobId") == job.id and event.get("requestId") == job.number, f"event {event}")
        self.check(event.get("result") in ("succeeded", "failed", "canceled", "skipped"), f"result {event.get('result')}")
        open_records = [r["name"] for r in job.records.values() if r.get("state") != "completed" and r.get("type") == "Job"]
        self.check(not open_records, f"ends with open records: {open_records}")
        self.check("requestId" in event and isinstance(event.get("outputs"), dict), "outputs")
        job.event = event
        return self.answer(200)

    # -- the broker and the run service that the queue may send a poll to --

    def broker_message(self):
        owner = self.owner
        if self.bearer() not in owner.runner_tokens:
            return self.challenge()
        session = owner.sessions.get(self.query.get("sessionId"))
        if session is None or session["expired"]:
            return self.answer(400, {"source": "actions-broker-listener", "errorKind": "RunnerSessionInvalid", "statusCode": 400})
        self.check(self.headers.get("Accept") == "application/json" and self.headers.get("X-Actions-Session"), "the broker's headers")

        def give(session, message):
            session["given"].append(message["id"])
            session["last"] = message["id"]
            self.answer(200, {"messageId": message["id"], "messageType": message["type"], "body": json.dumps(message["body"])})
        return self.hold(session, lambda m: m.get("broker"), give)

    def acknowledge(self):
        self.owner.counts["acknowledged"] = self.json()["runnerRequestId"]
        return self.answer(200)

    def acquire(self):
        body = self.json()
        job = self.owner.job_of(id=body["jobMessageId"])
        if job is None:
            return self.answer(404, {"source": "actions-run-service", "statusCode": 404, "errorMessage": "no such job"})
        if self.bearer() not in self.owner.runner_tokens:
            return self.challenge()
        job.taken = True
        return self.answer(200, job.message)

    def renew_v2(self):
        job = self.owner.job_of(token=self.bearer())
        job.renewals += 1
        return self.answer(200, {"lockedUntil": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))})

    def complete_v2(self):
        self.owner.job_of(token=self.bearer()).completion = self.json()
        return self.answer(204)

    # -- the results service, which a job of the older services may name too --

    def results(self):
        if "/blob/" in self.url.path:
            owner, name = self.url.path.split("/blob/")[1].split("/", 1)
            job = self.owner.job_of(id=owner)
            azure = [n for n in self.headers if n.lower().startswith("x-ms-")]
            self.check(bool(azure) == self.owner.storage.endswith("AZURE"), f"headers for a storage of {self.owner.storage}: {azure}")
            self.check(self.headers["Content-Type"] == "text/plain" or (azure and name.startswith("summary")), "the type of a blob")
            job.blobs[name] = job.blobs.get(name, b"") + self.raw
            return self.answer(201)
        job, call, body = self.owner.job_of(token=self.bearer()), self.url.path.rsplit("/", 1)[1], self.json()
        self.check(body["workflow_job_run_backend_id"] == job.id and body["workflow_run_backend_id"] == job.plan, f"{call}: {body}")
        job.results.append((call, body))
        name = body.get("step_backend_id", job.id)
        kind = "summary" if "Summary" in call else "logs"
        return self.answer(200, {f"{kind}_url": f"{self.owner.url}/results/blob/{job.id}/{kind}-{name}?sig=1", "soft_size_limit": "1048576",
                                 "blob_storage_type": self.owner.storage} if call.startswith("Get") else {"ok": True})
