-- `p_how`: 0 release, 1 release and leave what is reserved, 2 remove. `p_waited`: for how long a request of this
-- client has waited that is about to claim; -1: there is none.
CREATE OR REPLACE FUNCTION {schema}.end_{v}(p_keys text[], p_id text, p_client text, p_how int, p_waited bigint)
RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  gate bigint; k text; h record; first_ record; now_ bigint; ended bool := false; is_next bool;
BEGIN
  IF cardinality(p_keys) = 1 THEN
    gate := hashtextextended('{schema}:' || p_keys[1], 0);
    IF NOT pg_try_advisory_xact_lock(gate) THEN PERFORM {schema}.gate_{v}(gate); END IF;
  ELSE
    FOR gate IN SELECT DISTINCT hashtextextended('{schema}:' || key, 0) FROM unnest(p_keys) key ORDER BY 1 LOOP
      PERFORM {schema}.gate_{v}(gate);
    END LOOP;
  END IF;
  now_ := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
  FOREACH k IN ARRAY p_keys LOOP
    IF p_how = 1 THEN
      UPDATE {schema}.entry SET ends = least(ends, now_), reserved = abs(reserved)
        WHERE key = k AND kind = 'h' AND id = p_id AND abs(reserved) > now_ AND ends > now_ RETURNING * INTO h;
      ended := ended OR FOUND;
      DELETE FROM {schema}.entry WHERE key = k AND kind = 'h' AND id = p_id AND reserved <= now_ RETURNING * INTO h;
      ended := ended OR FOUND AND h.ends > now_;
    ELSE
      DELETE FROM {schema}.entry WHERE key = k AND kind = 'h' AND id = p_id RETURNING * INTO h;
      IF FOUND THEN
        ended := ended OR greatest(h.ends, h.reserved) > now_;
        IF p_how = 2 AND h.ends > now_ AND h.client <> p_client THEN
          INSERT INTO {schema}.entry (key, kind, id, mode, ends) VALUES (k, 's', p_id, 3, h.ends)
            ON CONFLICT (key, kind, id) DO NOTHING;
          PERFORM pg_notify('locks_' || h.client, k);
        END IF;
      END IF;
    END IF;
    CONTINUE WHEN NOT EXISTS (SELECT FROM {schema}.entry WHERE key = k);
    -- The usual case: nothing is held any more, and the first who waits is called.
    SELECT *, count(*) FILTER (WHERE kind = 'h' OR kind = 'w' AND id = p_id) OVER () AS others INTO first_
      FROM {schema}.entry WHERE key = k ORDER BY kind IN ('w', 'n') DESC, since, kind, id LIMIT 1;
    IF p_waited < 0 AND first_.others = 0 AND first_.kind = 'w' AND first_.mode = 0 AND first_.called = 0
      AND first_.ends > now_
    THEN
      UPDATE {schema}.entry SET called = now_ WHERE key = k AND kind = 'w' AND id = first_.id;
      PERFORM pg_notify('locks_' || first_.client, k);
      CONTINUE;
    END IF;
    -- A place of this acquisition has no use any more.
    DELETE FROM {schema}.entry WHERE key = k
      AND (kind = 'w' AND id = p_id OR {schema}.over_{v}(kind, ends, reserved, called) <= now_);
    SELECT * INTO first_ FROM {schema}.entry WHERE key = k AND kind IN ('w', 'n') ORDER BY since, kind, id LIMIT 1;
    is_next := p_waited >= 0 AND (first_.since IS NULL OR now_ - p_waited < first_.since)
      AND NOT EXISTS (SELECT FROM {schema}.entry WHERE key = k AND kind = 'h');
    IF is_next THEN
      INSERT INTO {schema}.entry (key, kind, id, since, ends, client)
        VALUES (k, 'n', p_client, now_ - p_waited, now_ + 250000, p_client)
        ON CONFLICT (key, kind, id) DO UPDATE SET since = excluded.since, ends = excluded.ends;
    END IF;
    -- A client's own place is called all the same: what is about to claim may be another request.
    IF NOT is_next THEN
      PERFORM {schema}.summon_{v}(k, now_, '');
    ELSIF first_.client = p_client AND first_.kind = 'w' AND first_.called = 0 THEN
      UPDATE {schema}.entry SET called = now_ WHERE key = k AND kind = 'w' AND id = first_.id;
      PERFORM pg_notify('locks_' || p_client, k);
    END IF;
  END LOOP;
  RETURN ended;
END $f$;
