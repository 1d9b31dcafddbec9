# Hands a plain dump to psql so that it is all or nothing: the COMMIT comes from here, and only after the dump's own last line.
# What runs as the superuser itself is only CREATE EXTENSION; all else belongs to `role` until the owner gets it.
function as_role() { print "SET ROLE \"" role "\";" }
BEGIN {
  if (key != "") print "\\restrict " key
  print "BEGIN;"
  as_role()
}
copying { print; if ($0 == "\\.") copying = 0; next }
/^\\(un)?restrict [A-Za-z0-9]+$/ { next }
/^SET default_tablespace = / { next }
/^-- PostgreSQL database dump complete/ { complete = 1 }
/^COPY .* FROM stdin;$/ { copying = 1 }
/^CREATE EXTENSION .*;$/ { print "RESET ROLE;"; print; as_role(); next }
{ print }
END {
  if (complete && !copying) {
    print "RESET ROLE;"
    print "COMMIT;"
    if (key != "") print "\\unrestrict " key
  }
}
