-- Deliveries that wait for the store to be back, as they came.
CREATE TABLE IF NOT EXISTS spooled (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of arrival, and never given twice
    delivery_id INTEGER NOT NULL,
    came_to     TEXT    NOT NULL,                  -- the URL of which kind
    body        BLOB    NOT NULL,
    received_at INTEGER NOT NULL,                  -- microseconds since 1970 UTC
    client_ip        TEXT,
    reference   TEXT,
    decision    TEXT
) STRICT;

-- Counts and ages without reading bodies.
CREATE INDEX IF NOT EXISTS spooled_received ON spooled (received_at);

-- When it was opened last: written at each start, to see that the disk takes it.
CREATE TABLE IF NOT EXISTS opened (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
) STRICT;
