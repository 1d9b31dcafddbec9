# Restores a backup into $DR_STAGED. Nothing is applied before the whole backup was fetched, opened and read to its end.
dr_phase prepare
dr_alone
dr_forget() {
  dr_gpg_forget "$dr_folder/opened"
  rm -f -- "$dr_folder"/opened* "$dr_folder"/facts* "$dr_folder"/said* "$dr_folder"/status*
}
dr_forget
dr_at_end dr_forget
dr_server
if [ "$dr_major" -ne "$DR_VERSION" ]; then dr_note "the server is PostgreSQL $dr_major, the inventory says $DR_VERSION"; fi
dr_live=$(dr_comment "$DR_DATABASE") || dr_fail unreachable 'the PostgreSQL server does not answer'
case "$dr_live" in
  '') ;;
  "present $DR_MARK state=live"*) dr_fail refused "$DR_DATABASE was restored from this backup by this step already" ;;
  *) if [ "$DR_REPLACE" != 1 ]; then
      dr_fail refused "the database $DR_DATABASE exists and this run did not make it; \`replace: true\` sets it aside and keeps it"
    fi ;;
esac
dr_drop_staged

dr_data=$(dr_psql postgres 2>/dev/null <<'SQL'
SHOW data_directory
SQL
) || dr_fail unreachable 'the PostgreSQL server does not answer'
dr_need=$((DR_BYTES / 1024 * 3 + 65536))
for dr_one in "$dr_folder" "$dr_data"; do
  dr_has=$(dr_free "$dr_one")
  if [ "$dr_has" -lt "$dr_need" ]; then
    dr_fail other "no room: $dr_one has $dr_has kB free, and three times the backup and some are $dr_need kB"
  fi
done

dr_obtain "$dr_folder"

dr_phase inspect
dr_facts=$dr_folder/facts
case "$dr_form" in
  custom)
    # Read to the end; listing its table of contents alone succeeds on half a file.
    (
      dr_one=0
      pg_restore -f - "$dr_dump" 2>"$dr_folder/said" || dr_one=$?
      echo "$dr_one" >"$dr_folder/status"
    ) | wc -c >"$dr_folder/status.bytes"
    dr_plain=$(cat "$dr_folder/status.bytes")
    if [ "$(cat "$dr_folder/status")" != 0 ]; then
      dr_fail damaged "the dump cannot be read to its end: $(dr_words "$dr_folder/said")"
    fi
    pg_restore --create --schema-only -f "$dr_folder/opened.schema" "$dr_dump" 2>"$dr_folder/said" ||
      dr_fail damaged "the dump's schema cannot be read: $(dr_words "$dr_folder/said")"
    awk "$DR_FACTS" <"$dr_folder/opened.schema" >"$dr_facts"
    rm -f -- "$dr_folder/opened.schema" ;;
  plain)
    awk "$DR_FACTS" <"$dr_dump" >"$dr_facts"
    dr_plain=$(dr_size "$dr_dump")
    if grep -q '^cluster' "$dr_facts"; then dr_fail refused 'this is a dump of a whole cluster (pg_dumpall): take the one of the database'; fi
    if ! grep -q '^complete' "$dr_facts"; then
      dr_fail damaged 'the dump is cut: its last line, `PostgreSQL database dump complete`, is missing'
    fi ;;
  cluster) dr_fail refused 'this is a dump of a whole cluster (pg_dumpall): take the one of the database' ;;
  *) dr_fail damaged "what is inside the backup is no PostgreSQL dump: $dr_form ($(head -c 16 <"$dr_dump" | od -An -tx1 | tr -d '\n'))" ;;
esac
dr_fact plain_bytes "$dr_plain"
if [ -n "$DR_FORM" ] && [ "$dr_form" != "$DR_FORM" ]; then dr_note "the dump is in $dr_form format, the inventory says $DR_FORM; content decides"; fi
dr_value() { sed -n "s/^$1 //p" "$dr_facts" | head -n 1; }
dr_from=$(dr_value from)
dr_by=$(dr_value by)
dr_fact dumped_from "${dr_from:-unknown}"
dr_fact dumped_by "${dr_by:-unknown}"
for dr_one in "$dr_from" "$dr_by"; do
  case "${dr_one%%[!0-9]*}" in
    '') ;;
    *) if [ "${dr_one%%[!0-9]*}" -gt "$dr_major" ]; then
        dr_fail refused "the dump was made with PostgreSQL $dr_one, newer than this server ($dr_major): install that version"
      fi ;;
  esac
done
dr_missing=''
while read -r dr_word dr_name; do
  if [ "$dr_word" != extension ]; then continue; fi
  dr_has=$(dr_psql postgres -v name="$dr_name" 2>"$dr_folder/said" <<'SQL'
SELECT count(*) FROM pg_available_extensions WHERE name = :'name'
SQL
  ) || dr_fail exit_code "asking for extension $dr_name: $(dr_words "$dr_folder/said")"
  if [ "$dr_has" = 0 ]; then dr_missing="$dr_missing $dr_name"; fi
