# The clients of the server's version, none of the host's PG* settings.
set -f
for dr_one in $(export -p); do
  # A word of a value may look like such a name, and what has that name goes then: nothing of that kind is the script's own yet.
  case "$dr_one" in PG*=*) dr_one=${dr_one%%=*}; case "$dr_one" in *[!A-Z_]*) ;; *) unset "$dr_one" ;; esac ;; esac
done
set +f
PATH=/usr/lib/postgresql/$DR_VERSION/bin:/usr/pgsql-$DR_VERSION/bin:$PATH
PGAPPNAME=dr-plan PGPASSFILE=/dev/null/none PGSERVICEFILE=/dev/null/none PGPORT=$DR_PORT PGCONNECT_TIMEOUT=10 PGCLIENTENCODING=UTF8
PGOPTIONS='-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off'
export PATH PGAPPNAME PGPASSFILE PGSERVICEFILE PGPORT PGCONNECT_TIMEOUT PGCLIENTENCODING PGOPTIONS
if [ -n "$DR_SOCKET" ]; then PGHOST=$DR_SOCKET; export PGHOST; fi
dr_folder=${DR_FOLDER:-$(getent passwd "$(id -u)" | cut -d: -f6)/dr-plan}/$DR_RUN-$DR_STEP

# dr_psql DATABASE [OPTIONS]: statements on standard input, stops at the first error.
dr_psql() {
  dr_base=$1
  shift
  psql -X -q -At -w -v ON_ERROR_STOP=1 "$@" -d "$dr_base"
}
# dr_comment NAME: nothing when there is no such database, else `present` and its comment.
dr_comment() {
  dr_psql postgres -v name="$1" <<'SQL'
SELECT 'present ' || coalesce(regexp_replace(shobj_description(oid, 'pg_database'), E'[\\n\\r]', ' ', 'g'), '')
  FROM pg_database WHERE datname = :'name'
SQL
}
# One part of a restore at a time, whatever attempt it belongs to. (fd 9 belongs to whoever keeps this job.)
dr_alone() {
  mkdir -p -- "$dr_folder"
  chmod 700 -- "$dr_folder"
  exec 7>"$dr_folder/lock"
  # An earlier attempt that was killed may need a moment to be gone.
  flock -w 10 7 || dr_fail busy "another job of this step is at work (it holds $dr_folder/lock)"
}
# A server that can be changed and is new enough for what follows.
dr_server() {
  command -v psql >/dev/null || dr_fail not_found "this host has no PostgreSQL client: add the package postgresql-client-$DR_VERSION"
  dr_answer=$(dr_psql postgres 2>"$dr_folder/said" <<'SQL'
SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery()
SQL
  ) || dr_fail unreachable "the PostgreSQL server does not answer: $(dr_words "$dr_folder/said")"
  dr_major=${dr_answer%%|*}
  if [ "${dr_answer#*|}" = t ]; then dr_fail refused 'the PostgreSQL server is a standby: nothing can be restored into it'; fi
  if [ "$dr_major" -lt 13 ]; then dr_fail refused "the PostgreSQL server is version $dr_major; this needs 13 or newer"; fi
}
dr_do() {
  # dr_do WORDS: statements on standard input; what went wrong is said with what was being done.
  dr_doing=$1
  shift
  dr_psql "$@" >/dev/null 2>"$dr_folder/said" || dr_fail exit_code "$dr_doing: $(dr_words "$dr_folder/said")"
}
# Roles that this step made for the length of a restore.
dr_drop_roles() {
  dr_do 'dropping the roles made for the restore' postgres -v mark="$DR_OURS " <<'SQL'
SELECT format('DROP ROLE %I', rolname) FROM pg_roles
 WHERE starts_with(shobj_description(oid, 'pg_authid'), :'mark') AND shobj_description(oid, 'pg_authid') LIKE '% state=temporary' \gexec
SQL
}
# dr_drop_staged: drops the staged database when this step made it.
dr_drop_staged() {
  dr_staged=$(dr_comment "$DR_STAGED") || dr_fail unreachable 'the PostgreSQL server does not answer'
  case "$dr_staged" in
    '') ;;
    "present $DR_OURS "*) dr_do "dropping $DR_STAGED" postgres -v name="$DR_STAGED" <<'SQL'
DROP DATABASE :"name" WITH (FORCE)
SQL
      ;;
    'present ')
      # Made by us a moment before a crash, if it is still empty: the name holds this run's id.
      dr_tables=$(dr_psql "$DR_STAGED" 2>/dev/null <<'SQL'
SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'm', 'v', 'S')
SQL
      ) || dr_tables=unknown
      if [ "$dr_tables" != 0 ]; then
        dr_fail refused "the database $DR_STAGED carries no mark of this step and is not empty ($dr_tables tables): it is not touched"
      fi
      dr_do "dropping $DR_STAGED" postgres -v name="$DR_STAGED" <<'SQL'
DROP DATABASE :"name" WITH (FORCE)
SQL
      ;;
    *) dr_fail refused "the database $DR_STAGED was not made by this step: ${dr_staged#present }" ;;
  esac
  dr_drop_roles
}
