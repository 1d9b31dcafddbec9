# Reads the list of an archive (see members.awk before it) and says whether the archive may be extracted: `refuse WORDS`, or what is in
# it. A member can leave the folder by its name, by a link it goes through, or by a link it leaves behind.
{
  type = substr($0, 1, 1)
  raw = quoted($0)
  rest = after
  name = tidy(unquote(raw))
  if (outside(raw)) refuse("`" raw "` leads out of the folder")
  # Through a link to a place that the archive chose.
  count = split(name, part, "/")
  path = ""
  for (i = 1; i < count; i++) {
    path = path (path == "" ? "" : "/") part[i]
    if (kind[path] == "l") refuse("`" raw "` goes through the link `" path "`")
  }
  if (name in kind) twice++
  else members++
  if (type == "l") {
    target = quoted(rest)
    if (target ~ /^\//) refuse("the link `" raw "` leads to `" target "`, out of the folder")
    # How deep the link stands, and how deep its way goes: a first look, links to links are followed on the disk.
    depth = count - 1
    steps = split(target, way, "/")
    for (i = 1; i <= steps; i++) {
      if (way[i] == "..") depth--
      else if (way[i] != "." && way[i] != "") depth++
      if (depth < 0) { refuse("the link `" raw "` leads to `" target "`, out of the folder"); break }
    }
  } else if (type == "h") {
    target = tidy(unquote(quoted(rest)))
    if (outside(target) || !(target in kind) || (kind[target] != "-" && kind[target] != "h")) refuse("`" raw "` is a second name of `" target "`, which is no file before it in the archive")
  } else if (type == "b" || type == "c") refuse("`" raw "` is a device")
  else if (type == "p" || type == "s") refuse("`" raw "` is a pipe or a socket")
  else if (type != "-" && type != "d") refuse("`" raw "` is of the kind `" type "`, which a tree of files does not have")
  if (type == "-") { split($0, field, /  */); size[name] = field[3] } else size[name] = 0
  if (type != "d" && $0 ~ /^.(..[sS]|.....[sS])/) privileged++
  if (name == ".") top = 1
  kind[name] = type
}
END {
  if (refused != "") { print "refuse " refused; exit }
  if (ended == "") { print "refuse-cut"; exit }
  for (name in kind) {
    if (kind[name] == "-" || kind[name] == "h") files++
    else if (kind[name] == "l") links++
    bytes += size[name]
  }
  printf "ended %s\nmembers %d\nfiles %d\nlinks %d\nbytes %.0f\ntwice %d\nprivileged %d\ntop %d\n", ended, members, files, links, bytes, twice, privileged, top
}