done <"$dr_facts"
if [ -n "$dr_missing" ]; then
  dr_fail not_found "the dump needs extensions that this host does not have:$dr_missing (on Debian: packages postgresql-$dr_major-NAME)"
fi
: >"$dr_folder/facts.missing"
while read -r dr_word dr_name; do
  if [ "$dr_word" != role ]; then continue; fi
  dr_has=$(dr_psql postgres -v name="$dr_name" 2>"$dr_folder/said" <<'SQL'
SELECT count(*) FROM pg_roles WHERE rolname = :'name'
SQL
  ) || dr_fail exit_code "asking for role $dr_name: $(dr_words "$dr_folder/said")"
  if [ "$dr_has" = 0 ] && [ "$dr_name" != "$DR_OWNER" ]; then printf '%s\n' "$dr_name" >>"$dr_folder/facts.missing"; fi
done <"$dr_facts"
if [ -s "$dr_folder/facts.missing" ]; then
  dr_names=$(paste -sd ' ' "$dr_folder/facts.missing")
  if [ "$DR_MISSING_ROLES" = refuse ]; then
    dr_fail refused "the dump needs roles that are not here: $dr_names"
  fi
  dr_note "roles that are not here: $dr_names; what they own goes to $DR_OWNER, what they were granted is dropped"
fi
# Measured: a database with its indexes is about twice its dump in plain text; WAL comes on top.
dr_need=$((dr_plain / 1024 * 5 / 2 + 65536))
dr_has=$(dr_free "$dr_data")
if [ "$dr_has" -lt "$dr_need" ]; then
  dr_fail other "no room: $dr_data has $dr_has kB free, and the database will need about $dr_need kB"
fi

dr_phase create
dr_has=$(dr_psql postgres -v name="$DR_OWNER" 2>/dev/null <<'SQL'
SELECT count(*) FROM pg_roles WHERE rolname = :'name'
SQL
) || dr_fail unreachable 'the PostgreSQL server does not answer'
if [ "$dr_has" = 0 ]; then
  dr_do "making the owner $DR_OWNER" postgres -v owner="$DR_OWNER" -v mark="$DR_OURS state=owner" <<'SQL'
BEGIN;
CREATE ROLE :"owner" NOLOGIN;
COMMENT ON ROLE :"owner" IS :'mark';
COMMIT;
SQL
  dr_note "the owner $DR_OWNER was not here: it was made, and cannot log in before it gets LOGIN and a password"
fi
dr_temporary="dr_plan_${DR_STAGED##*_}"
printf '%s\n' "$dr_temporary" >"$dr_folder/facts.temporary"
cat -- "$dr_folder/facts.missing" >>"$dr_folder/facts.temporary"
while read -r dr_name; do
  dr_super=NOSUPERUSER
  if [ "$dr_name" = "$dr_temporary" ]; then dr_super=SUPERUSER; fi
  dr_do "making the role $dr_name for the length of the restore" postgres \
    -v name="$dr_name" -v super="$dr_super" -v mark="$DR_OURS state=temporary" <<'SQL'
BEGIN;
CREATE ROLE :"name" NOLOGIN :super;
COMMENT ON ROLE :"name" IS :'mark';
COMMIT;
SQL
done <"$dr_folder/facts.temporary"

# The encoding and locale of the original where this host has them.
dr_encoding=$(dr_value encoding | tr -d "';")
dr_options=$(sed -n 's/^database//p' "$dr_facts" | head -n 1 |
  grep -E "^( (ENCODING|LOCALE_PROVIDER|LOCALE|LC_COLLATE|LC_CTYPE|ICU_LOCALE) = ('[A-Za-z0-9_.@-]*'|libc|icu))*;$" | tr -d ';') || dr_options=''
if [ -z "$dr_options" ] && [ -n "$dr_encoding" ]; then dr_options=" ENCODING = '$dr_encoding'"; fi
dr_create() {
  dr_psql postgres -v name="$DR_STAGED" -v owner="$DR_OWNER" -v options="$1" >/dev/null 2>"$dr_folder/said" <<'SQL'
SELECT format('CREATE DATABASE %I WITH TEMPLATE = template0 OWNER = %I %s', :'name', :'owner', :'options') \gexec
SQL
}
if ! dr_create "$dr_options"; then
  dr_note "the database cannot be made as it was ($dr_options): $(dr_words "$dr_folder/said"); made with locale C.UTF-8 instead"
  dr_create " ENCODING = '${dr_encoding:-UTF8}' LOCALE = 'C.UTF-8'" ||
    dr_fail exit_code "making the database $DR_STAGED: $(dr_words "$dr_folder/said")"
