# $DR_STAGED becomes $DR_DATABASE; what had that name becomes $DR_KEPT and stays closed. Can be run again from every half-way state:
# 1. closing: the old database is marked and closed to new sessions (committed, so that sessions can be ended);
# 2. one transaction renames both, marks both and opens the new one.
dr_alone
dr_server
dr_progress swap 0 0
dr_live=$(dr_comment "$DR_DATABASE") || dr_fail unreachable 'the PostgreSQL server does not answer'
dr_staged=$(dr_comment "$DR_STAGED") || dr_fail unreachable 'the PostgreSQL server does not answer'
dr_kept=$(dr_comment "$DR_KEPT") || dr_fail unreachable 'the PostgreSQL server does not answer'
case "$dr_live" in
  "present $DR_MARK state=live"*)
    dr_fact swapped already
    exit 0 ;;
esac
case "$dr_staged" in
  "present $DR_MARK state=ready"*) ;;
  '') dr_fail refused "there is no staged database $DR_STAGED to swap in" ;;
  *) dr_fail refused "the staged database $DR_STAGED is not ready: ${dr_staged#present }" ;;
esac
dr_closing=0
dr_had=0
case "$dr_live" in
  '') ;;
  "present $DR_OURS "*' state=closing was='*) dr_had=1 ;;
  *)
    dr_had=1
    if [ "$DR_REPLACE" != 1 ]; then
      dr_fail refused "the database $DR_DATABASE exists and this run did not make it; \`replace: true\` sets it aside and keeps it"
    fi ;;
esac
dr_reopen() {
  if [ "$dr_closing" = 1 ]; then
    dr_psql postgres -v live="$DR_DATABASE" -v mark="$DR_OURS " >/dev/null 2>&1 <<'SQL'
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname),
       format('COMMENT ON DATABASE %I IS %s', datname,
         CASE w WHEN '-' THEN 'NULL' ELSE quote_literal(convert_from(decode(w, 'hex'), 'UTF8')) END)
  FROM pg_database, substring(shobj_description(oid, 'pg_database') FROM ' state=closing was=([0-9a-f]*|-)$') AS w
 WHERE datname = :'live' AND starts_with(shobj_description(oid, 'pg_database'), :'mark') AND w IS NOT NULL \gexec
SQL
  fi
}
if [ "$dr_had" = 1 ]; then
  if [ -n "$dr_kept" ]; then dr_fail refused "$DR_KEPT exists already: ${dr_kept#present }"; fi
  dr_prepared=$(dr_psql postgres -v live="$DR_DATABASE" 2>"$dr_folder/said" <<'SQL'
SELECT count(*) FROM pg_prepared_xacts WHERE database = :'live'
SQL
  ) || dr_fail exit_code "asking for prepared transactions: $(dr_words "$dr_folder/said")"
  if [ "$dr_prepared" != 0 ]; then
    dr_fail refused "$DR_DATABASE holds $dr_prepared prepared transaction(s) (pg_prepared_xacts): commit or roll them back first"
  fi
  # Only a failure opens it again; a crash leaves it closed and marked, and the next call goes on.
  dr_closing=1
  dr_at_end dr_reopen
  case "$dr_live" in
    "present $DR_OURS "*' state=closing was='*) ;;
    *)
      dr_do "closing $DR_DATABASE" postgres -v live="$DR_DATABASE" -v mark="$DR_MARK state=closing was=" <<'SQL'
BEGIN;
SELECT format('COMMENT ON DATABASE %I IS %L', datname,
         :'mark' || coalesce(encode(convert_to(shobj_description(oid, 'pg_database'), 'UTF8'), 'hex'), '-'))
  FROM pg_database WHERE datname = :'live' \gexec
ALTER DATABASE :"live" ALLOW_CONNECTIONS false;
COMMIT;
SQL
      ;;
  esac
fi
dr_try=0
while :; do
  dr_do 'ending sessions' postgres -v live="$DR_DATABASE" -v staged="$DR_STAGED" <<'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'live', :'staged') AND pid <> pg_backend_pid()
