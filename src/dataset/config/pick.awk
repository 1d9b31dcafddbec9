# Reads the list of an archive (see members.awk before it) and says in what member each file of $DR_FILES lies: `member NAME`, or `refuse
# WORDS`. Whatever else the archive holds is not touched.
BEGIN {
  count = split(ENVIRON["DR_FILES"], path, "\n")
  for (i = 1; i <= count; i++) wanted[substr(path[i], 2)] = path[i]
}
{
  type = substr($0, 1, 1)
  raw = quoted($0)
  name = tidy(unquote(raw))
  sub(/^\/+/, "", name)
  if (!(name in wanted)) { if (type != "d") others++; next }
  if (name in member) refuse("`" raw "` is in it twice")
  if (type != "-") refuse("`" raw "` is no plain file (`" type "`): list the file itself")
  member[name] = unquote(raw)
  split($0, field, /  */)
  bytes += field[3]
}
END {
  if (refused != "") { print "refuse " refused; exit }
  if (ended == "") { print "refuse-cut"; exit }
  for (name in member) print "member " member[name]
  for (name in wanted) if (!(name in member)) print "missing " wanted[name]
  printf "ended %s\nothers %d\nbytes %.0f\n", ended, others, bytes
}
