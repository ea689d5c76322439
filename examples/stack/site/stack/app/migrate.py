"""Applies what of migrations/*.sql the database does not have yet, in their order, each in one transaction with the note that it ran."""
import glob
import os

import database


def main():
    connection = database.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations", "*.sql"))):
        name = os.path.basename(path)
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO migration (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
            if cursor.rowcount == 1:
                with open(path, encoding="utf-8") as f:
                    cursor.execute(f.read())
                print("migrated:", name, flush=True)


main()
