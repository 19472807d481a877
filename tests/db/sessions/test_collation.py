"""Pages and repairs go through all sessions whatever order the database puts texts in."""

from __future__ import annotations

from database import Database
from storequery import Client, Queries, Value

# An order that is not that of bytes, and in which signs count last.
ICU = 'COLLATE "en-US-x-icu"'
NAMES = ["a", "B", "A", "b", "a-1", "a1", "_x", "-y", "ä", "Z", "z", "10", "9", " lead", "日本"]


def test_every_session_is_met_once(database: Database, queries: Queries) -> None:
    database.psql(queries.ddl())
    for table in ("session_states", "session_events"):
        columns = ("app_name", "user_id", "session_id")
        changes = ", ".join(f"ALTER {one} TYPE varchar(255) {ICU}" for one in columns)
        database.psql(f"ALTER TABLE {table} {changes}")
    client = Client(queries, database.url)
    for name in NAMES:
        key: dict[str, Value] = {"app_name": "app", "user_id": "user", "session_id": name}
        client.run("create", {**key, "state": "{}", "ttl": None})
        append: dict[str, Value] = {"event": "{}", "delta": "{}", "ttl": None, "ttl_slack": "0"}
        client.run("append_event", {**key, **append})
    client.sql("UPDATE session_states SET updated_at = '2026-01-01'")  # so that names decide
    order = client.sql(f"SELECT session_id FROM session_states ORDER BY session_id {ICU}")
    assert sorted(NAMES) != [row[0] for row in order]

    user: dict[str, Value] = {"app_name": "app", "user_id": "user", "limit": 2, "offset": 0}
    seen: list[str | None] = []
    more: dict[str, Value] = {}
    while rows := client.run("list_meta", {**user, **more}):
        seen += [row[1] for row in rows]
        more = {"before": rows[-1][5], "before_id": rows[-1][1]}
    assert seen == [row[0] for row in reversed(order)]

    client.sql("DELETE FROM session_states")
    at: dict[str, Value] = {"app_name": "", "user_id": "", "session_id": ""}
    mended = 0
    while rows := client.run("repair_events", {**at, "sessions": 2}):
        mended += int(rows[0][3] or 0)
        at = dict(zip(at, rows[0][:3], strict=True))
    client.close()
    assert mended == len(NAMES)
