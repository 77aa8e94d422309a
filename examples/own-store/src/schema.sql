-- A table that a team may already have for events of partners. M-Pesa is one more partner.
CREATE TABLE IF NOT EXISTS partner_event (
    event_no      INTEGER PRIMARY KEY AUTOINCREMENT,
    topic         TEXT    NOT NULL,                -- the kind of callback
    external_id   TEXT    NOT NULL,                -- its key; an HMAC after the payload was deleted
    payload       BLOB,
    fingerprint   BLOB    NOT NULL,                -- of the bytes
    content_digest BLOB   NOT NULL,                -- of the content; these and `detail` become HMACs, too
    detail        BLOB,
    outcome       TEXT,
    beside_no     INTEGER,                         -- the event that it varies, updates or contradicts
    judged        TEXT    NOT NULL,
    stage         TEXT    NOT NULL,
    arrived_us    INTEGER NOT NULL,                -- microseconds since 1970 UTC
    repeated_us   INTEGER NOT NULL,
    times_seen    INTEGER NOT NULL DEFAULT 1,
    sender        TEXT,
    order_ref     TEXT,
    receipt       TEXT,
    answer        TEXT,
    trouble       TEXT,
    tries         INTEGER NOT NULL DEFAULT 0,
    broken_off    INTEGER NOT NULL DEFAULT 0,
    broken_alone  INTEGER NOT NULL DEFAULT 0,
    lane          INTEGER NOT NULL DEFAULT 0,
    handled_again INTEGER NOT NULL DEFAULT 0,
    lease_no      INTEGER NOT NULL DEFAULT 0,
    told_no       INTEGER NOT NULL DEFAULT 0,      -- the first lease under which it ran on its own
    had_order     INTEGER NOT NULL DEFAULT 0,      -- its order was known when its payload was deleted
    lease_until   INTEGER,
    due_us        INTEGER,
    wait_us       INTEGER NOT NULL DEFAULT 0,      -- its last delay, or the length of its last lease
    finished_us   INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS partner_event_identity ON partner_event (topic, external_id, fingerprint);
CREATE INDEX IF NOT EXISTS partner_event_due ON partner_event (stage, lane, topic, due_us);
CREATE INDEX IF NOT EXISTS partner_event_order ON partner_event (order_ref) WHERE order_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS partner_event_receipt ON partner_event (receipt) WHERE receipt IS NOT NULL;
-- The owner of the events.
CREATE TABLE IF NOT EXISTS partner_owner (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL
);
