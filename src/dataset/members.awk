# What every reader of `tar --list --verbose --block-number --quoting-style=c` shares: names as the archive means them, and whether its end is there.
function unquote(text, out, i, c) {
  out = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    # Only what is no letter is escaped but for the few below, and none of those is a slash or a dot.
    if (c == "\\") { i++; out = out "\\" substr(text, i, 1) } else out = out c
  }
  return out
}
# The first quoted text from a place on; sets `after` to what follows it.
function quoted(text, i, c, begin) {
  begin = index(text, "\"")
  if (begin == 0) { after = ""; return "" }
  for (i = begin + 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "\\") i++
    else if (c == "\"") break
  }
  after = substr(text, i + 1)
  return substr(text, begin + 1, i - begin - 1)
}
function tidy(name) {
  gsub(/\/+/, "/", name)
  while (sub(/\/\.\//, "/", name)) { }
  while (sub(/^\.\//, "", name)) { }
  sub(/\/\.$/, "", name)
  sub(/\/$/, "", name)
  if (name == "." || name == "") return "."
  return name
}
function outside(name) { return name ~ /^\// || name ~ /(^|\/)\.\.(\/|$)/ }
function refuse(words) { if (refused == "") refused = words }
/^block [0-9]+: \*\* Block of NULs \*\*/ { sub(/:.*/, ""); ended = $2; next }
/^block [0-9]+: \*\* End of File \*\*/ { next }
{
  if (!sub(/^block [0-9]+: /, "")) { refuse("its list cannot be read: " $0); next }
}
