"""Which libssh2 this build has, as ctest tells it: "bundled 1.11.1" or "system 1.10.0"."""
import os

KIND, VERSION = os.environ.get("DAVIT_LIBSSH2", "bundled 1.11.1").split()
# Before 1.11 it knows RSA with SHA-1 only, which servers refuse, and neither GCM nor encrypt-then-MAC.
IS_OLD = tuple(int(part) for part in VERSION.split(".")[:2]) < (1, 11)
WHY_SKIPPED = f"libssh2 {VERSION} is older than 1.11"
