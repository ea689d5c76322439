#!/usr/bin/env python3
"""The services of artifacts and caches as a job calls them, request by request: what they refuse matters as much as what they do."""
import hashlib
import os
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from servers.forge import Forge
from servers.job_services import ARTIFACTS, CACHES, VERSION, Caller
from servers.runner import Runner, refused

WORKFLOW = "on: {push: {branches: ['**']}, pull_request: , workflow_dispatch: }\njobs:\n  build: {runs-on: self-hosted, steps: [{run: x}]}\n"
TWO = WORKFLOW + "  test: {runs-on: self-hosted, steps: [{run: x}]}\n"


class Services(unittest.TestCase):
    repositories = ["octo/demo", "octo/other"]
    options = ()

    def setUp(self):
        self.forge = Forge(self.repositories, options=self.options)
        self.forge.__enter__()
        self.addCleanup(self.forge.__exit__)
        self.count = 0

    def jobs(self, repository="octo/demo", workflow=WORKFLOW, ref="main", count=1, push=True):
        """Jobs of one push, each taken by a runner of its own."""
        if push:
            self.forge.repo(repository).push({".github/workflows/ci.yml": workflow}, ref=ref)
        taken = []
        for _ in range(count):
            self.count += 1
            taken.append(Caller(self.forge, Runner(self.forge, repository, name=f"box-{self.count}").ready().take_job()))
        return taken

    def job(self, *args, **more):
        return self.jobs(*args, **more)[0]

    def is_refused(self, status, code, call, *args, **more):
        error = refused(call, *args, **more)
        self.assertEqual((error.status, error.json().get("code")), (status, code), error)

    def is_blob_refused(self, status, code, call, *args, **more):
        error = refused(call, *args, **more)
        self.assertEqual((error.status, error.headers["x-ms-error-code"]), (status, code), error)


