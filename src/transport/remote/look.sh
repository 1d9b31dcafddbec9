# DR_DIRECTORIES: the folder of a job on each line. Says in one line for each how its job stands, in that order.
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
