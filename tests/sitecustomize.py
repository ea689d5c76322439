"""Python reads this before a test's script: shortly before ctest ends a test for its time, the test says where it hangs."""
import faulthandler
import os
import sys

seconds = int(os.environ.get("DAVIT_TEST_TIMEOUT", "0"))
if seconds > 10 and sys.argv[0].startswith(os.path.dirname(os.path.abspath(__file__))):
    faulthandler.dump_traceback_later(seconds - 5)
