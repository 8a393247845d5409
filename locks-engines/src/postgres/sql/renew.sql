-- For each renewal an id, a lease, whether its age begins again, and how many of the keys are its own.
-- Answers: 1 kept, 0 forgotten, 2 stolen, 3 evicted, 4 held for too long, 5 expired.
CREATE OR REPLACE FUNCTION {schema}.renew_{v}(p_ids text[], p_leases bigint[], p_refresh bool[], p_counts int[], p_keys text[])
RETURNS int[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  gate bigint; now_ bigint; own text[]; at_ int := 0; answers int[] := '{}'; answer int; kept int; i int;
BEGIN
  -- A thief decides by the age, so ages change with the gate in hand only.
  IF true = ANY (p_refresh) THEN
    FOR gate IN SELECT DISTINCT hashtextextended('{schema}:' || key, 0) FROM unnest(p_keys) key ORDER BY 1 LOOP
      PERFORM {schema}.gate_{v}(gate);
    END LOOP;
  END IF;
  -- In the order of the keys, as claims remove them.
  PERFORM FROM {schema}.entry WHERE key = ANY (p_keys) AND kind = 'h' AND id = ANY (p_ids) ORDER BY key, id FOR UPDATE;
  now_ := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
  FOR i IN 1..cardinality(p_ids) LOOP
    own := p_keys[at_ + 1 : at_ + p_counts[i]];
    at_ := at_ + p_counts[i];
    SELECT count(*) FILTER (WHERE e.kind = 'h'), coalesce(min(CASE
        WHEN e.kind = 's' THEN e.mode
        WHEN e.most > 0 AND e.most <= now_ THEN 4
        WHEN e.ends <= now_ THEN 5 END), 1)
      INTO kept, answer FROM {schema}.entry e WHERE e.key = ANY (own) AND e.kind IN ('h', 's') AND e.id = p_ids[i];
    IF answer = 1 AND kept < p_counts[i] THEN answer := 0; END IF;
    IF answer = 1 THEN
      UPDATE {schema}.entry SET ends = CASE WHEN most > 0 THEN least(now_ + p_leases[i], most) ELSE now_ + p_leases[i] END,
        since = CASE WHEN p_refresh[i] THEN now_ ELSE since END
        WHERE key = ANY (own) AND kind = 'h' AND id = p_ids[i];
    END IF;
    answers := answers || answer;
  END LOOP;
  RETURN answers;
END $f$;
