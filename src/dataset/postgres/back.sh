# Takes a swap back: the restored database gets its staged name again (nothing written into it is lost), what was kept is live again.
dr_alone
dr_server
dr_live=$(dr_comment "$DR_DATABASE") || dr_fail unreachable 'the PostgreSQL server does not answer'
dr_staged=$(dr_comment "$DR_STAGED") || dr_fail unreachable 'the PostgreSQL server does not answer'
dr_kept=$(dr_comment "$DR_KEPT") || dr_fail unreachable 'the PostgreSQL server does not answer'
case "$dr_live" in
  "present $DR_OURS "*' state=live'*) ;;
  *)
    case "$dr_staged" in
      "present $DR_OURS "*' state=ready'*) dr_fact back already; exit 0 ;;
    esac
    dr_fail refused "$DR_DATABASE was not put in place by this step: ${dr_live#present }" ;;
esac
if [ -n "$dr_staged" ]; then dr_fail refused "$DR_STAGED exists already: ${dr_staged#present }"; fi
dr_had=0
case "$dr_kept" in
  '') ;;
  "present $DR_OURS "*' state=kept was='*) dr_had=1 ;;
  *) dr_fail refused "$DR_KEPT was not kept by this step: ${dr_kept#present }" ;;
esac
# Open again if the rename fails; after a crash it stays closed until the next call.
dr_closed=1
dr_reopen() {
  if [ "$dr_closed" = 1 ]; then
    dr_psql postgres -v live="$DR_DATABASE" >/dev/null 2>&1 <<'SQL'
ALTER DATABASE :"live" ALLOW_CONNECTIONS true
SQL
  fi
}
dr_at_end dr_reopen
dr_do "closing $DR_DATABASE" postgres -v live="$DR_DATABASE" <<'SQL'
ALTER DATABASE :"live" ALLOW_CONNECTIONS false
SQL
dr_try=0
while :; do
  dr_do 'ending sessions' postgres -v live="$DR_DATABASE" -v kept="$DR_KEPT" <<'SQL'
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'live', :'kept') AND pid <> pg_backend_pid()
SQL
  if dr_psql postgres -v live="$DR_DATABASE" -v staged="$DR_STAGED" -v kept="$DR_KEPT" -v had="$dr_had" \
    >/dev/null 2>"$dr_folder/said" <<'SQL'
BEGIN;
SELECT format('COMMENT ON DATABASE %I IS %L', datname, regexp_replace(shobj_description(oid, 'pg_database'), ' state=live$', ' state=ready'))
  FROM pg_database WHERE datname = :'live' \gexec
ALTER DATABASE :"live" RENAME TO :"staged";
ALTER DATABASE :"staged" ALLOW_CONNECTIONS true;
\if :had
ALTER DATABASE :"kept" RENAME TO :"live";
SELECT format('COMMENT ON DATABASE %I IS %s', datname,
         CASE w WHEN '-' THEN 'NULL' ELSE quote_literal(convert_from(decode(w, 'hex'), 'UTF8')) END)
  FROM pg_database, substring(shobj_description(oid, 'pg_database') FROM ' was=([0-9a-f]*|-)$') AS w
 WHERE datname = :'live' \gexec
ALTER DATABASE :"live" ALLOW_CONNECTIONS true;
\endif
COMMIT;
SQL
  then break; fi
  grep -q 'is being accessed by other users' "$dr_folder/said" ||
    dr_fail exit_code "taking the swap back: $(dr_words "$dr_folder/said")"
  dr_try=$((dr_try + 1))
  if [ "$dr_try" -ge 6 ]; then dr_fail busy "sessions keep coming back: $(dr_words "$dr_folder/said")"; fi
done
dr_closed=0
dr_fact back now
rm -rf -- "$dr_folder"
