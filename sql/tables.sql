-- The tables behind the views. Nobody is granted anything on them: users read the views, workers call the functions.
-- No foreign keys: a key-share lock on one queue row burns MultiXacts under load. No rows are inserted here: pg_dump would lose them.

-- One sequence for workflow_key and ready_key. CACHE 1 is part of the proof that a claim's mark strands nothing.
-- workflow_key = lane << 48 | sequence; a lone installation is lane 0.
CREATE SEQUENCE pawl.key_seq AS bigint CACHE 1 MAXVALUE 281474976710655;
SELECT pg_catalog.pg_extension_config_dump('pawl.key_seq', '');

-- Queue 0 is 'default' and needs no row until somebody alters it.
CREATE SEQUENCE pawl.queue_id_seq AS integer CACHE 1;
SELECT pg_catalog.pg_extension_config_dump('pawl.queue_id_seq', '');
CREATE TABLE pawl.queue (
    queue_id              integer     NOT NULL DEFAULT pg_catalog.nextval('pawl.queue_id_seq') CONSTRAINT queue_pkey PRIMARY KEY,
    queue_name            text        NOT NULL CONSTRAINT queue_queue_name_key UNIQUE
                                      CONSTRAINT queue_queue_name_length CHECK (queue_name <> '' AND octet_length(queue_name) <= 128),
    concurrency           integer     CONSTRAINT queue_concurrency_positive CHECK (concurrency >= 0),
    worker_concurrency    integer     CONSTRAINT queue_worker_concurrency_positive CHECK (worker_concurrency >= 0),
    partition_concurrency integer     CONSTRAINT queue_partition_concurrency_positive CHECK (partition_concurrency >= 0),
    rate_limit            integer     CONSTRAINT queue_rate_limit_positive CHECK (rate_limit > 0),
    rate_period           interval    CONSTRAINT queue_rate_period_positive CHECK (rate_period > interval '0'),
    hold_while_waiting    boolean     NOT NULL DEFAULT false,
    -- Whether its claims go through its gate.
    limited               boolean     NOT NULL GENERATED ALWAYS AS (concurrency IS NOT NULL OR worker_concurrency IS NOT NULL
                                          OR partition_concurrency IS NOT NULL OR rate_limit IS NOT NULL) STORED,
    paused_at             timestamptz,
    paused_by             text,
    paused_reason         text,
    created_at            timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_by            text        NOT NULL,
    CONSTRAINT queue_rate CHECK ((rate_limit IS NULL) = (rate_period IS NULL))
);
SELECT pg_catalog.pg_extension_config_dump('pawl.queue', '');
-- What every claim looks at; nearly always it is empty.
CREATE INDEX queue_restricted_idx ON pawl.queue (queue_id) WHERE limited OR paused_at IS NOT NULL;

