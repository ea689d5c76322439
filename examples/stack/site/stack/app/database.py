"""The shop's database: a few connections that are used in turn. A query waits for a server that is away for a moment, as while its database is put back."""
import os
import queue
import threading
import time

import psycopg2

PATIENCE_S = 20
CONNECTIONS = 8
FREE, PERMITS = queue.SimpleQueue(), threading.BoundedSemaphore(CONNECTIONS)


def connect():
    with open(os.environ["DB_PASSWORD_FILE"], encoding="ascii") as f:
        password = f.read().strip()
    return psycopg2.connect(host=os.environ["DB_HOST"], dbname="shop", user="shop", password=password, connect_timeout=5)


def once(query, values):
    """With a connection that is free, or a new one. One that fails is not used again."""
    try:
        connection = FREE.get_nowait()
    except queue.Empty:
        connection = connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            rows = cursor.fetchall()
    except psycopg2.Error:
        connection.close()
        raise
    FREE.put(connection)
    return rows


def ask(query, values=()):
    """The rows of one query, in a transaction of its own."""
    end = time.monotonic() + PATIENCE_S
    with PERMITS:
        while True:
            try:
                return once(query, values)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