SQL
  if dr_psql postgres -v live="$DR_DATABASE" -v staged="$DR_STAGED" -v kept="$DR_KEPT" -v had="$dr_had" -v mark="$DR_MARK" \
    >/dev/null 2>"$dr_folder/said" <<'SQL'
SELECT set_config('dr.live', :'live', false), set_config('dr.staged', :'staged', false);
BEGIN;
\if :had
-- Settings and grants belong to the old database's identity, not to its name.
DO $dr$
DECLARE
  old oid := (SELECT oid FROM pg_database WHERE datname = current_setting('dr.live'));
  staged text := current_setting('dr.staged');
  setting record;
  grant_ record;
  words text;
BEGIN
  FOR setting IN
    SELECT r.rolname, s.setrole, split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value
      FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c
     WHERE s.setdatabase = old
  LOOP
    IF lower(setting.name) IN ('local_preload_libraries', 'search_path', 'session_preload_libraries',
                               'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories') THEN
      -- Stored as a list of identifiers: each is one value.
      SELECT coalesce(string_agg(quote_literal(
               CASE WHEN m[1] LIKE '"%' THEN replace(substr(m[1], 2, length(m[1]) - 2), '""', '"') ELSE lower(m[1]) END),
               ', ' ORDER BY n), '''''')
        INTO words FROM regexp_matches(setting.value, '("(?:[^"]|"")*"|[^\s,"]+)', 'g') WITH ORDINALITY AS t(m, n);
    ELSE
      words := quote_literal(setting.value);
    END IF;
    IF setting.setrole = 0 THEN
      EXECUTE format('ALTER DATABASE %I SET %I TO %s', staged, setting.name, words);
    ELSIF setting.rolname IS NOT NULL THEN
      EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I TO %s', setting.rolname, staged, setting.name, words);
    END IF;
  END LOOP;
  IF (SELECT datacl FROM pg_database WHERE oid = old) IS NOT NULL THEN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', staged);
    FOR grant_ IN
      SELECT a.privilege_type, a.is_grantable, a.grantee, r.rolname
        FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
       WHERE d.oid = old AND (a.grantee = 0 OR r.rolname IS NOT NULL)
    LOOP
      EXECUTE format('GRANT %s ON DATABASE %I TO %s', grant_.privilege_type, staged,
        CASE WHEN grant_.grantee = 0 THEN 'PUBLIC'
             ELSE quote_ident(grant_.rolname) || CASE WHEN grant_.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END END);
    END LOOP;
  END IF;
  EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT %s', staged, (SELECT datconnlimit FROM pg_database WHERE oid = old));
END
$dr$;
SELECT format('COMMENT ON DATABASE %I IS %L', datname,
         :'mark' || ' state=kept was=' || substring(shobj_description(oid, 'pg_database') FROM ' was=([0-9a-f]*|-)$'))
  FROM pg_database WHERE datname = :'live' \gexec
ALTER DATABASE :"live" RENAME TO :"kept";
\endif
ALTER DATABASE :"staged" RENAME TO :"live";
SELECT format('COMMENT ON DATABASE %I IS %L', :'live', :'mark' || ' state=live') \gexec
ALTER DATABASE :"live" ALLOW_CONNECTIONS true;
COMMIT;
SQL
  then break; fi
  grep -q 'is being accessed by other users' "$dr_folder/said" ||
    dr_fail exit_code "swapping $DR_STAGED in: $(dr_words "$dr_folder/said")"
  # The rename itself waited five seconds for sessions to go.
  dr_try=$((dr_try + 1))
  if [ "$dr_try" -ge 6 ]; then dr_fail busy "sessions keep coming back: $(dr_words "$dr_folder/said")"; fi
done
dr_closing=0
dr_fact swapped now
if [ "$dr_had" = 1 ]; then dr_fact kept "$DR_KEPT"; fi
rm -rf -- "$dr_folder"
