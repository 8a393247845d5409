-- Tables only grow, and functions carry the mark of their text, so that clients of any version work side by side.
-- Times are microseconds of this server's clock. Modes: 0 exclusive, -1 shared, n one of n permits.
-- Those that are called from outside look for names in `pg_catalog` alone, and the others are called by them: anybody
-- who may make functions somewhere else could have their own called in the name of others.
DO $locks$
DECLARE
  path text := pg_catalog.current_setting('search_path');
  is_new bool;
BEGIN
PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
-- One at a time: none of the commands below is safe beside itself.
PERFORM pg_advisory_xact_lock(hashtextextended('locks schema "{schema}"', 0));
-- Looked up in the tables: what the session remembers may be from before the lock.
IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{name}') THEN CREATE SCHEMA {schema}; END IF;
-- It has no mark in its name. Another role's stays as it is, until that role runs this.
IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'take' AND pronamespace =
    (SELECT oid FROM pg_namespace WHERE nspname = '{name}')
    AND (prosrc LIKE '%{v}%' OR NOT pg_has_role(proowner, 'USAGE'))) THEN
TAKE
END IF;
IF EXISTS (SELECT FROM pg_proc WHERE proname = 'list_{v}' AND pronamespace =
    (SELECT oid FROM pg_namespace WHERE nspname = '{name}')) THEN
  PERFORM set_config('search_path', path, true);
  RETURN;
END IF;

-- Kinds: h hold or reservation, w place in the queue, n the client `id` has a request that is about to
-- claim, s why a hold is gone (`mode` 2 stolen, 3 evicted).
CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.entry (
  key text COLLATE "C" NOT NULL,
  kind "char" NOT NULL,
  id text COLLATE "C" NOT NULL,
  token bigint NOT NULL DEFAULT 0,
  mode bigint NOT NULL DEFAULT 0,
  since bigint NOT NULL DEFAULT 0,
  ends bigint NOT NULL,
  reserved bigint NOT NULL DEFAULT 0,
  most bigint NOT NULL DEFAULT 0,
  called bigint NOT NULL DEFAULT 0,
  client text NOT NULL DEFAULT '',
  note text NOT NULL DEFAULT '',
  PRIMARY KEY (key, kind, id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0);
is_new := NOT EXISTS (SELECT FROM pg_class WHERE relname = 'epoch' AND relnamespace =
    (SELECT oid FROM pg_namespace WHERE nspname = '{name}'));
-- Empty after a crash, as `entry` is: that is how it is known that holds were lost. With a `longest` of 0 nobody has
-- asked for a lock yet, and `fresh` is when the schema was made.
CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.epoch (
  one bool PRIMARY KEY DEFAULT true CHECK (one),
  fresh bigint NOT NULL,
  longest bigint NOT NULL,
  started timestamptz NOT NULL,
  timeline text NOT NULL,
  system text NOT NULL
);
-- The transaction that wrote the row, as the row has it: another one if it was restored from a dump, which has all
-- else as it was. Vacuums leave it, and so does a restart.
IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{schema}.epoch'::regclass AND attname = 'writer') THEN
  ALTER TABLE {schema}.epoch ADD COLUMN writer text;
END IF;
-- The longest lease that was ever promised: nothing is granted for as long after a loss.
CREATE TABLE IF NOT EXISTS {schema}.promise (one bool PRIMARY KEY DEFAULT true CHECK (one), longest bigint NOT NULL);
CREATE SEQUENCE IF NOT EXISTS {schema}.token;
IF is_new THEN
  INSERT INTO {schema}.epoch (fresh, longest, started, timeline, system)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 0, pg_postmaster_start_time(), '', '');
  UPDATE {schema}.epoch SET writer = xmin::text;
END IF;

-- Waits for the gate of a key, which claims and ends have for their moment.
CREATE OR REPLACE FUNCTION {schema}.gate_{v}(gate bigint) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  IF NOT pg_try_advisory_xact_lock(gate) THEN
    PERFORM set_config('lock_timeout', '500ms', true);
    PERFORM pg_advisory_xact_lock(gate);
  END IF;
END $f$;

