#!/usr/bin/env bash
# kill_battery.sh KILLS : kill -9 at random moments of a run, each followed by resume, until KILLS kills were made; every finished run's report must
# be byte-identical to an uninterrupted one's, and the database sound.
set -euo pipefail
cd "$(dirname "$0")/.."
kills_wanted=${1:-200}
. scripts/models.sh
out=build/kill-battery
rm -rf "$out"; mkdir -p "$out"
run=(run --model "$w4a16" --tasks arc_easy,hellaswag,winogrande --num-fewshot 0 --split arc_easy=validation --limit arc_easy=120,hellaswag=60,winogrande=120 --quiet)

"$assay" "${run[@]}" --db "$out/whole.db" >/dev/null
"$assay" report 1 --db "$out/whole.db" >"$out/whole.txt"

# starts assay, kills it after a random time; true when it finished first.
killed=0
try_once() {
  "$assay" "$@" >/dev/null 2>>"$out/stderr.log" &
  local pid=$!
  python3 -c 'import random, time; time.sleep(random.choice([0.05, 0.2, 0.6, 1.2]) * (0.3 + random.random()))'
  if kill -9 $pid 2>/dev/null; then
    killed=$((killed + 1))
    wait $pid 2>/dev/null || true
    return 1
  fi
  wait $pid
}

rounds=0
while [ $killed -lt "$kills_wanted" ]; do
  db=$out/round-$rounds.db
  while ! "$assay" ls runs --db "$db" --json 2>/dev/null | grep -q '"run"'; do try_once "${run[@]}" --db "$db" && break || true; done
  while "$assay" ls runs --db "$db" --json | grep -q unfinished; do
    if [ $killed -lt "$kills_wanted" ]; then try_once resume --db "$db" --quiet || true; else "$assay" resume --db "$db" --quiet >/dev/null; fi
  done
  [ "$("$assay" ls runs --db "$db" --json | grep -o '"run"' | wc -l)" = 1 ] || { echo "kill battery: more than one run in $db"; exit 1; }
  "$assay" report 1 --db "$db" >"$out/round.txt"
  cmp "$out/whole.txt" "$out/round.txt" || { echo "kill battery: the report of $db differs after $killed kills"; exit 1; }
  python3 - "$db" <<'P'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
assert db.execute("SELECT count(*) FROM items").fetchone()[0] == 300
P
  rounds=$((rounds + 1))
done
echo "kill battery: $killed kills in $rounds runs, every report byte-identical, nothing lost or counted twice"
