CREATE SCHEMA IF NOT EXISTS mpesa_callbacks;

-- The server's clock, which all processes share, in microseconds since 1970 UTC.
CREATE FUNCTION mpesa_callbacks.now_us() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- One row per distinct body of a key. It changes only when the callback is repeated or purged. Bodies are in a table of their own, so
-- that deleting them is cheap, and so is the state of handling, which changes often.
CREATE TABLE mpesa_callbacks.callback (
    id           bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text     NOT NULL,
    key          text     NOT NULL,           -- as it was sent; 'hmac:<its time>…' after the purge
    verdict      smallint NOT NULL,           -- 0 first, 2 variant, 3 conflict, 4 quarantined, 5 update
    outcome      smallint,                    -- 1 success, 2 failed, 3 unknown
    body_digest  bytea    NOT NULL,           -- this and the next two: HMACs of themselves after the purge
    content_digest bytea  NOT NULL,
    detail       bytea,
    earlier      bigint,                      -- id of the callback that it varies, updates or contradicts
    received_at  bigint   NOT NULL,           -- microseconds since 1970 UTC, like all times here
    last_seen_at bigint   NOT NULL,
    delivery     bigint   NOT NULL,           -- id of the first delivery: recorded again, it gets the same verdict
    last_delivery bigint  NOT NULL,           -- id of the last delivery that `seen` counts
    seen         integer  NOT NULL DEFAULT 1,
    receipt      text,                        -- 'hmac:…' after the purge
    client_ip    text,
    reference    text,
    decision     text
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Finds the rows of a key, and keeps bodies unique. The key is the first column: without statistics of a new table the planner would
-- look up the kind alone and read all rows of it.
CREATE UNIQUE INDEX callback_key ON mpesa_callbacks.callback (key, kind, body_digest);
-- One of the racing recorders is first; and a receipt belongs to one callback of a kind.
CREATE UNIQUE INDEX callback_first ON mpesa_callbacks.callback (key, kind) WHERE verdict = 0;
CREATE UNIQUE INDEX callback_receipt ON mpesa_callbacks.callback (receipt, kind) WHERE verdict IN (0, 5) AND receipt IS NOT NULL;
CREATE INDEX callback_reference ON mpesa_callbacks.callback (reference) WHERE reference IS NOT NULL;

-- The state of handling, one row per callback. Claiming and settling rewrite it in all its indexes, so it is narrow and has few. No
-- foreign key, here and below: checking it would lock and write each callback once more.
CREATE TABLE mpesa_callbacks.work (
    callback_id   bigint   PRIMARY KEY,
    fence         bigint   NOT NULL DEFAULT 0,
    told          bigint   NOT NULL DEFAULT 0, -- fence of its first claim on its own; 0 none; -1 its reference was purged
    run_at        bigint,
    lease_until   bigint,
    settled_at    bigint,
    wait          bigint   NOT NULL DEFAULT 0, -- its last delay, or the length of its last lease
    attempts      integer  NOT NULL DEFAULT 0,
    interruptions integer  NOT NULL DEFAULT 0,
    interruptions_alone integer NOT NULL DEFAULT 0,
    repetition    integer  NOT NULL DEFAULT 0,
    state         smallint NOT NULL,          -- 0 ready, 1 running, 2 done, 3 dead, 4 held, 5 quarantined
    lane          smallint NOT NULL DEFAULT 0, -- 0 main, 1 suspects, 2 alone
    kind          text     NOT NULL,
    error         text
) WITH (
    -- Two dead rows per callback: vacuum at 2 %, not 20 %, of a table that only grows.
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);

-- A claim reads one range of this index per kind and lane.
CREATE INDEX work_ready ON mpesa_callbacks.work (kind, lane, run_at, callback_id) WHERE state = 0;
CREATE INDEX work_running ON mpesa_callbacks.work (lease_until) WHERE state = 1;
CREATE INDEX work_open ON mpesa_callbacks.work (state, callback_id) WHERE state >= 3;

-- Contains names and phone numbers, as keys do.
CREATE TABLE mpesa_callbacks.body (
    callback_id bigint PRIMARY KEY,
    body        bytea  NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE mpesa_callbacks.meta (
    name  text  PRIMARY KEY,
    value bytea NOT NULL
);