-- When a row is of no use any more. A place that was called has a quarter of a second to claim, and what it has
-- in `reserved` for a slow link.
CREATE OR REPLACE FUNCTION {schema}.over_{v}(kind "char", ends bigint, reserved bigint, called bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $f$
  SELECT CASE WHEN kind = 'h' THEN greatest(ends, reserved)
    WHEN kind = 'w' AND called > 0 THEN least(ends, called + 250000 + reserved) ELSE ends END
$f$;

-- Sees to it that the epoch is that of this server and its present data. Returns from when on there may be grants.
CREATE OR REPLACE FUNCTION {schema}.epoch_{v}(p_longest bigint, p_fresh bool, p_copied bool, p_now bigint)
RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE
  e record; theirs bigint; line text; server text; floor_ bigint; fresh_ bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('locks epoch "{schema}"', 0));
  SELECT *, xmin::text = writer AS own INTO e FROM {schema}.epoch;
  SELECT longest INTO theirs FROM {schema}.promise;
  IF theirs <> p_longest THEN
    RAISE EXCEPTION USING ERRCODE = 'LK001', MESSAGE = 'another longest lease', DETAIL = theirs::text;
  END IF;
  fresh_ := p_now + p_longest;
  -- Further away it is only if the clock was ahead.
  e.fresh := least(e.fresh, fresh_);
  IF theirs IS NOT NULL AND e.own AND e.started = pg_postmaster_start_time() THEN
    IF EXISTS (SELECT FROM {schema}.epoch WHERE longest <> p_longest OR fresh > e.fresh) THEN
      UPDATE {schema}.epoch SET longest = p_longest, fresh = e.fresh;
      UPDATE {schema}.epoch SET writer = xmin::text;
    END IF;
    RETURN e.fresh;
  END IF;
  line := left(pg_walfile_name(pg_current_wal_lsn()), 8);
  SELECT system_identifier::text INTO server FROM pg_control_system();
  SELECT last_value INTO floor_ FROM {schema}.token;
  IF theirs IS NOT NULL AND e.own AND e.system = server AND e.timeline = line THEN
    -- Started anew with all it had. Its data may be older ones, put back while it was stopped.
    PERFORM setval('{schema}.token', greatest(floor_, p_now));
    UPDATE {schema}.epoch SET started = pg_postmaster_start_time(), longest = p_longest, fresh = e.fresh;
    UPDATE {schema}.epoch SET writer = xmin::text;
    RETURN e.fresh;
  END IF;
  -- What the greatest token was may be lost as well; the clock is above it.
  PERFORM setval('{schema}.token', greatest(floor_ + 1000000, p_now));
  IF theirs IS NULL THEN
    -- It has to outlive a crash, whatever becomes of the rows.
    PERFORM set_config('synchronous_commit', 'on', true);
    INSERT INTO {schema}.promise (longest) VALUES (p_longest);
    -- A schema of this name may have been dropped before this one was made.
    IF p_fresh THEN fresh_ := p_now;
    ELSIF e.own AND e.longest = 0 AND e.started = pg_postmaster_start_time() THEN
      fresh_ := least(e.fresh + p_longest, fresh_);
    END IF;
  END IF;
  -- Where each step was at a standby before it was answered, they are what was granted: holders go on. Others may
  -- have ended since, and what came after them is not here.
  IF (p_copied AND e.own AND e.system = server) IS NOT TRUE THEN DELETE FROM {schema}.entry; END IF;
  DELETE FROM {schema}.epoch;
  INSERT INTO {schema}.epoch (fresh, longest, started, timeline, system)
    VALUES (fresh_, p_longest, pg_postmaster_start_time(), line, server);
  UPDATE {schema}.epoch SET writer = xmin::text;
  RETURN fresh_;
END $f$;

-- Calls those at the head of a key's queue who can have it beside what is held.
CREATE OR REPLACE FUNCTION {schema}.summon_{v}(p_key text, p_now bigint, p_but text) RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
  w record; used int; alone bool;
BEGIN
  SELECT count(*), coalesce(bool_or(mode = 0), false) INTO used, alone FROM {schema}.entry
    WHERE key = p_key AND kind = 'h' AND greatest(ends, reserved) > p_now AND id <> p_but;
  FOR w IN SELECT * FROM {schema}.entry
    WHERE key = p_key AND kind IN ('w', 'n') AND id <> p_but
      AND {schema}.over_{v}(kind, ends, reserved, called) > p_now
    ORDER BY since, kind, id
  LOOP
    EXIT WHEN w.kind = 'n' OR alone OR w.mode = 0 AND used > 0 OR w.mode > 0 AND used >= w.mode;
    IF w.called = 0 THEN
      UPDATE {schema}.entry SET called = p_now WHERE key = p_key AND kind = 'w' AND id = w.id;
      PERFORM pg_notify('locks_' || w.client, p_key);
    END IF;
    used := used + 1;
    alone := w.mode = 0;
  END LOOP;
END $f$;

-- Removes what nobody has asked about since it was over: each key is swept with some that come after it.
-- Never waits, since claims of those keys may have their gates.
CREATE OR REPLACE FUNCTION {schema}.sweep_{v}(p_key text, p_now bigint) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  IF NOT EXISTS (SELECT FROM {schema}.entry WHERE key > p_key) THEN p_key := ''; END IF;
  WITH near AS (
    SELECT n.key, n.kind, n.id FROM {schema}.entry n WHERE n.key > p_key ORDER BY n.key, n.kind, n.id LIMIT 64
  ), dead AS (
    SELECT e.key, e.kind, e.id FROM {schema}.entry e JOIN near USING (key, kind, id)
      WHERE {schema}.over_{v}(e.kind, e.ends, e.reserved, e.called) <= p_now - 60000000
      FOR UPDATE OF e SKIP LOCKED
  )
  DELETE FROM {schema}.entry e USING dead d WHERE e.key = d.key AND e.kind = d.kind AND e.id = d.id;
END $f$;

CLAIM

END_

RENEW

CREATE OR REPLACE FUNCTION {schema}.list_{v}(p_key text, p_prefix text)
RETURNS TABLE (key text, kind text, id text, token bigint, mode bigint, age bigint, ends_in bigint, note text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $f$
  SELECT e.key, CASE WHEN e.kind = 'h' AND e.ends <= n.t THEN 'r' ELSE e.kind::text END, e.id, e.token, e.mode,
    greatest(n.t - e.since, 0), {schema}.over_{v}(e.kind, e.ends, CASE WHEN e.kind = 'w' OR e.ends <= n.t THEN e.reserved ELSE 0 END, e.called) - n.t,
    e.note
  FROM {schema}.entry e, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS t) n
  WHERE e.kind IN ('h', 'w') AND (e.key = p_key OR p_key IS NULL AND starts_with(e.key, p_prefix))
    AND {schema}.over_{v}(e.kind, e.ends, e.reserved, e.called) > n.t
  ORDER BY e.key, e.kind, e.id
$f$;
PERFORM set_config('search_path', path, true);
END $locks$;
