CREATE SCHEMA IF NOT EXISTS mpesa_callbacks;

-- The server's clock, which all processes share, in microseconds since 1970 UTC.
CREATE FUNCTION mpesa_callbacks.now_us() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- One row for each distinct body of a key: what came, which never changes but for how often it came, and when it is purged. Bodies
-- live apart, so that deleting them is cheap; what is done about it lives apart, because that changes.
CREATE TABLE mpesa_callbacks.callback (
    id           bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text     NOT NULL,
    key          text     NOT NULL,           -- as it was sent; 'hmac:<its time>…' once the body was purged
    verdict      smallint NOT NULL,           -- 0 first, 2 variant, 3 conflict, 4 quarantined, 5 update
    outcome      smallint,                    -- 1 success, 2 failed, 3 unknown
    body_digest       bytea    NOT NULL,           -- this and the next two: HMACs of themselves once the body was purged
    content_digest      bytea    NOT NULL,
    detail       bytea,
    earlier      bigint,                      -- the callback that it varies, updates or contradicts
    received_at  bigint   NOT NULL,           -- microseconds since 1970 UTC, like all times here
    last_seen_at bigint   NOT NULL,
    delivery     bigint   NOT NULL,           -- id of the first delivery: recorded again, it gets the same verdict
    last_delivery bigint  NOT NULL,           -- id of the last delivery that `seen` counts
    seen         integer  NOT NULL DEFAULT 1,
    receipt      text,                        -- 'hmac:…' once the body was purged
    client_ip         text,
    reference    text,
    decision     text
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- What is known under a key, and that no body is stored twice. Keys come before kinds: while the planner knows nothing of a new
-- table, it would look up the kind alone, and read all that there is of it.
CREATE UNIQUE INDEX callback_key ON mpesa_callbacks.callback (key, kind, body_digest);
-- Of racing recorders one is first, whichever server they are on; and a receipt belongs to one callback of a kind.
CREATE UNIQUE INDEX callback_first ON mpesa_callbacks.callback (key, kind) WHERE verdict = 0;
CREATE UNIQUE INDEX callback_receipt ON mpesa_callbacks.callback (receipt, kind) WHERE verdict IN (0, 5) AND receipt IS NOT NULL;
CREATE INDEX callback_reference ON mpesa_callbacks.callback (reference) WHERE reference IS NOT NULL;

-- What is done about a callback: one row for each. Claiming and settling write it anew, in all indexes that it has: it is narrow, and
-- has few. No foreign key, here and below: checking it would lock, and write, each callback once more.
CREATE TABLE mpesa_callbacks.work (
    callback_id   bigint   PRIMARY KEY,
    fence         bigint   NOT NULL DEFAULT 0,
    told          bigint   NOT NULL DEFAULT 0, -- fence of its first claim on its own; 0 none; -1 its reference was purged
    run_at        bigint,
    lease_until   bigint,
    settled_at    bigint,
    wait          bigint   NOT NULL DEFAULT 0, -- how long it was put off, or leased, when it was last
    attempts      integer  NOT NULL DEFAULT 0,
    interruptions integer  NOT NULL DEFAULT 0,
    interruptions_alone integer NOT NULL DEFAULT 0,
    repetition    integer  NOT NULL DEFAULT 0,
    state         smallint NOT NULL,          -- 0 ready, 1 running, 2 done, 3 dead, 4 held, 5 quarantined
    lane          smallint NOT NULL DEFAULT 0, -- 0 main, 1 suspects, 2 alone: where it is claimed, or runs
    kind          text     NOT NULL,
    error         text
) WITH (
    -- Two dead rows a callback: cleaned up at a fiftieth, not a fifth, of a table that only grows.
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- Whoever claims asks for the kinds that it handles, one part of this index after the other.
CREATE INDEX work_ready ON mpesa_callbacks.work (kind, lane, run_at, callback_id) WHERE state = 0;
CREATE INDEX work_running ON mpesa_callbacks.work (lease_until) WHERE state = 1;
CREATE INDEX work_open ON mpesa_callbacks.work (state, callback_id) WHERE state >= 3;

-- Names and phone numbers live here, and in keys.
CREATE TABLE mpesa_callbacks.body (
    callback_id bigint PRIMARY KEY,
    body        bytea  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE mpesa_callbacks.meta (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);
