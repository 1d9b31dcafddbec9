: >"$DR_KEEP.released"
sync -f "$DR_KEEP.released"
rm -rf "$DR_KEEP"
