"""The shop's worker: packs the orders, one after the other."""
import signal
import threading

import database

NEXT = "UPDATE orders SET packed = true WHERE id = (SELECT id FROM orders WHERE NOT packed ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING item"


def main():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.is_set():
        packed = database.ask(NEXT)
        if packed:
            print("packed:", packed[0][0], flush=True)
        else:
            stop.wait(0.5)


main()