fi
dr_do "marking $DR_STAGED" postgres -v name="$DR_STAGED" -v mark="$DR_MARK state=staging" <<'SQL'
COMMENT ON DATABASE :"name" IS :'mark'
SQL

dr_phase restore
dr_jobs=$(($(nproc 2>/dev/null || echo 1) + 1))
# Session settings only: nothing to set back, and the mark `ready` is written by a session that waits for its WAL.
dr_memory=$(awk -v jobs="$dr_jobs" '/^MemAvailable:/ { m = int($2 / 4 / jobs); if (m < 65536) m = 65536; if (m > 1048576) m = 1048576; print m }' /proc/meminfo)
dr_options_before=$PGOPTIONS
PGOPTIONS="$PGOPTIONS -c synchronous_commit=off -c maintenance_work_mem=${dr_memory:-65536}kB"
dr_report_size() {
  dr_bytes_now=$(dr_psql postgres -v name="$DR_STAGED" 2>/dev/null <<'SQL'
SELECT pg_database_size(:'name')
SQL
  ) || dr_bytes_now=0
  # Twice the plain dump is what a database takes, as a rule (see above): a total to count against, until it turns out wrong.
  dr_expected=$((dr_plain * 2 + 8388608))
  if [ "${dr_bytes_now:-0}" -ge "$dr_expected" ]; then dr_expected=0; fi
  dr_progress restore "${dr_bytes_now:-0}" "$dr_expected"
}
dr_watch 2 dr_report_size
case "$dr_form" in
  custom)
    pg_restore --exit-on-error --no-password --no-tablespaces --jobs "$dr_jobs" --dbname "$DR_STAGED" "$dr_dump" \
      >/dev/null 2>"$dr_folder/said" || dr_fail exit_code "pg_restore: $(dr_words "$dr_folder/said")" ;;
  plain)
    # Since the minors of August 2025 psql can be told to run no command of its own (CVE-2025-8714).
    dr_lock=$(head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \n' | head -c 40)
    if ! printf '\\restrict %s\n\\unrestrict %s\n' "$dr_lock" "$dr_lock" | dr_psql postgres >/dev/null 2>&1; then
      dr_lock=''
    fi
    dr_meta=$(dr_value meta)
    if [ -n "$dr_meta" ]; then
      dr_words_of_meta="the dump seems to hold a command for psql itself (line $dr_meta), which a dump of one database never needs; was it made with --create?"
      if [ -z "$dr_lock" ]; then dr_fail refused "$dr_words_of_meta"; fi
    fi
    (
      dr_one=0
      awk -v role="$dr_temporary" -v key="$dr_lock" "$DR_PLAIN" <"$dr_dump" || dr_one=$?
      echo "$dr_one" >"$dr_folder/status.filter"
    ) | (
      dr_one=0
      dr_psql "$DR_STAGED" -f - >/dev/null 2>"$dr_folder/said" || dr_one=$?
      echo "$dr_one" >"$dr_folder/status"
    )
    if [ "$(cat "$dr_folder/status")" != 0 ]; then
      if [ -n "$dr_meta" ]; then dr_fail refused "$dr_words_of_meta psql says: $(dr_words "$dr_folder/said")"; fi
      dr_fail exit_code "psql: $(dr_words "$dr_folder/said")"
    fi
    if [ "$(cat "$dr_folder/status.filter")" != 0 ]; then dr_fail other 'reading the staged dump failed half way'; fi ;;
esac
dr_unwatch
PGOPTIONS=$dr_options_before

while read -r dr_name; do
  dr_do "handing what $dr_name owns to $DR_OWNER" "$DR_STAGED" -v name="$dr_name" -v owner="$DR_OWNER" <<'SQL'
BEGIN;
REASSIGN OWNED BY :"name" TO :"owner";
DROP OWNED BY :"name";
DROP ROLE :"name";
COMMIT;
SQL
done <"$dr_folder/facts.temporary"

dr_phase analyze
vacuumdb --analyze-only --quiet --no-password --jobs "$dr_jobs" --dbname "$DR_STAGED" >/dev/null 2>"$dr_folder/said" ||
  dr_fail exit_code "vacuumdb: $(dr_words "$dr_folder/said")"
dr_size_now=$(dr_psql postgres -v name="$DR_STAGED" 2>/dev/null <<'SQL'
CHECKPOINT;
SELECT pg_database_size(:'name')
SQL
) || dr_fail exit_code 'writing the restored data to disk (CHECKPOINT) failed'
dr_fact database_bytes "$dr_size_now"
dr_do "marking $DR_STAGED as ready" postgres -v name="$DR_STAGED" -v mark="$DR_MARK state=ready" <<'SQL'
COMMENT ON DATABASE :"name" IS :'mark'
SQL
dr_phase ''
