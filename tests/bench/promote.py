"""An index of two architectures with ten layers each, led to from another repository of the same registry: `davit deploy` with `promote` against
`skopeo copy --all`. Both may mount; each round has a repository that is new."""
import itertools
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from bench import Skip  # noqa: E402
from servers.registry import Registry  # noqa: E402

LAYERS = 10


def rows(b):
    if not Registry.available():
        raise Skip("docker-registry is not installed")
    skopeo = b.tool("skopeo")
    place = b.folder("promote")
    with Registry() as registry:
        index = registry.push_index("shop/web", "staging", layers=LAYERS, size=20_000 if b.quick else 4_000_000)
        file = os.path.join(place, "deploy.json")
        numbers = itertools.count()

        def promoted():
            to = f"live/web{next(numbers)}"
            with open(file, "w", encoding="ascii") as f:
                json.dump({"name": "bench", "environment": "test",
                           "targets": {"here": {"local": {}, "base": os.path.join(place, "base")}, "images": {"registry": {"url": registry.url}}},
                           "steps": [{"promote": {"target": "images", "from": "shop/web:staging", "to": f"{to}:production"}}]}, f)
            subprocess.run([b.program("bin/davit"), "deploy", file], check=True, stdout=subprocess.DEVNULL,
                           env={**os.environ, "DAVIT_STATE": os.path.join(place, "state")})
            assert registry.digest(to, "production") == index

        def copied():
            to = f"live/web{next(numbers)}"
            # Without what earlier rounds taught it of the registry, as on a fresh runner.
            home = b.folder("promote-home")
            subprocess.run([skopeo, "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false",
                            f"docker://{registry.host}/shop/web:staging", f"docker://{registry.host}/{to}:production"], check=True,
                           env={**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_RUNTIME_DIR": home})
            assert registry.digest(to, "production") == index

        b.compare("promote of an index of ten layers within a registry", promoted, {"skopeo copy": (copied, 0.5, 0.4)})
