-- 1,000 tenants: a schema each, with a table and the session that is read.
DO $$
DECLARE
    tenant text;
BEGIN
    FOR n IN 0..999 LOOP
        tenant := format('tenant_%s', lpad(n::text, 4, '0'));
        EXECUTE format('CREATE SCHEMA %I', tenant);
        EXECUTE format('CREATE TABLE %I.session_states (LIKE public.session_states INCLUDING ALL)',
                       tenant);
        EXECUTE format('INSERT INTO %I.session_states (app_name, user_id, session_id, state) '
                       'SELECT app_name, user_id, session_id, state FROM public.session_states '
                       'WHERE session_id = ''session-00000''', tenant);
        IF n % 50 = 49 THEN
            COMMIT; -- each table takes locks until then
        END IF;
    END LOOP;
END
$$;

VACUUM ANALYZE;
