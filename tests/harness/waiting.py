"""Waits for what must come about."""
import time


def until(condition, what="it", seconds=120):
    """The first true value of condition, which is asked again every few milliseconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return value


def alive(pid):
    """False for one that has ended and that nobody has waited for yet, too."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
