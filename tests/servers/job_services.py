"""The services of artifacts and caches, called as a job calls them: with the token of a job that servers.runner took.

    caller = Caller(forge, Runner(forge, "octo/demo").ready().take_job())
    caller.upload("dist", b"content"); caller.names(); caller.save("key", b"cached"); caller.matched("key")
"""
import hashlib
import urllib.parse

ARTIFACTS, CACHES = (f"/twirp/github.actions.results.api.v1.{name}Service/" for name in ("Artifact", "Cache"))
VERSION = "ab" * 32


class Caller:
    """A job that calls the services with its token."""

    def __init__(self, forge, job):
        self.forge, self.job = forge, job
        self.own = {"workflow_run_backend_id": job.message["plan"]["planId"], "workflow_job_run_backend_id": job.message["jobId"]}

    def call(self, path, body):
        return self.forge.json("POST", path, body, {"Authorization": f"Bearer {self.job.token}"})

    def artifacts(self, method, **body):
        return self.call(ARTIFACTS + method, {**self.own, **body})

    def caches(self, method, key, version=VERSION, **body):
        return self.call(CACHES + method, {"key": key, "version": version, **body})

    def put(self, url, data, **headers):
        return self.forge.request("PUT", url, data, {"Content-Type": "application/octet-stream", **headers}, raw=True)[0]

    def put_whole(self, url, data):
        return self.put(url, data, **{"x-ms-blob-type": "BlockBlob"})

    def put_block(self, url, name, data):
        return self.put(f"{url}&comp=block&blockid={urllib.parse.quote(name)}", data)

    def put_list(self, url, *names, **headers):
        items = "".join(f"<Latest>{name}</Latest>" for name in names)
        return self.put(url + "&comp=blocklist", f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'.encode(), **headers)

    def upload(self, name, data=b"content", **more):
        url = self.artifacts("CreateArtifact", name=name, version=7, **more)["signed_upload_url"]
        self.put_whole(url, data)
        return self.artifacts("FinalizeArtifact", name=name, size=str(len(data)), hash="sha256:" + hashlib.sha256(data).hexdigest())

    def names(self, **more):
        return [a["name"] for a in self.artifacts("ListArtifacts", **more)["artifacts"]]

    def download(self, name, **headers):
        url = self.artifacts("GetSignedArtifactURL", name=name)["signed_url"]
        return self.forge.request("GET", url, headers=headers)[2]

    def save(self, key, data=b"cached", version=VERSION):
        self.put_whole(self.caches("CreateCacheEntry", key, version)["signed_upload_url"], data)
        return self.caches("FinalizeCacheEntryUpload", key, version, size_bytes=str(len(data)))

    def find(self, key, *restore, version=VERSION):
        return self.caches("GetCacheEntryDownloadURL", key, version, restore_keys=list(restore))

    def matched(self, key, *restore, version=VERSION):
        return self.find(key, *restore, version=version)["matched_key"]
