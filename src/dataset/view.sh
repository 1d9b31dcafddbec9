# dr_view PLACE: runs the check $DR_CHECK where the files that PLACE/list names (a line each: the file, a tab, the path it is for) stand in
# their places already, and leaves what it says in PLACE/said. Only the check sees them there: it has mounts of its own, which are gone
# with its last process however that ends. 90: this host does not allow that; any other status is the check's own.
dr_view_text='
set -eu
trap "exit 90" EXIT
dr_number=0
dr_mirrored=""
: >"$dr_view_place/entered"
mkdir -p -- "$dr_view_place/view"
mount -t tmpfs -o mode=700,size=16m dr-view "$dr_view_place/view"
# A folder of the same kind in the place of the true one, with the same things in it: here new names can be made.
dr_mirror() {
  case "$dr_mirrored" in *"
$1
"*) return 0 ;; esac
  dr_mirrored="$dr_mirrored
$1
"
  dr_number=$((dr_number + 1))
  dr_folder=$dr_view_place/view/$dr_number
  mkdir -- "$dr_folder"
  chmod --reference="$1" -- "$dr_folder"
  chown --reference="$1" -- "$dr_folder"
  for dr_one in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    dr_name=$dr_folder/${dr_one##*/}
    if [ -L "$dr_one" ]; then cp -P -- "$dr_one" "$dr_name"
    elif [ -d "$dr_one" ]; then mkdir -- "$dr_name"; mount --rbind -- "$dr_one" "$dr_name"
    elif [ -e "$dr_one" ]; then : >"$dr_name"; mount --bind -- "$dr_one" "$dr_name"
    fi
  done
  mount --rbind -- "$dr_folder" "$1"
}
dr_tab=$(printf "\t")
while IFS=$dr_tab read -r dr_file dr_path; do
  if [ ! -e "$dr_path" ]; then
    dr_up=${dr_path%/*}
    while [ -n "$dr_up" ] && [ ! -d "$dr_up" ]; do dr_up=${dr_up%/*}; done
    if [ -z "$dr_up" ]; then echo "$dr_path would need a new folder at the top of the file system: make that first" >&2; exit 90; fi
    dr_mirror "$dr_up"
    mkdir -p -- "${dr_path%/*}"
    : >"$dr_path"
  fi
  mount --bind -- "$dr_file" "$dr_path"
done <"$dr_view_place/list"
trap - EXIT
cd /
exec sh -eu -c "$DR_CHECK"
'
dr_view() {
  dr_view_place=$1
  export dr_view_place
  dr_view_status=0
  rm -f -- "$1/entered"
  unshare --mount sh -c "$dr_view_text" </dev/null >"$1/said" 2>&1 7>&- 9>&- || dr_view_status=$?
  rmdir -- "$1/view" 2>/dev/null || :
  if [ ! -e "$1/entered" ]; then dr_view_status=90; fi
  rm -f -- "$1/entered"
  if [ "$dr_view_status" != 0 ] && [ ! -s "$1/said" ]; then echo 'it says nothing' >"$1/said"; fi
  return "$dr_view_status"
}
