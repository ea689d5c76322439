"""Tests of one class side by side: most of their time passes while containers start, stop and settle.

A class that takes part starts what its tests share in setUpClass; each test has names, ports and directories of its own. One that stops or
restarts what they share is marked with `alone` and runs when the others are done."""
import sys
import threading
import time
import unittest


def alone(test):
    test.alone = True
    return test


def _each(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from _each(one)
        else:
            yield one


def _is_alone(test):
    return getattr(getattr(test, getattr(test, "_testMethodName", ""), None), "alone", False)


class Lanes:
    """A runner for unittest.main()."""

    def __init__(self, lanes):
        self.lanes, self.result, self.lock = lanes, unittest.TestResult(), threading.Lock()

    def run(self, suite):
        groups = {}
        for test in _each(suite):
            groups.setdefault(type(test), []).append(test)
        for kind, tests in groups.items():
            self._run_class(kind, tests)
        for how, found in (("ERROR", self.result.errors), ("FAIL", self.result.failures)):
            for test, text in found:
                print(f"{'=' * 70}\n{how}: {test}\n{'-' * 70}\n{text}", file=sys.stderr)
        print(f"Ran {self.result.testsRun} tests, {len(self.result.errors) + len(self.result.failures)} failed, "
              f"{len(self.result.skipped)} skipped", file=sys.stderr)
        return self.result

    def _run_class(self, kind, tests):
        if getattr(kind, "__unittest_skip__", False) or issubclass(kind, unittest.loader._FailedTest):
            self._run_all(tests, 1)
            return
        try:
            kind.setUpClass()
        except unittest.SkipTest as reason:
            for test in tests:
                self.result.testsRun += 1
                self.result.addSkip(test, str(reason))
            print(f"{kind.__name__} ... skipped: {reason}", file=sys.stderr)
            return
        try:
            self._run_all([t for t in tests if not _is_alone(t)], self.lanes)
            self._run_all([t for t in tests if _is_alone(t)], 1)
        finally:
            kind.tearDownClass()
            kind.doClassCleanups()

    def _run_all(self, tests, lanes):
        left = list(reversed(tests))

        def work():
            while True:
                with self.lock:
                    if not left:
                        return
                    test = left.pop()
                self._run_one(test)
        threads = [threading.Thread(target=work) for _ in range(min(lanes, len(tests)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run_one(self, test):
        own, begin = unittest.TestResult(), time.monotonic()
        test.run(own)
        bad = own.errors or own.failures or own.unexpectedSuccesses
        how = "FAIL" if bad else f"skipped: {own.skipped[0][1]}" if own.skipped else "ok"
        with self.lock:
            print(f"{test.id().rpartition('.')[2]} ... {how} ({time.monotonic() - begin:.1f} s)", file=sys.stderr, flush=True)
            self.result.testsRun += own.testsRun
            for kind in ("errors", "failures", "skipped", "unexpectedSuccesses"):
                getattr(self.result, kind).extend(getattr(own, kind))
