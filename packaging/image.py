#!/usr/bin/env python3
"""Writes an OCI image archive of layers that are tar files; the same layers give the same archive."""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile


def digest_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Archive:
    def __init__(self, path, epoch):
        self.tar, self.epoch = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT), epoch

    def add(self, name, data=None, path=None):
        info = tarfile.TarInfo(name)
        info.mtime, info.mode = self.epoch, 0o644
        if path:
            info.size = os.path.getsize(path)
            with open(path, "rb") as f:
                self.tar.addfile(info, f)
        else:
            info.size = len(data)
            self.tar.addfile(info, io.BytesIO(data))

    def blob(self, kind, data=None, path=None):
        """The descriptor of what is added."""
        digest, size = (digest_of(path), os.path.getsize(path)) if path else (hashlib.sha256(data).hexdigest(), len(data))
        self.add("blobs/sha256/" + digest, data, path)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest, "size": size}

    def json(self, kind, value):
        return self.blob(kind, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--architecture", required=True)
    options.add_argument("--layer", action="append", required=True)
    options.add_argument("--output", required=True)
    options.add_argument("--name", default="davit:latest")
    given = options.parse_args()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    archive = Archive(given.output + ".part", epoch)
    layers, contents = [], []
    with tempfile.TemporaryDirectory(dir=os.path.dirname(given.output)) as folder:
        for number, layer in enumerate(given.layer):
            packed = os.path.join(folder, str(number))
            with open(layer, "rb") as source, open(packed, "wb") as target, gzip.GzipFile("", "wb", 6, target, mtime=0) as f:
                shutil.copyfileobj(source, f, 1 << 20)
            contents.append("sha256:" + digest_of(layer))
            layers.append(archive.blob("layer.v1.tar+gzip", path=packed))
    config = archive.json("config.v1+json", {
        "created": created, "architecture": given.architecture, "os": "linux",
        "config": {"User": "1001:1001", "WorkingDir": "/home/runner", "Entrypoint": ["/usr/bin/davit", "agent", "run"],
                   "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/runner"],
                   "Labels": {"org.opencontainers.image.source": "https://github.com/davit-deploy/davit", "org.opencontainers.image.licenses": "MIT"}},
        "rootfs": {"type": "layers", "diff_ids": contents},
        "history": [{"created": created, "created_by": "packaging/image.sh"} for _ in layers]})
    manifest = archive.json("manifest.v1+json", {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers})
    manifest["platform"] = {"architecture": given.architecture, "os": "linux"}
    manifest["annotations"] = {"org.opencontainers.image.ref.name": given.name.split(":")[-1], "io.containerd.image.name": "docker.io/library/" + given.name}
    archive.add("index.json", json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}, sort_keys=True).encode())
    archive.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    # What `docker load` of engines before 25 reads in place of the index.
    archive.add("manifest.json", json.dumps([{"Config": "blobs/sha256/" + config["digest"][7:], "RepoTags": [given.name],
                                              "Layers": ["blobs/sha256/" + layer["digest"][7:] for layer in layers]}]).encode())
    archive.tar.close()
    os.replace(given.output + ".part", given.output)


main()
