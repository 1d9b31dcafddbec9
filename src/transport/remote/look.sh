# How do the jobs in these folders, a line each, stand? A line for each.
set -f
IFS='
'
set -- $DR_DIRECTORIES
unset IFS
set +f
for dr_each in "$@"; do
  if [ ! -d "$dr_each" ]; then echo absent; continue; fi
  dr_dir=$(cd -P "$dr_each" && pwd -P)
  dr_look
done
