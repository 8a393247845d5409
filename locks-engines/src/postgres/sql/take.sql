-- Takes a key for exclusive use until the end of the transaction that this is called in, by any client. Returns
-- false if it is held, reserved or waited for: it does not wait.
CREATE OR REPLACE FUNCTION {schema}.take(p_key text) RETURNS bool LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  gate bigint := hashtextextended('{schema}:' || p_key, 0) # 1; now_ bigint; e record;
  limit_ text := current_setting('lock_timeout');
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'LK002', MESSAGE = '{schema}.take needs a transaction that is READ COMMITTED: '
      || current_setting('transaction_isolation') || ' would not see a lock that was granted after it began';
  END IF;
  IF p_key IS NULL OR p_key = '' OR octet_length(p_key) > 1024 THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a key has 1 to 1024 bytes';
  END IF;
  -- An error takes back the advisory lock as well, which nothing else does before the end of the transaction.
  BEGIN
    IF NOT pg_try_advisory_xact_lock(gate) THEN
      -- A claim has it for its moment; another transaction for longer.
      PERFORM set_config('lock_timeout', '50ms', true);
      PERFORM pg_advisory_xact_lock(gate);
      PERFORM set_config('lock_timeout', limit_, true);
    END IF;
    now_ := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    SELECT fresh, longest, started, xmin::text = writer AS own INTO e FROM {schema}.epoch;
    -- Further away than the longest lease it is only if the clock was ahead, which a claim puts right.
    IF e.own IS NOT TRUE OR e.started <> pg_postmaster_start_time() OR e.fresh > now_ + e.longest THEN
      RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = '{schema}.take: the server was started anew, or data or its clock were put back, and no client of locks has asked for a lock since',
        HINT = 'Until one has, it is not known which leases still run: acquire any lock by the library, or by `locks run`.';
    END IF;
    -- Nobody has asked for a lease yet: as long as they are unless set, from when the schema was made.
    IF e.longest = 0 THEN e.fresh := e.fresh + 10000000; END IF;
    IF e.fresh > now_ THEN
      RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = format('{schema}.take: nothing is granted for another %s s, since leases may still run that the server has lost', ceil((e.fresh - now_) / 1e6));
    END IF;
    IF EXISTS (SELECT FROM {schema}.entry
      WHERE key = p_key AND kind <> 's' AND {schema}.over_{v}(kind, ends, reserved, called) > now_)
    THEN
      RAISE EXCEPTION USING ERRCODE = 'LK003';
    END IF;
  EXCEPTION WHEN SQLSTATE 'LK003' OR lock_not_available THEN
    RETURN false;
  END;
  RETURN true;
END $f$;
