#!/bin/bash
# What the program itself costs: the failover of plans/region-failover.yaml against the same recovery as a bare shell
# script (failover-bare.sh), by turns, each in a fresh sandbox with the same load on the machine. Prints every run, the
# medians and their ratio. It judges nothing.
#
#   benches/failover.sh [RUNS]           3 of each by default
#   DR_PLAN=path benches/failover.sh     with another binary
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-3}
dr=${DR_PLAN:-target/release/dr-plan}
[ -x "$dr" ] || dr=target/debug/dr-plan
[ -x "$dr" ] || { echo 'there is no program yet: cargo build --release' >&2; exit 1; }
case $dr in */debug/*) echo 'note: this is a debug build' ;; esac
echo "program   $("$dr" --version), $dr; $(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg)"

# Worlds and runs of its own: a sandbox that is up already is not touched.
home=$(mktemp -d)
export XDG_STATE_HOME=$home
finish() { "$dr" --quiet sandbox down > /dev/null 2>&1 || true; rm -rf "$home"; }
trap finish EXIT
trap 'exit 130' INT TERM

world() {
  "$dr" --quiet sandbox down > /dev/null 2>&1 || true
  "$dr" --quiet sandbox up --estate shop > /dev/null
  "$dr" sandbox exec -- curl -sS --fail --data '{"cents": 4200}' http://shop.example/orders > /dev/null
  "$dr" sandbox exec -- scripts/demo-backup.sh "$(date -u +%Y%m%dT%H%M%SZ)" > /dev/null
  "$dr" --quiet sandbox break region fsn1 > /dev/null
}
now() { date +%s%N; }
seconds() { awk -v n="$1" 'BEGIN { printf "%.2f", n / 1e9 }'; }
for run in $(seq "$runs"); do
  world
  began=$(now)
  "$dr" run plans/region-failover.yaml --lost-at "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" --yes --approve go > "$home/out" 2>&1 ||
    { cat "$home/out" >&2; exit 1; }
  wall=$(seconds $(($(now) - began)))
  healthy=$("$dr" report last --format json | sed -n '/"rto"/,/}/s/^ *"measured": *\([0-9.]*\).*/\1/p' | head -n 1)
  echo "dr-plan $run  healthy after $healthy s, ended after $wall s"
  echo "$wall" >> "$home/dr.wall"
  echo "$healthy" >> "$home/dr.healthy"

  world
  "$dr" sandbox exec -- benches/failover-bare.sh > "$home/out" 2>&1 || { cat "$home/out" >&2; exit 1; }
  wall=$(sed -n 's/^wall //p' "$home/out")
  healthy=$(sed -n 's/^healthy //p' "$home/out")
  echo "bare    $run  healthy after $healthy s, ended after $wall s"
  echo "$wall" >> "$home/bare.wall"
  echo "$healthy" >> "$home/bare.healthy"
done
median() { sort -n "$1" | awk '{ a[NR] = $1 } END { print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'; }
d=$(median "$home/dr.wall") b=$(median "$home/bare.wall")
echo "median    healthy: dr-plan $(median "$home/dr.healthy") s, bare $(median "$home/bare.healthy") s (wanted: below 30 s)"
echo "median    ended:   dr-plan $d s, bare $b s"
awk -v d="$d" -v b="$b" 'BEGIN { printf "overhead  %.2f s, %.1f %% of the failover'\''s wall time (wanted: below 5 %%)\n", d - b, (d - b) / d * 100 }'
