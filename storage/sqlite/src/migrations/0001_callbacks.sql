-- One row per distinct body of a key. Bodies are in a table of their own, so that deleting them is cheap.
CREATE TABLE IF NOT EXISTS callback (
    id            INTEGER PRIMARY KEY,        -- grows in the order of arrival
    kind          TEXT    NOT NULL,
    key           TEXT    NOT NULL,           -- as it was sent; 'hmac:<its time>…' after the purge
    verdict       INTEGER NOT NULL,           -- 0 first, 2 variant, 3 conflict, 4 quarantined, 5 update
    state         INTEGER NOT NULL,           -- 0 ready, 1 running, 2 done, 3 dead, 4 held, 5 quarantined
    body_digest   BLOB    NOT NULL,           -- this and the next two: HMACs of themselves after the purge
    content_digest BLOB   NOT NULL,
    detail        BLOB,
    outcome       INTEGER,                    -- 1 success, 2 failed, 3 unknown
    earlier       INTEGER,                    -- id of the callback that it varies, updates or contradicts
    received_at   INTEGER NOT NULL,           -- microseconds since 1970 UTC, like all times here
    last_seen_at  INTEGER NOT NULL,
    seen          INTEGER NOT NULL DEFAULT 1,
    attempts      INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    interruptions_alone INTEGER NOT NULL DEFAULT 0,
    lane          INTEGER NOT NULL DEFAULT 0, -- 0 main, 1 suspects, 2 alone
    repetition    INTEGER NOT NULL DEFAULT 0,
    fence         INTEGER NOT NULL DEFAULT 0,
    told          INTEGER NOT NULL DEFAULT 0, -- fence of its first claim on its own; 0 none; -1 its reference was purged
    run_at        INTEGER,
    lease_until   INTEGER,
    wait          INTEGER NOT NULL DEFAULT 0, -- its last delay, or the length of its last lease
    settled_at    INTEGER,
    receipt       TEXT,                       -- 'hmac:…' after the purge
    client_ip     TEXT,
    reference     TEXT,
    decision      TEXT,
    error         TEXT
) STRICT;

-- Finds the rows of a key, and keeps bodies unique. Keys are ordered by time, so it grows at its end.
CREATE UNIQUE INDEX IF NOT EXISTS callback_key ON callback (kind, key, body_digest);
CREATE INDEX IF NOT EXISTS callback_reference ON callback (reference) WHERE reference IS NOT NULL;
CREATE INDEX IF NOT EXISTS callback_ready ON callback (lane, kind, run_at, id) WHERE state = 0;
CREATE INDEX IF NOT EXISTS callback_running ON callback (lease_until) WHERE state = 1;
CREATE INDEX IF NOT EXISTS callback_open ON callback (state, id) WHERE state >= 3;
CREATE INDEX IF NOT EXISTS callback_receipt ON callback (receipt) WHERE receipt IS NOT NULL;

-- Contains names and phone numbers, as keys do.
CREATE TABLE IF NOT EXISTS body (
    callback_id INTEGER PRIMARY KEY REFERENCES callback (id),
    body        BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
