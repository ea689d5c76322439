"""How many requests a server has at a time; each reader's takes at least `pause_s`, as on a way of that length."""
import contextlib
import threading
import time


class InFlight:
    def __init__(self):
        self.count = self.most = 0
        self.pause_s = 0
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def one(self, reads):
        with self.lock:
            self.count += 1
            self.most = max(self.most, self.count)
        try:
            if reads and self.pause_s:
                time.sleep(self.pause_s)
            yield
        finally:
            with self.lock:
                self.count -= 1
