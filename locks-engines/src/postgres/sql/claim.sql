-- Answers: 1 and the token; 0 refused, whether placed, when to ask again, and for each entry in the way
-- eight values as `list_{v}` has them, with the number of its key; 2 and for how long nothing is granted;
-- 3 and the number of a key that has the other kind of holds; 6, the token, and those who were robbed for it.
CREATE OR REPLACE FUNCTION {schema}.claim_{v}(
  p_keys text[], p_id text, p_client text, p_mode bigint, p_note text, p_lease bigint, p_steal bigint,
  p_least bigint, p_most bigint, p_waited bigint, p_keep bigint, p_longest bigint,
  p_fresh bool, p_copied bool, p_grace bigint
) RETURNS text[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  n int := cardinality(p_keys);
  gate bigint; gates bigint[]; taken int[] := '{}'; now_ bigint; e record; closed bigint; until_ bigint; reserved_ bigint;
  k text; w record; mine bigint; used int; ahead int; need int; due bigint; again bigint; at_ int; grace bigint;
  refused bool := false; answer text[] := '{}'; found text[];
  from_ text[] := '{}'; victims text[] := '{}'; number bigint;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'LK002', MESSAGE = 'locks need transactions that are READ COMMITTED';
  END IF;
  IF n = 1 THEN
    gate := hashtextextended('{schema}:' || p_keys[1], 0);
    IF NOT pg_try_advisory_xact_lock(gate) THEN PERFORM {schema}.gate_{v}(gate); END IF;
    IF NOT pg_try_advisory_xact_lock_shared(gate # 1) THEN taken := '{1}'; END IF;
  ELSE
    SELECT array_agg(hashtextextended('{schema}:' || key, 0)) INTO gates FROM unnest(p_keys) key;
    FOR gate IN SELECT DISTINCT g FROM unnest(gates) g ORDER BY g LOOP PERFORM {schema}.gate_{v}(gate); END LOOP;
    FOR at_ IN 1..n LOOP
      IF NOT pg_try_advisory_xact_lock_shared(gates[at_] # 1) THEN taken := taken || at_; END IF;
    END LOOP;
  END IF;
  -- Both after the gate: from here on nobody else changes what is held of these keys.
  now_ := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
  SELECT fresh, longest, started, xmin::text = writer AS own INTO e FROM {schema}.epoch;
  IF e.own AND e.started = pg_postmaster_start_time() AND e.longest = p_longest AND e.fresh <= now_ + p_longest
  THEN closed := e.fresh - now_;
  ELSE closed := {schema}.epoch_{v}(p_longest, p_fresh, p_copied, now_) - now_;
  END IF;
  until_ := now_ + CASE WHEN p_most > 0 AND p_most < p_lease THEN p_most ELSE p_lease END;
  -- Negative: it keeps thieves off, and is a reservation only if the hold is released with one.
  reserved_ := CASE WHEN p_least > 0 THEN now_ + p_least WHEN p_least < 0 THEN p_least - now_ ELSE 0 END;

  -- The usual cases of one key.
  IF n = 1 AND closed <= 0 AND taken = '{}' THEN
    IF NOT EXISTS (SELECT FROM {schema}.entry WHERE key = p_keys[1]) THEN
      number := nextval('{schema}.token');
      INSERT INTO {schema}.entry VALUES (p_keys[1], 'h', p_id, number, p_mode, now_, until_, reserved_,
        CASE WHEN p_most > 0 THEN now_ + p_most ELSE 0 END, 0, p_client, p_note);
    ELSIF p_mode = 0 AND p_waited >= 0 THEN
      -- Nothing held, and a place of this request in front of all others.
      SELECT count(*) FILTER (WHERE kind = 'h' OR kind <> 's' AND mode > 0 OR kind = 'n' AND id = p_client) AS others,
        min(since) FILTER (WHERE kind = 'w' AND id = p_id) AS mine,
        min(since) FILTER (WHERE kind IN ('w', 'n') AND id <> p_id) AS first_
        INTO w FROM {schema}.entry WHERE key = p_keys[1];
      IF w.others = 0 AND w.mine < coalesce(w.first_, now_) THEN
        number := nextval('{schema}.token');
        UPDATE {schema}.entry SET kind = 'h', token = number, mode = 0, since = now_, ends = until_,
          reserved = reserved_, most = CASE WHEN p_most > 0 THEN now_ + p_most ELSE 0 END, called = 0,
          client = p_client, note = p_note
          WHERE key = p_keys[1] AND kind = 'w' AND id = p_id;
      END IF;
    END IF;
    IF number IS NOT NULL THEN
      IF number % 32 = 0 THEN PERFORM {schema}.sweep_{v}(p_keys[1], now_); END IF;
      RETURN ARRAY['1', number::text];
    END IF;
  END IF;

  FOREACH k IN ARRAY p_keys LOOP
    -- The clock was ahead. What began later than now is taken to have begun now, and no lease is longer than all are.
    UPDATE {schema}.entry SET since = least(since, now_), called = least(called, now_),
      ends = least(ends - greatest(since - now_, 0), CASE WHEN kind = 'h' THEN now_ + p_longest END),
      most = CASE WHEN most > 0 THEN most - greatest(since - now_, 0) ELSE 0 END,
      reserved = CASE WHEN kind = 'h' THEN reserved - sign(reserved)::int * greatest(since - now_, 0) ELSE reserved END
      WHERE key = k AND (since > now_ OR called > now_ OR kind = 'h' AND ends > now_ + p_longest);
    DELETE FROM {schema}.entry WHERE key = k AND {schema}.over_{v}(kind, ends, reserved, called) <= now_;
  END LOOP;
  -- Asked before, and the answer was lost: the same answer.
  SELECT count(*), max(token) INTO used, number FROM {schema}.entry
    WHERE key = ANY (p_keys) AND kind = 'h' AND id = p_id AND ends > now_;
  IF used = n THEN RETURN ARRAY['1', number::text]; END IF;
  SELECT min(array_position(p_keys, key)) INTO at_ FROM {schema}.entry
    WHERE key = ANY (p_keys) AND kind IN ('h', 'w') AND id <> p_id AND (mode > 0) <> (p_mode > 0);
  IF at_ IS NOT NULL THEN RETURN ARRAY['3', at_::text]; END IF;
  IF closed > 0 THEN RETURN ARRAY['2', closed::text]; END IF;

  FOR at_ IN 1..n LOOP
    k := p_keys[at_];
    due := NULL;
    SELECT count(*), count(*) FILTER (WHERE p_mode <> -1 OR mode = 0) INTO used, need FROM {schema}.entry
      WHERE key = k AND kind = 'h' AND id <> p_id;
    -- So many of them have to go.
    IF p_mode > 0 THEN need := greatest(used + 1 - p_mode, 0); END IF;
    IF at_ = ANY (taken) THEN
      -- By a transaction, of whose end nobody hears.
      due := now_ + 250000;
      answer := answer || ARRAY[at_::text, 'h', repeat('0', 32), '0', '0', '-1', '250000', 'a transaction'];
    ELSIF need > 0 THEN
      SELECT coalesce(array_agg(v.id), '{}') INTO found FROM (
        SELECT id FROM {schema}.entry WHERE key = k AND kind = 'h' AND id <> p_id AND (p_mode <> -1 OR mode = 0)
          AND p_steal >= 0 AND ends > now_ AND abs(reserved) <= now_ AND since + p_steal <= now_
        ORDER BY since, id LIMIT need) v;
      IF cardinality(found) = need THEN
        from_ := from_ || array_fill(k, ARRAY[need]);
        victims := victims || found;
      ELSE
        -- When so many of them are over, or can be stolen.
        SELECT CASE WHEN p_steal >= 0 AND ends > now_
          THEN least(greatest(ends, reserved), greatest(since + p_steal, abs(reserved))) ELSE greatest(ends, reserved) END
          INTO due FROM {schema}.entry
          WHERE key = k AND kind = 'h' AND id <> p_id AND (p_mode <> -1 OR mode = 0)
          ORDER BY 1 OFFSET need - 1 LIMIT 1;
        FOR w IN SELECT * FROM {schema}.entry
          WHERE key = k AND kind = 'h' AND id <> p_id AND (p_mode <> -1 OR mode = 0)
        LOOP
          answer := answer || ARRAY[at_::text, CASE WHEN w.ends > now_ THEN 'h' ELSE 'r' END, w.id, w.token::text,
            w.mode::text, (now_ - w.since)::text, (CASE WHEN w.ends > now_ THEN w.ends ELSE w.reserved END - now_)::text,
            w.note];
        END LOOP;
      END IF;
    ELSIF p_waited >= 0 THEN
      -- Nothing is held in its way: but does somebody wait for longer?
      SELECT since INTO mine FROM {schema}.entry WHERE key = k AND kind = 'w' AND id = p_id;
      mine := coalesce(mine, now_ - p_waited);
      ahead := 0;
      FOR w IN SELECT * FROM {schema}.entry
        WHERE key = k AND (kind = 'w' AND id <> p_id OR kind = 'n' AND id <> p_client)
          AND (since < mine OR since = mine AND (kind = 'n' OR id < p_id))
        ORDER BY since, kind, id
      LOOP
        ahead := ahead + 1;
        IF p_mode > 0 AND (used + ahead + 1 > p_mode OR w.kind = 'w' AND used + ahead > w.mode)
          OR p_mode <= 0 AND (p_mode = 0 OR w.mode = 0)
        THEN
          IF due IS NULL THEN grace := w.reserved; END IF;
          due := least(due, {schema}.over_{v}(w.kind, w.ends, w.reserved, w.called));
        END IF;
      END LOOP;
      IF due IS NOT NULL THEN
        -- The head of the queue may be gone: called, it has a moment to show that it is not.
        PERFORM {schema}.summon_{v}(k, now_, p_id);
        due := least(due, now_ + 250000 + grace);
      END IF;
    END IF;
    refused := refused OR due IS NOT NULL;
    again := greatest(again, due);
  END LOOP;

  IF refused THEN
    IF p_waited >= 0 AND p_keep > 0 THEN
      FOREACH k IN ARRAY p_keys LOOP
        INSERT INTO {schema}.entry VALUES (k, 'w', p_id, 0, p_mode, now_ - p_waited, now_ + p_keep, p_grace, 0, 0, p_client,
          p_note) ON CONFLICT (key, kind, id) DO UPDATE SET ends = excluded.ends, reserved = p_grace, called = 0;
        DELETE FROM {schema}.entry WHERE key = k AND kind = 'n' AND id = p_client;
      END LOOP;
    END IF;
    RETURN ARRAY['0', CASE WHEN p_waited >= 0 AND p_keep > 0 THEN '1' ELSE '0' END,
      greatest(again - now_, 0)::text] || answer;
  END IF;

  FOR at_ IN 1..cardinality(victims) LOOP
    DELETE FROM {schema}.entry WHERE key = from_[at_] AND kind = 'h' AND id = victims[at_] RETURNING * INTO w;
    INSERT INTO {schema}.entry (key, kind, id, mode, ends) VALUES (w.key, 's', w.id, 2, w.ends)
      ON CONFLICT (key, kind, id) DO NOTHING;
    PERFORM pg_notify('locks_' || w.client, w.key);
    answer := answer || ARRAY[array_position(p_keys, w.key)::text, 'h', w.id, w.token::text, w.mode::text,
      (now_ - w.since)::text, (w.ends - now_)::text, w.note];
  END LOOP;
  number := nextval('{schema}.token');
  FOREACH k IN ARRAY p_keys LOOP
    DELETE FROM {schema}.entry WHERE key = k AND (kind = 'w' AND id = p_id OR kind = 'n' AND id = p_client);
    INSERT INTO {schema}.entry VALUES (k, 'h', p_id, number, p_mode, now_, until_, reserved_,
      CASE WHEN p_most > 0 THEN now_ + p_most ELSE 0 END, 0, p_client, p_note)
      ON CONFLICT (key, kind, id) DO UPDATE SET token = excluded.token, mode = excluded.mode, since = excluded.since,
        ends = excluded.ends, reserved = excluded.reserved, most = excluded.most;
    -- Others may fit beside it.
    IF p_mode <> 0 AND EXISTS (SELECT FROM {schema}.entry WHERE key = k AND kind = 'w') THEN PERFORM {schema}.summon_{v}(k, now_, ''); END IF;
  END LOOP;
  IF number % 32 = 0 THEN PERFORM {schema}.sweep_{v}(p_keys[n], now_); END IF;
  IF victims <> '{}' THEN RETURN ARRAY['6', number::text] || answer; END IF;
  RETURN ARRAY['1', number::text];
END $f$;