-- One claim of a limited queue at a time: it locks this row. Enqueues and completions never touch it.
CREATE TABLE pawl.queue_gate (
    queue_id  integer NOT NULL CONSTRAINT queue_gate_pkey PRIMARY KEY,
    next_slot integer NOT NULL DEFAULT 0,           -- of the rate limit's ring: the one that was used longest ago
    counted   boolean NOT NULL                      -- running_in tells of everything that runs; it was not limited before, otherwise
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
SELECT pg_catalog.pg_extension_config_dump('pawl.queue_gate', '');

-- A rate limit is a ring of as many slots as may start in a period: each first start takes the one that was used longest ago.
CREATE TABLE pawl.queue_rate_slot (
    queue_id integer     NOT NULL,
    slot     integer     NOT NULL,
    used_at  timestamptz NOT NULL,
    CONSTRAINT queue_rate_slot_pkey PRIMARY KEY (queue_id, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
SELECT pg_catalog.pg_extension_config_dump('pawl.queue_rate_slot', '');

-- Unfinished workflows. Ending one moves its row to pawl.workflow_history. No index on any column that an unlimited claim or a checkpoint
-- changes, and free space in every page: then each of those updates is HOT.
CREATE TABLE pawl.workflow (
    workflow_key        bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq') CONSTRAINT workflow_pkey PRIMARY KEY,
    ready_key           bigint,                     -- NULL: delayed, parked, held, or running in a limited queue; fresh each time the entry becomes claimable
    rank                bigint      NOT NULL,       -- 2 * priority, plus 1 while never started
    parent_key          bigint,
    created_at          timestamptz NOT NULL DEFAULT pg_catalog.now(),
    run_at              timestamptz,                -- not before, as asked for
    due_at              timestamptz,                -- when a delayed or parked entry becomes claimable by itself
    started_at          timestamptz,                -- of its first run
    claimed_at          timestamptz,                -- of its latest run
    deadline_at         timestamptz,
    cancel_requested_at timestamptz,
    scheduled_at        timestamptz,
    claimed_by          uuid,                       -- the worker's incarnation; NULL: unclaimed
    epoch               integer     NOT NULL DEFAULT 0,
    queue_id            integer     NOT NULL DEFAULT 0,
    running_in          integer,                    -- queue_id while running in a limited queue
    priority            integer     NOT NULL DEFAULT 0,
    workflow_version    integer,                    -- set by the first claim, or pinned
    recoveries          integer     NOT NULL DEFAULT 0,  -- crashes survived, all of them
    crashes             integer     NOT NULL DEFAULT 0,  -- crashes since the last recorded step
    pinned              boolean     NOT NULL DEFAULT false,
    detached            boolean     NOT NULL DEFAULT false,  -- a child whose parent's cancellation does not reach it
    probation           boolean     NOT NULL DEFAULT false,  -- runs alone on its worker until it records a step
    deduplication_started boolean   NOT NULL DEFAULT false,  -- has its deduplication_id, and may have started: replace enqueues another beside it
    status              text        NOT NULL DEFAULT 'enqueued'
                                    CONSTRAINT workflow_status CHECK (status IN ('enqueued', 'delayed', 'running', 'waiting')),
    workflow_id         text        NOT NULL,
    workflow_name       text        NOT NULL,
    partition_key       text,
    deduplication_id    text,
    forked_from         text,
    schedule_name       text,
    enqueued_by         text        NOT NULL,
    cancel_reason       text        CONSTRAINT workflow_cancel_reason CHECK (cancel_reason IN ('request', 'parent')),
    cancelled_by        text,
    cancel_note         text,                       -- the reason that was given, in words
    waiting_for         text,
    timeout             interval,
    headers             jsonb,
    attributes          jsonb,
    progress            jsonb,
    input               jsonb                       -- NULL: in pawl.payload
) WITH (fillfactor = 45, vacuum_truncate = off, vacuum_index_cleanup = on, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
SELECT pg_catalog.pg_extension_config_dump('pawl.workflow', '');
CREATE UNIQUE INDEX workflow_workflow_id_idx ON pawl.workflow (workflow_id);
CREATE UNIQUE INDEX workflow_ready_idx ON pawl.workflow (queue_id, rank, ready_key)
    WHERE partition_key IS NULL AND ready_key IS NOT NULL;
CREATE UNIQUE INDEX workflow_partition_ready_idx ON pawl.workflow (queue_id, partition_key, rank, ready_key)
    WHERE partition_key IS NOT NULL AND ready_key IS NOT NULL;
-- Those that were there at two crashes in a row: each is claimed alone.
CREATE INDEX workflow_suspect_idx ON pawl.workflow (ready_key) WHERE crashes >= 2 AND ready_key IS NOT NULL;
CREATE INDEX workflow_running_in_idx ON pawl.workflow (running_in, partition_key) WHERE running_in IS NOT NULL;
-- Those that kept their permits while they were parked, and woke up.
CREATE INDEX workflow_held_idx ON pawl.workflow (running_in, rank, ready_key) WHERE running_in IS NOT NULL AND ready_key IS NOT NULL;
-- One for each deduplication_id that is yet to start. Those that have started are in it to be found: passing the key on touches none of them, so that
-- no worker waits for the transaction that does.
CREATE UNIQUE INDEX workflow_deduplication_idx ON pawl.workflow
    (queue_id, deduplication_id, (CASE WHEN deduplication_started THEN workflow_key ELSE 0 END)) WHERE deduplication_id IS NOT NULL;
CREATE INDEX workflow_due_at_idx ON pawl.workflow (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX workflow_deadline_at_idx ON pawl.workflow (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX workflow_parent_key_idx ON pawl.workflow (parent_key) WHERE parent_key IS NOT NULL;
CREATE INDEX workflow_created_at_idx ON pawl.workflow (created_at);
-- Whether a schedule has a run that has not ended.
CREATE INDEX workflow_schedule_name_idx ON pawl.workflow (schedule_name) WHERE schedule_name IS NOT NULL;
CREATE INDEX workflow_attributes_idx ON pawl.workflow USING gin (attributes jsonb_path_ops) WHERE attributes IS NOT NULL;

-- Ended workflows: insert-only, partitioned by completion time. The parent has no key and no index, its partitions have: otherwise
-- restoring a partition made at run time fails. Partitions are made by pawl.add_history_partition.
CREATE TABLE pawl.workflow_history (
    workflow_key        bigint      NOT NULL,
    parent_key          bigint,
    created_at          timestamptz NOT NULL,
    run_at              timestamptz,
    started_at          timestamptz,
    completed_at        timestamptz NOT NULL,
    deadline_at         timestamptz,
    cancel_requested_at timestamptz,
    scheduled_at        timestamptz,
    redacted_at         timestamptz,                -- its payloads are gone: it cannot run again
    worker_id           uuid,                       -- with epoch: who ended it, so that a lost answer can be read back
    epoch               integer     NOT NULL,
    queue_id            integer     NOT NULL,
    priority            integer     NOT NULL,
    workflow_version    integer,
    recoveries          integer     NOT NULL,
    pinned              boolean     NOT NULL,
    detached            boolean     NOT NULL DEFAULT false,
    status              text        NOT NULL CONSTRAINT workflow_history_status CHECK (status IN ('succeeded', 'failed', 'cancelled')),
    status_reason       text        CONSTRAINT workflow_history_status_reason CHECK (
        status_reason IN ('error', 'timeout', 'crashes', 'determinism', 'bad_input', 'request', 'parent')),
    workflow_id         text        NOT NULL,
    workflow_name       text        NOT NULL,
    partition_key       text,
    deduplication_id    text,
    forked_from         text,
    schedule_name       text,
    enqueued_by         text        NOT NULL,
    cancelled_by        text,
    cancel_note         text,
    headers             jsonb,
    attributes          jsonb,
    progress            jsonb,
    input               jsonb,                      -- NULL: in pawl.payload
    output              jsonb,                      -- NULL with status succeeded: in pawl.payload
    error               jsonb
) PARTITION BY RANGE (completed_at);
SELECT pg_catalog.pg_extension_config_dump('pawl.workflow_history', '');

-- Inputs and outputs too large to be moved with their row; insert-only.
CREATE TABLE pawl.payload (
    workflow_key bigint NOT NULL,
    name         text   NOT NULL CONSTRAINT payload_name CHECK (name IN ('input', 'output')),
    value        jsonb  NOT NULL,
    CONSTRAINT payload_pkey PRIMARY KEY (workflow_key, name)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.payload', '');

-- The primary key is the guard against double execution.
CREATE TABLE pawl.workflow_step (
    workflow_key bigint      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    started_at   timestamptz,
    completed_at timestamptz,
    due_at       timestamptz,                       -- of a waiting or retrying one: when it is over, or tried again, by itself
    child_key    bigint,
    epoch        integer     NOT NULL,              -- of the run that recorded it, so that a lost answer can be read back
    step_number  integer     NOT NULL,
    attempts     integer     NOT NULL DEFAULT 1,
    step_name    text        NOT NULL,
    kind         text        NOT NULL,
    status       text        NOT NULL
                             CONSTRAINT workflow_step_status CHECK (status IN ('waiting', 'retrying', 'succeeded', 'failed')),
    arguments    jsonb,                             -- of a waiting one, with workflow ids resolved to keys
    output       jsonb,
    error        jsonb,
    CONSTRAINT workflow_step_pkey PRIMARY KEY (workflow_key, step_name)
) WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.05);
SELECT pg_catalog.pg_extension_config_dump('pawl.workflow_step', '');
CREATE INDEX workflow_step_status_created_at_idx ON pawl.workflow_step (status, created_at) WHERE status <> 'succeeded';
-- What a workflow waits for, however many steps it has recorded.
CREATE INDEX workflow_step_waiting_idx ON pawl.workflow_step (workflow_key) WHERE status IN ('waiting', 'retrying');

-- Messages, kept when consumed. Sending one touches no row of its workflow.
CREATE TABLE pawl.message (
    workflow_key    bigint      NOT NULL,
    message_key     bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq'),   -- the order in which they are received
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    consumed_at     timestamptz,
    topic           text        NOT NULL,
    consumed_by     text,                           -- the step that received it; NULL: not received yet
    idempotency_key text,
    sent_by         text        NOT NULL,
    message         jsonb       NOT NULL,
    CONSTRAINT message_pkey PRIMARY KEY (workflow_key, message_key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
SELECT pg_catalog.pg_extension_config_dump('pawl.message', '');
CREATE INDEX message_waiting_idx ON pawl.message (workflow_key, topic, message_key) WHERE consumed_by IS NULL;
CREATE UNIQUE INDEX message_idempotency_key_idx ON pawl.message (workflow_key, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Every value that an event ever had, so that a fork or a rewind finds the right one. The latest event_key is its value.
CREATE TABLE pawl.event (
    workflow_key bigint      NOT NULL,
    event_key    bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq'),
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    key          text        NOT NULL,
    step_name    text        NOT NULL,
    value        jsonb       NOT NULL,
    CONSTRAINT event_pkey PRIMARY KEY (workflow_key, key, event_key)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.event', '');

-- Positions are counted under the lock of the workflow's row: they have no gaps.
CREATE TABLE pawl.stream_entry (
    workflow_key bigint      NOT NULL,
    position     bigint      NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    attempt      integer     NOT NULL,
    key          text        NOT NULL,
    step_name    text        NOT NULL,
    value        jsonb       NOT NULL,
    CONSTRAINT stream_entry_pkey PRIMARY KEY (workflow_key, key, position)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.stream_entry', '');

-- Streams that were closed. Those of an ended workflow are closed without a row.
CREATE TABLE pawl.closed_stream (
    workflow_key bigint      NOT NULL,
    closed_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    key          text        NOT NULL,
    step_name    text        NOT NULL,
    CONSTRAINT closed_stream_pkey PRIMARY KEY (workflow_key, key)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.closed_stream', '');

-- The rows of a workflow lie together, so a sample shows far fewer workflows than there are, and before the first sample the planner knows of 200: it would
-- rather scan than look up one. So it is told, and once reminded: what ANALYZE finds here outlives the row.
DO $$
DECLARE
    recorded text;
BEGIN
    FOREACH recorded IN ARRAY ARRAY['payload', 'workflow_step', 'message', 'event', 'stream_entry'] LOOP
        EXECUTE pg_catalog.format('ALTER TABLE pawl.%I ALTER COLUMN workflow_key SET (n_distinct = -0.1)', recorded);
    END LOOP;
    INSERT INTO pawl.payload VALUES (0, 'input', '{}');
    INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status) VALUES (0, 0, 0, '', '', 'succeeded');
    INSERT INTO pawl.message (workflow_key, message_key, topic, sent_by, message) VALUES (0, 0, '', '', '{}');
    INSERT INTO pawl.event (workflow_key, event_key, key, step_name, value) VALUES (0, 0, '', '', '{}');
    INSERT INTO pawl.stream_entry (workflow_key, position, attempt, key, step_name, value) VALUES (0, 0, 0, '', '', '{}');
    ANALYZE pawl.payload (workflow_key), pawl.workflow_step (workflow_key), pawl.message (workflow_key), pawl.event (workflow_key),
        pawl.stream_entry (workflow_key);
    TRUNCATE pawl.payload, pawl.workflow_step, pawl.message, pawl.event, pawl.stream_entry;
END $$;

-- Who waits for something of another workflow.
CREATE TABLE pawl.waiter (
    target_key   bigint NOT NULL,
    workflow_key bigint NOT NULL,
    step_name    text   NOT NULL,
    CONSTRAINT waiter_pkey PRIMARY KEY (target_key, workflow_key, step_name)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
SELECT pg_catalog.pg_extension_config_dump('pawl.waiter', '');
CREATE INDEX waiter_workflow_key_idx ON pawl.waiter (workflow_key, step_name);

-- Something happened at a workflow: whoever waits for it looks again. Inserted by who made it happen, in that transaction, so that nobody
-- has to lock a workflow that is not his. worker_id NULL: anybody may find out whom it concerns.
CREATE TABLE pawl.signal (
    signal_key   bigint  NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq') CONSTRAINT signal_pkey PRIMARY KEY,
    workflow_key bigint  NOT NULL,
    worker_id    uuid,
    itself       boolean NOT NULL DEFAULT false     -- it concerns that workflow only, not those who wait for it
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
SELECT pg_catalog.pg_extension_config_dump('pawl.signal', '');
CREATE INDEX signal_worker_id_idx ON pawl.signal (worker_id, signal_key);

-- Cancellations of workflows that were claimed, or locked, when they were asked for. Inserted with a signal and never waiting for anybody, so that
-- no transaction of a user holds the row that a worker writes under; take_signals puts the first one of a workflow into its row.
CREATE TABLE pawl.cancel_request (
    workflow_key  bigint      NOT NULL,
    request_key   bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq'),
    requested_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    cancel_reason text        NOT NULL CONSTRAINT cancel_request_cancel_reason CHECK (cancel_reason IN ('request', 'parent')),
    cancelled_by  text        NOT NULL,
    cancel_note   text,
    audited       boolean     NOT NULL DEFAULT false,   -- it is in pawl.audit, and so is what is cancelled with it
    CONSTRAINT cancel_request_pkey PRIMARY KEY (workflow_key, request_key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
SELECT pg_catalog.pg_extension_config_dump('pawl.cancel_request', '');

-- One running pawld each, and for a while the ended ones.
CREATE SEQUENCE pawl.worker_number_seq AS integer CACHE 1;
SELECT pg_catalog.pg_extension_config_dump('pawl.worker_number_seq', '');
CREATE TABLE pawl.worker (
    worker_id     uuid        NOT NULL CONSTRAINT worker_pkey PRIMARY KEY,          -- a random incarnation, never used again
    worker_number integer     NOT NULL DEFAULT pg_catalog.nextval('pawl.worker_number_seq'),  -- of its advisory lock
    started_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    heartbeat_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    suspected_at  timestamptz,                      -- its lock was found free then
    ended_at      timestamptz,
    reclaimed_at  timestamptz,                      -- it had ended, and nothing of it was left claimed
    pid           integer     NOT NULL,
    protocol      integer     NOT NULL,
    concurrency   integer     NOT NULL,
    running       integer     NOT NULL DEFAULT 0,
    status        text        NOT NULL CONSTRAINT worker_status CHECK (status IN ('running', 'draining', 'stopped', 'dead')),
    worker_name   text        NOT NULL,
    hostname      text        NOT NULL,
    version       text        NOT NULL,
    role_name     text        NOT NULL,
    queues        text[]                            -- NULL: every queue
) WITH (fillfactor = 50);
SELECT pg_catalog.pg_extension_config_dump('pawl.worker', '');

-- What each worker can run.
CREATE TABLE pawl.worker_handler (
    worker_id        uuid    NOT NULL,
    workflow_name    text    NOT NULL,
    workflow_version integer NOT NULL,
    plugin           text    NOT NULL,
    CONSTRAINT worker_handler_pkey PRIMARY KEY (worker_id, workflow_name, workflow_version)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.worker_handler', '');

-- Every workflow name a worker ever offered: enqueueing another one is worth a NOTICE.
CREATE TABLE pawl.known_handler (
    workflow_name    text        NOT NULL CONSTRAINT known_handler_pkey PRIMARY KEY,
    first_offered_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('pawl.known_handler', '');

-- Workflows that are one SQL function, run by any worker. The function is named, not referenced: a dump restores it under another oid.
CREATE TABLE pawl.sql_handler (
    workflow_name      text        NOT NULL,
    workflow_version   integer     NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT pg_catalog.now(),
    function_signature text        NOT NULL,        -- as regprocedure reads it, with its schema
    function_owner     text        NOT NULL,        -- another owner's function of that name is not run
    search_path        text        NOT NULL,        -- its maker's, for a function that sets none itself
    role_name          text        NOT NULL,        -- whose rights it has
    created_by         text        NOT NULL,
    CONSTRAINT sql_handler_pkey PRIMARY KEY (workflow_name, workflow_version)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.sql_handler', '');

-- What is enqueued again and again. Any worker fires what is due, with the row locked; the instant is in the workflow's id.
CREATE TABLE pawl.schedule (
    schedule_name    text        NOT NULL CONSTRAINT schedule_pkey PRIMARY KEY
                                 CONSTRAINT schedule_schedule_name_length CHECK (schedule_name <> '' AND octet_length(schedule_name) <= 128),
    next_at          timestamptz,                   -- the next instant; NULL: paused, or none comes
    last_at          timestamptz,                   -- the latest instant that was enqueued
    missed_at        timestamptz,                   -- the latest instant that was missed and not backfilled
    created_at       timestamptz NOT NULL DEFAULT pg_catalog.now(),
    paused_at        timestamptz,
    fired            bigint      NOT NULL DEFAULT 0,
    missed           bigint      NOT NULL DEFAULT 0,
    skipped          bigint      NOT NULL DEFAULT 0,
    priority         integer     NOT NULL DEFAULT 0,
    workflow_version integer,
    cron             text        NOT NULL,
    timezone         text        NOT NULL,
    catch_up         interval    NOT NULL CONSTRAINT schedule_catch_up_positive CHECK (catch_up >= interval '0'),
    jitter           interval    NOT NULL CONSTRAINT schedule_jitter_positive CHECK (jitter >= interval '0'),
    overlap          text        NOT NULL CONSTRAINT schedule_overlap CHECK (overlap IN ('skip', 'allow', 'cancel')),
    workflow_name    text        NOT NULL,
    queue_name       text        NOT NULL,          -- not its id: a queue may be dropped and made again
    timeout          interval,
    partition_key    text,
    headers          jsonb,
    attributes       jsonb,
    input            jsonb       NOT NULL,
    last_workflow_id text,
    last_error       text,                          -- why the latest instant was not enqueued
    paused_by        text,
    paused_reason    text,
    created_by       text        NOT NULL
) WITH (fillfactor = 50);
SELECT pg_catalog.pg_extension_config_dump('pawl.schedule', '');
CREATE INDEX schedule_next_at_idx ON pawl.schedule (next_at) WHERE next_at IS NOT NULL;

-- What people did: who, when, what, to which object, and why. In the transaction that did it; nothing reads it but people.
CREATE TABLE pawl.audit_entry (
    audit_key    bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq') CONSTRAINT audit_entry_pkey PRIMARY KEY,
    created_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    role_name    text        NOT NULL,
    action       text        NOT NULL,              -- the function that was called, in the singular: cancel_workflow
    object_kind  text        NOT NULL CONSTRAINT audit_entry_object_kind CHECK (
        object_kind IN ('workflow', 'queue', 'schedule', 'handler', 'retention', 'access', 'database')),
    object_name  text        NOT NULL,
    reason       text,
    detail       jsonb                              -- what else was asked for, without payloads
);
SELECT pg_catalog.pg_extension_config_dump('pawl.audit_entry', '');
CREATE INDEX audit_entry_object_idx ON pawl.audit_entry (object_name, object_kind, audit_key);
-- Among a million workflows that were cancelled there are ten queues that were paused.
CREATE INDEX audit_entry_kind_idx ON pawl.audit_entry (object_kind, audit_key) WHERE object_kind <> 'workflow';
CREATE INDEX audit_entry_created_at_idx ON pawl.audit_entry USING brin (created_at);

-- How long ended workflows are kept, where somebody has said so. The built-in default is in pawl.retention_in_force.
CREATE TABLE pawl.retention_rule (
    rule_key      bigint      NOT NULL DEFAULT pg_catalog.nextval('pawl.key_seq') CONSTRAINT retention_rule_pkey PRIMARY KEY,
    workflow_name text,
    queue_name    text        CONSTRAINT retention_rule_one_kind CHECK (workflow_name IS NULL OR queue_name IS NULL),
    succeeded     interval,                         -- -1 second: for ever; NULL: as the default
    failed        interval,
    keep          bigint      CONSTRAINT retention_rule_keep CHECK (keep >= 0),
    changed_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
    changed_by    text        NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('pawl.retention_rule', '');
CREATE UNIQUE INDEX retention_rule_idx ON pawl.retention_rule (coalesce(workflow_name, ''), coalesce(queue_name, ''));

-- How far retention has looked, for each age that a rule names, and (age NULL) for those of which only so many are kept. A row that is not there
-- begins at the oldest.
CREATE TABLE pawl.retention_walk (
    age        interval,
    walked_to  timestamptz NOT NULL DEFAULT '-infinity',
    walked_key bigint      NOT NULL DEFAULT 0,
    began_at   timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('pawl.retention_walk', '');
CREATE UNIQUE INDEX retention_walk_age_idx ON pawl.retention_walk (coalesce(age, interval '-1 second'));

-- Ended workflows under a rule that keeps only so many, in the order in which they go.
CREATE TABLE pawl.retention_kept (
    rule_key     bigint      NOT NULL,
    completed_at timestamptz NOT NULL,
    workflow_key bigint      NOT NULL,
    CONSTRAINT retention_kept_pkey PRIMARY KEY (rule_key, completed_at, workflow_key)
);
SELECT pg_catalog.pg_extension_config_dump('pawl.retention_kept', '');

-- At most one row, made by the first worker: where these tables last lived, so that a restored copy holds still until somebody releases it.
CREATE TABLE pawl.installation (
    singleton         boolean     NOT NULL DEFAULT true CONSTRAINT installation_pkey PRIMARY KEY CONSTRAINT installation_singleton CHECK (singleton),
    system_identifier bigint      NOT NULL,
    database_oid      oid         NOT NULL,
    timeline          integer     NOT NULL,
    timeline_since    timestamptz NOT NULL,         -- when that timeline was first seen: a failover gives workers one lease to come back
    heartbeat_at      timestamptz NOT NULL,         -- the latest of any worker, to within ten seconds
    maintained_at     timestamptz NOT NULL,         -- hourly work: partitions ahead, long ended workers
    held_at           timestamptz,
    held_reason       text,
    released_at       timestamptz,
    released_by       text,
    released_reason   text,
    retention_at      timestamptz                   -- when the next look for what is past its retention is due; NULL: now
);
SELECT pg_catalog.pg_extension_config_dump('pawl.installation', '');

-- Every grant of pawl.grant_access, narrowed (workflow_name, queue) or not; NULL is all. EXECUTE lets a role call at all; what it may name is
-- decided by the rules of the roles whose privileges it has: one that matches is enough, none that matches is PW006. Superusers pass.
-- Whoever has a rule `inspect` reads payloads.
CREATE TABLE pawl.access_rule (
    role_name     text NOT NULL,
    access        text NOT NULL CONSTRAINT access_rule_access CHECK (access IN ('enqueue', 'send', 'observe', 'inspect', 'operate', 'work')),
    workflow_name text,
    queue_name    text
);
SELECT pg_catalog.pg_extension_config_dump('pawl.access_rule', '');
CREATE UNIQUE INDEX access_rule_idx ON pawl.access_rule (role_name, access, coalesce(workflow_name, ''), coalesce(queue_name, ''));

COMMENT ON TABLE pawl.queue IS 'Queues and their limits; queue 0, default, has a row only once it was altered. Read pawl.queues.';
COMMENT ON TABLE pawl.queue_gate IS 'What claims of a limited queue lock, one at a time.';
COMMENT ON TABLE pawl.queue_rate_slot IS 'When the latest first starts of a queue with a rate limit were.';
COMMENT ON TABLE pawl.workflow IS 'Unfinished workflows. Read pawl.workflows.';
COMMENT ON TABLE pawl.workflow_history IS 'Ended workflows, by month of completion. Read pawl.workflows.';
COMMENT ON TABLE pawl.payload IS 'Inputs and outputs over 2000 bytes, by workflow_key. Read pawl.workflows.';
COMMENT ON TABLE pawl.workflow_step IS 'Checkpoints. Read pawl.workflow_steps.';
COMMENT ON TABLE pawl.message IS 'Messages to workflows, received or not. Read pawl.messages.';
COMMENT ON TABLE pawl.event IS 'Every value that an event of a workflow had. Read pawl.events.';
COMMENT ON TABLE pawl.stream_entry IS 'What workflows wrote to their streams. Read pawl.stream_entries.';
COMMENT ON TABLE pawl.closed_stream IS 'Streams that a workflow closed before it ended.';
COMMENT ON TABLE pawl.waiter IS 'Steps that wait for something of another workflow.';
COMMENT ON TABLE pawl.signal IS 'Something happened at a workflow, and nobody has looked yet.';
COMMENT ON TABLE pawl.cancel_request IS 'Cancellations asked for, and not yet in the row of their workflow.';
COMMENT ON TABLE pawl.audit_entry IS 'What people did to workflows, queues, schedules and the rest. Read pawl.audit.';
COMMENT ON TABLE pawl.schedule IS 'Schedules. Read pawl.schedules.';
COMMENT ON TABLE pawl.sql_handler IS 'Workflows that are one SQL function.';
COMMENT ON TABLE pawl.worker IS 'Workers, and for a day the ended ones. Read pawl.workers.';
COMMENT ON TABLE pawl.worker_handler IS 'What each worker can run. Read pawl.handlers.';
COMMENT ON TABLE pawl.known_handler IS 'Workflow names that a worker offered at least once.';
COMMENT ON TABLE pawl.installation IS 'Where these tables last lived, to notice a restored copy.';
COMMENT ON TABLE pawl.retention_rule IS 'What pawl.set_retention said. Read pawl.retention.';
COMMENT ON TABLE pawl.retention_walk IS 'How far retention has looked, for each age.';
COMMENT ON TABLE pawl.retention_kept IS 'Ended workflows of which only so many are kept.';
COMMENT ON TABLE pawl.access_rule IS 'What pawl.grant_access granted.';
COMMENT ON SEQUENCE pawl.key_seq IS 'Workflow keys and ready keys.';
COMMENT ON SEQUENCE pawl.queue_id_seq IS 'Queue ids.';
COMMENT ON SEQUENCE pawl.worker_number_seq IS 'Numbers of workers: the second half of the key of a life lock.';