class Artifacts(Services):
    def test_another_job_of_the_run_downloads_what_one_uploaded_in_blocks_that_came_in_any_order(self):
        one, two = self.jobs(workflow=TWO, count=2)
        url = one.artifacts("CreateArtifact", name="dist", version=7, mime_type="application/zip")["signed_upload_url"]
        self.assertEqual(one.put_block(url, "YmI=", b"world"), 201)
        self.assertEqual(one.put_block(url, "YWE=", b"hello "), 201)
        self.assertEqual(one.put_block(url, "eHg=", b"not listed"), 201)
        self.assertEqual(one.put_list(url, "YWE=", "YmI=", **{"x-ms-blob-content-type": "zip"}), 201)
        self.assertEqual(two.names(), [])
        self.is_refused(404, "not_found", two.artifacts, "GetSignedArtifactURL", name="dist")
        digest = hashlib.sha256(b"hello world").hexdigest()
        identifier = one.artifacts("FinalizeArtifact", name="dist", size="11", hash="sha256:" + digest)["artifact_id"]
        shown = two.artifacts("ListArtifacts", name_filter="dist")["artifacts"][0]
        self.assertEqual((shown["database_id"], shown["size"], shown["digest"]), (identifier, "11", "sha256:" + digest))
        self.assertEqual(two.download("dist"), b"hello world")
        self.assertEqual(two.download("dist", Range="bytes=6-"), b"world")
        self.assertEqual(two.names(id_filter=identifier) + two.names(name_filter="none"), ["dist"])

    def test_an_artifact_is_made_once_and_nothing_changes_it(self):
        one, two = self.jobs(workflow=TWO, count=2)
        url = one.artifacts("CreateArtifact", name="a", version=7)["signed_upload_url"]
        self.is_refused(409, "already_exists", two.artifacts, "CreateArtifact", name="a", version=7)
        again = one.artifacts("CreateArtifact", name="a", version=7)["signed_upload_url"]
        self.is_blob_refused(404, "BlobNotFound", one.put_whole, url, b"lost")
        one.put_whole(again, b"first")
        for wrong in ({"size": "4"}, {"size": "5", "hash": "sha256:" + "0" * 64}, {"size": "-5"}, {"size": "many"}, {"size": "5", "hash": "md5:x"}):
            self.is_refused(400, "invalid_argument", one.artifacts, "FinalizeArtifact", name="a", **wrong)
        self.is_refused(404, "not_found", two.artifacts, "FinalizeArtifact", name="a", size="5")
        first = one.artifacts("FinalizeArtifact", name="a", size="5")
        self.assertEqual(one.artifacts("FinalizeArtifact", name="a", size="5"), first)
        self.is_blob_refused(409, "BlobImmutableDueToPolicy", one.put_whole, again, b"later")
        self.is_refused(409, "already_exists", one.artifacts, "CreateArtifact", name="a", version=7)
        self.assertEqual(two.download("a"), b"first")
        two.artifacts("DeleteArtifact", name="a")
        self.assertEqual(one.names(), [])
        self.is_refused(404, "not_found", one.artifacts, "DeleteArtifact", name="a")
        one.upload("a", b"second")
        self.assertEqual(two.download("a"), b"second")

    def test_hostile_names_sizes_and_addresses_are_refused(self):
        job = self.job()
        for name in ("", ".", "..", "../up", "a/b", "a\\b", "a:b", "a\nb", "a\u0000b", "a\u007fb", "<a>", "x" * 257):
            self.is_refused(400, "invalid_argument", job.artifacts, "CreateArtifact", name=name, version=7)
        for more in ({"version": 3}, {"expires_at": "yesterday"}, {"expires_at": "2001-01-01T00:00:00Z"}):
            self.is_refused(400, "invalid_argument", job.artifacts, "CreateArtifact", **{"name": "a", "version": 7, **more})
        url = job.artifacts("CreateArtifact", name="a", version=7)["signed_upload_url"]
        place, _, query = url.partition("?")
        signed = dict(urllib.parse.parse_qsl(query))
        for changes in ({"sp": "r"}, {"se": str(int(signed["se"]) + 1)}, {"sig": "0" * 64}, {"sig": ""}):
            self.is_blob_refused(403, "AuthenticationFailed", job.put_whole, place + "?" + urllib.parse.urlencode({**signed, **changes}), b"x")
        self.is_blob_refused(403, "AuthenticationFailed", job.put_whole, place[:-1] + ("0" if place[-1] != "0" else "1") + "?" + query, b"x")
        self.is_blob_refused(400, "InvalidHeaderValue", job.put, url, b"x", **{"x-ms-blob-type": "PageBlob"})
        self.is_blob_refused(400, "InvalidBlockList", job.put_list, url, "bm9uZQ==")
        self.is_blob_refused(400, "InvalidQueryParameterValue", job.put_block, url, "x" * 97, b"x")
        self.is_blob_refused(400, "InvalidQueryParameterValue", job.put, url + "&comp=page", b"x")
        for text in (b"", b"<BlockList>", b"<BlockList><Latest>x</BlockList>", b"<BlockList><Other>x</Other></BlockList>", b"<BlockList><Latest></Latest></BlockList>"):
            self.is_blob_refused(400, "InvalidXmlDocument", job.put, url + "&comp=blocklist", text)
        self.is_refused(400, "invalid_argument", job.artifacts, "FinalizeArtifact", name="a", size="1")

    def test_a_token_reaches_only_its_own_run_and_only_while_its_job_runs(self):
        one = self.job()
        one.upload("a")
        other, later = self.job("octo/other"), self.job()
        self.assertEqual((other.names(), later.names()), ([], []))
        for stranger in (other, later):
            stranger.own = one.own
            for method, more in (("ListArtifacts", {}), ("GetSignedArtifactURL", {"name": "a"}), ("DeleteArtifact", {"name": "a"}),
                                 ("CreateArtifact", {"name": "b", "version": 7})):
                self.is_refused(403, "permission_denied", stranger.artifacts, method, **more)
        self.assertEqual(refused(self.forge.json, "POST", ARTIFACTS + "ListArtifacts", one.own).status, 401)
        github = other.job.message["variables"]["system.github.token"]["value"]
        self.assertEqual(refused(self.forge.json, "POST", ARTIFACTS + "ListArtifacts", one.own, {"Authorization": f"Bearer {github}"}).status, 401)
        one.job.complete()
        self.is_refused(412, "failed_precondition", one.artifacts, "ListArtifacts")

    def test_an_artifact_lasts_as_long_as_it_was_asked_to(self):
        job = self.job()
        job.upload("a", expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)))
        self.assertEqual(job.names(), ["a"])
        self.forge.expire(artifacts=True)
        self.assertEqual(job.names(), [])
        self.is_refused(404, "not_found", job.artifacts, "GetSignedArtifactURL", name="a")

    def test_ranges_that_are_none_are_refused_and_a_look_gives_the_length(self):
        job = self.job()
        job.upload("a", b"0123456789")
        url = job.artifacts("GetSignedArtifactURL", name="a")["signed_url"]
        self.assertEqual(job.download("a", Range="bytes=2-4"), b"234")
        self.assertEqual(job.download("a", Range="bytes=-3"), b"789")
        self.assertEqual(job.download("a", Range="bytes=8-99"), b"89")
        for text in ("bytes=10-", "bytes=4-2", "bytes=-0", "lines=1-2", "bytes=a-b", "bytes="):
            self.is_blob_refused(416, "InvalidRange", self.forge.request, "GET", url, headers={"Range": text})
        status, headers, body = self.forge.request("HEAD", url)
        self.assertEqual((status, headers["Content-Length"], body), (200, "10", b""))
        self.is_blob_refused(403, "AuthenticationFailed", job.put_whole, url, b"x")


