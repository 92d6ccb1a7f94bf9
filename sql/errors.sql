-- Helpers that refuse bad arguments. Each raises 22023 with what was given and what to give instead.

CREATE FUNCTION pawl.refuse_argument(message text, detail text, hint text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_argument(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_argument(text, text, text) IS 'Internal: raises 22023.';

CREATE FUNCTION pawl.check_name(argument text, value text, max_bytes integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value IS NULL OR value = '' THEN
        PERFORM pawl.refuse_argument(format('%s must not be %s', argument, CASE WHEN value IS NULL THEN 'null' ELSE 'empty' END),
            'It names something, and nothing is named so.', format('Give a text of 1 to %s bytes.', max_bytes));
    ELSIF octet_length(value) > max_bytes THEN
        PERFORM pawl.refuse_argument(format('%s is too long', argument), format('It has %s bytes: "%s...".', octet_length(value), left(value, 40)),
            format('Give a text of 1 to %s bytes.', max_bytes));
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_name(text, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_name(text, text, integer) IS 'Internal: refuses a name that is null, empty or too long.';

CREATE FUNCTION pawl.nearest(word text, candidates text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    candidate text;
    best text;
    best_distance integer;
    above integer[];
    line integer[];
BEGIN
    IF word IS NULL THEN
        RETURN NULL;
    END IF;
    word := left(word, 64);
    FOREACH candidate IN ARRAY candidates LOOP
        -- The Levenshtein distance, line by line.
        SELECT array_agg(i) INTO above FROM generate_series(0, length(candidate)) i;
        FOR i IN 1 .. length(word) LOOP
            line := ARRAY[i];
            FOR j IN 1 .. length(candidate) LOOP
                line := line || least(above[j + 1] + 1, line[j] + 1,
                    above[j] + CASE WHEN substr(word, i, 1) = substr(candidate, j, 1) THEN 0 ELSE 1 END);
            END LOOP;
            above := line;
        END LOOP;
        IF best IS NULL OR above[length(candidate) + 1] < best_distance THEN
            best := candidate;
            best_distance := above[length(candidate) + 1];
        END IF;
    END LOOP;
    RETURN best;
END $$;
REVOKE ALL ON FUNCTION pawl.nearest(text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.nearest(text, text[]) IS 'Internal: the candidate that a misspelt word most likely meant.';

CREATE FUNCTION pawl.check_options(options jsonb, known text[], arguments text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key text;
    near text;
BEGIN
    IF options IS NULL THEN
        RETURN;
    END IF;
    IF jsonb_typeof(options) <> 'object' THEN
        PERFORM pawl.refuse_argument('options must be a JSON object', format('It is a JSON %s.', jsonb_typeof(options)),
            'Give an object like {"key": value}, or NULL.');
    END IF;
    SELECT k INTO key FROM jsonb_object_keys(options) k WHERE k <> ALL (known) ORDER BY k LIMIT 1;
    IF key IS NOT NULL THEN
        near := pawl.nearest(key, known || arguments);
        PERFORM pawl.refuse_argument(format('unknown option "%s"', left(key, 64)),
            CASE WHEN known = '{}' THEN 'This function has no options yet.' ELSE format('It has these: %s.', array_to_string(known, ', ')) END,
            CASE WHEN near = ANY (known) THEN format('Perhaps you meant the option "%s".', near)
                ELSE format('Perhaps you meant the argument %s.', near) END);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_options(jsonb, text[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_options(jsonb, text[], text[]) IS 'Internal: refuses an option that is not known, and names the nearest.';

-- Every array of a worker's call has one element for each row.
CREATE FUNCTION pawl.refuse_lengths(VARIADIC lengths integer[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pawl.refuse_argument('the arrays of one call must have equal lengths',
        format('Their lengths are %s.', array_to_string(lengths, ', ', 'null')), 'Give one element for each row in every array.');
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_lengths(integer[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_lengths(integer[]) IS 'Internal: says that the arrays of one call have different lengths.';

-- They lock, and then look with a later snapshot at what others have committed.
CREATE FUNCTION pawl.check_isolation(routine text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction', MESSAGE = format('pawl.%s runs in READ COMMITTED only', routine),
            DETAIL = format('This transaction is %s.', upper(current_setting('transaction_isolation'))),
            HINT = 'Leave default_transaction_isolation of the worker''s sessions as read committed.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_isolation(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_isolation(text) IS 'Internal: refuses any isolation level but READ COMMITTED.';
