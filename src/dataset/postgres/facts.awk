# Reads a dump's SQL and says what it needs and whether it is whole. Data of COPY blocks is stepped over.
function name_of(text) {
  sub(/^[ ]+/, "", text); sub(/[; ]+$/, "", text)
  if (text ~ /^".*"$/) { text = substr(text, 2, length(text) - 2); gsub(/""/, "\"", text) }
  return text
}
function role(text) {
  text = name_of(text)
  if (text != "" && text != "PUBLIC" && !(text in roles)) { roles[text] = 1; print "role " text }
}
function after_last(text, word,   at, found) {
  found = 0
  while ((at = index(substr(text, found + 1), word)) > 0) found += at + length(word) - 1
  return found ? substr(text, found + 1) : ""
}
function options_off(text) {
  sub(/ GRANTED BY .*$/, "", text); sub(/ WITH GRANT OPTION;?$/, "", text); sub(/ WITH ADMIN OPTION;?$/, "", text)
  return text
}
copying { if ($0 == "\\.") copying = 0; next }
/^-- PostgreSQL database dump complete/ { complete = 1; next }
/^$/ || /^--/ {
  if ($0 ~ /^-- Dumped from database version /) print "from " $6
  if ($0 ~ /^-- Dumped by pg_dump version /) print "by " $6
  if ($0 ~ /^-- PostgreSQL database cluster dump/) print "cluster"
  next
}
/^\\(un)?restrict [A-Za-z0-9]+$/ { next }
{ complete = 0 }
/^COPY .* FROM stdin;$/ { copying = 1; next }
/^\\/ { if (!meta) { meta = 1; print "meta " NR " " $1 } next }
/^SET client_encoding = / { print "encoding " $4; next }
/^CREATE EXTENSION / { text = $0; sub(/^CREATE EXTENSION (IF NOT EXISTS )?/, "", text); sub(/ WITH SCHEMA .*$/, "", text); print "extension " name_of(text); next }
/^CREATE DATABASE / { text = $0; if (sub(/^CREATE DATABASE .* TEMPLATE = template0/, "", text)) print "database" text; next }
/^ALTER .* OWNER TO .*;$/ { role(after_last($0, " OWNER TO ")); next }
/^SET SESSION AUTHORIZATION / { text = $4; gsub(/'/, "", text); if (text !~ /^DEFAULT/) role(text); next }
/^ALTER DEFAULT PRIVILEGES / {
  text = $0
  if (sub(/^ALTER DEFAULT PRIVILEGES FOR ROLE /, "", text)) { sub(/ (IN SCHEMA|GRANT|REVOKE) .*$/, "", text); role(text) }
}
/^(ALTER DEFAULT PRIVILEGES .* )?GRANT .* TO .*;$/ { role(after_last(options_off($0), " TO ")); next }
/^(ALTER DEFAULT PRIVILEGES .* )?REVOKE .* FROM .*;$/ { role(after_last(options_off($0), " FROM ")); next }
/^CREATE POLICY .* TO / {
  text = $0; sub(/ (USING|WITH CHECK) \(.*$/, "", text); text = after_last(text, " TO ")
  count = split(text, parts, ", "); for (i = 1; i <= count; i++) role(parts[i])
  next
}
END {
  if (copying) print "unfinished " NR
  else if (complete) print "complete"
}