class Small(Services):
    options = ("--cache-size", "1", "--storage-size", "3")

    def test_storage_that_is_full_refuses_blocks_and_deleting_makes_room(self):
        job = self.job()
        job.upload("a", bytes(2 << 20))
        url = job.artifacts("CreateArtifact", name="b", version=7)["signed_upload_url"]
        self.is_blob_refused(507, "InsufficientStorage", job.put_block, url, "YQ==", bytes((1 << 20) + 1))
        job.artifacts("DeleteArtifact", name="a")
        self.assertEqual(job.put_block(url, "YQ==", bytes((1 << 20) + 1)), 201)

    def test_what_an_ended_job_has_not_finished_takes_no_room(self):
        one, two = self.jobs(workflow=TWO, count=2)
        for url in (one.artifacts("CreateArtifact", name="a", version=7)["signed_upload_url"], one.caches("CreateCacheEntry", "k")["signed_upload_url"]):
            one.put_block(url, "YQ==", bytes(1 << 20))
        one.job.complete()
        self.forge.expire()  # time passes
        self.is_blob_refused(404, "BlobNotFound", one.put_block, url, "Yg==", b"late")
        two.upload("a", bytes(3 << 20))

    def test_of_too_many_caches_the_least_recently_used_goes(self):
        job = self.job()
        for key in ("one", "two"):
            job.save(key, bytes(400 << 10))
        saved = time.time_ns() // 1000000
        self.forge.wait("a later millisecond", lambda: time.time_ns() // 1000000 > saved)
        self.assertEqual(job.matched("one"), "one")
        job.save("three", bytes(400 << 10))
        self.assertEqual([job.matched(key) for key in ("one", "two", "three")], ["one", "", "three"])
        job.put_whole(job.caches("CreateCacheEntry", "large")["signed_upload_url"], bytes((1 << 20) + 1))
        self.is_refused(400, "invalid_argument", job.caches, "FinalizeCacheEntryUpload", "large", size_bytes=str((1 << 20) + 1))


class Caches(Services):
    def test_a_key_is_found_whole_before_its_beginnings_and_the_newest_of_these(self):
        job = self.job()
        for key in ("linux-1", "linux-2", "linux", "other-1"):
            job.save(key, key.encode())
        self.assertEqual(job.matched("linux"), "linux")
        self.assertEqual(job.matched("linux-"), "linux-2")
        self.assertEqual(job.matched("none", "oth", "linux-1"), "other-1")
        self.assertEqual(job.find("none")["ok"], False)
        self.assertEqual(job.matched("linux", version="cd" * 32), "")
        self.assertEqual(self.forge.request("GET", job.find("other-1")["signed_download_url"])[2], b"other-1")

    def test_a_cache_is_made_once_and_what_is_not_finished_is_not_found(self):
        one, two = self.jobs(workflow=TWO, count=2)
        url = one.caches("CreateCacheEntry", "k")["signed_upload_url"]
        self.is_refused(409, "already_exists", two.caches, "CreateCacheEntry", "k")
        self.is_refused(404, "not_found", two.caches, "FinalizeCacheEntryUpload", "k", size_bytes="1")
        one.put_whole(url, b"x")
        self.assertEqual(two.matched("k"), "")
        self.is_refused(400, "invalid_argument", one.caches, "FinalizeCacheEntryUpload", "k", size_bytes="2")
        one.caches("FinalizeCacheEntryUpload", "k", size_bytes="1")
        self.is_blob_refused(409, "BlobImmutableDueToPolicy", one.put_whole, url, b"y")
        self.is_refused(409, "already_exists", one.caches, "CreateCacheEntry", "k")
        begun = one.caches("CreateCacheEntry", "left")
        one.job.complete()
        self.assertNotEqual(two.caches("CreateCacheEntry", "left"), begun)

    def test_branches_read_their_own_caches_and_those_of_the_default_branch_only(self):
        main = self.job()
        main.save("main-1")
        side = self.job(ref="side")
        side.save("side-1")
        self.assertEqual([side.matched(k) for k in ("main-1", "side-1")], ["main-1", "side-1"])
        side.save("main-1", b"of side")
        self.assertEqual(self.forge.request("GET", side.find("main-1")["signed_download_url"])[2], b"of side")
        third = self.job(ref="third")
        self.assertEqual([c.matched("side-1") for c in (main, third)], ["", ""])
        self.assertEqual(self.forge.request("GET", main.find("main-1")["signed_download_url"])[2], b"cached")
        self.forge.pull("octo/demo", "third", base="side")
        pull = self.job(push=False)
        self.assertEqual([pull.matched(k) for k in ("side-1", "main-1")], ["side-1", "main-1"])
        pull.save("pull-1")
        self.assertEqual([c.matched("pull-1") for c in (main, side, third, pull)], ["", "", "", "pull-1"])
        other = self.job("octo/other")
        self.assertEqual(other.matched("main-1"), "")

    def test_hostile_keys_are_refused(self):
        job = self.job()
        for key in ("", "a,b", "x" * 513, "a\u0000b"):
            self.is_refused(400, "invalid_argument", job.caches, "CreateCacheEntry", key)
            self.is_refused(400, "invalid_argument", job.find, "k", key)
        for version in ("", "zz", "a" * 129):
            self.is_refused(400, "invalid_argument", job.caches, "CreateCacheEntry", "k", version)
        self.is_refused(400, "invalid_argument", job.find, "k", *[str(n) for n in range(10)])
        self.is_refused(400, "invalid_argument", job.call, CACHES + "GetCacheEntryDownloadURL", {"key": "k", "version": VERSION, "restore_keys": [7]})
        job.save("../../etc/passwd %2e \U0001f600")
        self.assertEqual(job.matched("../../etc/passwd"), "../../etc/passwd %2e \U0001f600")


if __name__ == "__main__":
    unittest.main(verbosity=2)
