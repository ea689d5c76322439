"""A clock that is off: libfaketime in front of a program. Its monotonic clock is left alone, as it is where somebody sets the time."""
import functools
import glob
import os
import subprocess

LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


def library():
    found = [path for pattern in LIBRARIES for path in glob.glob(pattern)]
    return found[0] if found else None


def environment(seconds):
    """The variables of a program whose clock is so many seconds ahead; none when it is right."""
    return {"LD_PRELOAD": library(), "FAKETIME": f"{seconds:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
            "DONT_FAKE_MONOTONIC": "1"} if seconds else {}


@functools.lru_cache(maxsize=None)
def why_not():
    """What this machine lacks, or None."""
    if library() is None:
        return "libfaketime is missing"
    said = subprocess.run(["date", "+%s"], env={**os.environ, **environment(3600)}, capture_output=True, text=True, check=False)
    right = subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True)
    return None if said.returncode == 0 and int(said.stdout) - int(right.stdout) >= 3500 else "libfaketime does not work here"
