#!/bin/bash
# Plugs a node into a rig that compares mail forwarders, as an endpoint of its own:
#
#   deploy/bench/peers.sh RIG up       start the node (dist build) on 127.0.0.20:25; prints ENDPOINT and PID
#   deploy/bench/peers.sh RIG down     stop it
#   deploy/bench/peers.sh RIG memory   up, memory.py idle and large with Postfix's smtp-sink as the destination, then down
#   deploy/bench/peers.sh RIG bench …  up, then RIG/bench.py --peer ENDPOINT --pid PID … (default: --vs postfix,exim-cutthrough
#                                      --rounds 3 --messages 2000), then RIG/check.py ENDPOINT, then down
#   deploy/bench/peers.sh RIG deferred [MESSAGES]   up; while nothing listens at the destination, messages accepted a second, in
#                                      turn by the node and by the rig's postfix stack, three times; then down
#   deploy/bench/peers.sh RIG seal [PAIRS [MESSAGES]]   CPU seconds for 1,000 messages with arc.seal true and "needed", in turn,
#                                      each with a node of its own; the pairs' ratios and their median
#
# POSTROAD__SECTION__KEY variables reach the node, as POSTROAD__ARC__SEAL=needed does.
#
# RIG is the rig's folder: it has rig.sh, bench.py, check.py and lib.sh with `aliases` (lines `ADDRESS DESTINATION`), gives
# DNS on 127.0.0.53:53 with a DNSBL at dnsbl.test, and keeps the DKIM key of relay.test, selector r1, in $RIG_DIR/keys.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
usage() { sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
[ $# -ge 2 ] || usage
rig=$(cd "$1" && pwd) verb=$2
shift 2
export RIG_DIR=${RIG_DIR:-/tmp/peers}
state=$RIG_DIR/postroad bin=${POSTROAD_BIN:-${CARGO_TARGET_DIR:-$repo/target}/dist}
endpoint=127.0.0.20:25 admin=127.0.0.20:50051

configuration() {
  cat <<C
[node]
name = "bench"
hostname = "mx.relay.test"
data_dir = "$state/data"
[service]
domain = "relay.test"
postmaster = "user0@dest.test"
[smtp]
listen = ["$endpoint"]
[limits]
sessions = 20000
sessions_per_network = 20000
min_free_octets = 0
[[dnsbl]]
name = "dnsbl"
zone = "dnsbl.test"
[dkim]
selector = "r1"
private_key_file = "$RIG_DIR/keys/relay.pem"
[srs]
secret_file = "$state/srs.secret"
[delivery]
private_addresses = "allow"
[dns]
servers = ["127.0.0.53:53"]
[http]
listen = "127.0.0.20:8080"
[admin]
listen = "$admin"
C
}

# the rig's aliases as a routing file
routing() {
  (. "$rig/lib.sh" && aliases) | awk '
    { split($1, at, "@"); rule[at[2]] = rule[at[2]] sprintf("      - { to: \"%s\", forward: [\"%s\"] }\n", at[1], $2); to[$2] }
    END {
      print "domains:"
      for (domain in rule) printf "  - name: %s\n    rules:\n%s", domain, rule[domain]
      print "destinations:"
      for (address in to) printf "  - { address: \"%s\", verified: true }\n", address
    }'
}

up() {
  if [ -s "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null; then
    echo "a node runs already, perhaps somebody's measurement: process $(cat "$state/pid")" >&2
    exit 1
  fi
  rm -rf "${state:?}"
  "$rig/rig.sh" up
  mkdir -p "$state"
  head -c 24 /dev/urandom | base64 >"$state/srs.secret"
  chmod 600 "$state/srs.secret"
  configuration >"$state/postroad.toml"
  routing >"$state/routing.yaml"
  ulimit -n "$(ulimit -Hn)" # a file descriptor a session, and one for its upstream
  "$bin/postroad" serve --config "$state/postroad.toml" >"$state/log" 2>&1 </dev/null &
  echo $! >"$state/pid"
  local i
  for i in $(seq 100); do
    grep -q '"message":"ready"' "$state/log" && break
    kill -0 "$(cat "$state/pid")" 2>/dev/null || { tail -n 20 "$state/log" >&2; exit 1; }
    sleep 0.1
  done
  "$bin/postroadctl" --server "http://$admin" apply -f "$state/routing.yaml" >/dev/null
}

down() {
  [ -s "$state/pid" ] || return 0
  local pid i
  pid=$(cat "$state/pid")
  if kill -TERM "$pid" 2>/dev/null; then
    for i in $(seq 300); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -rf "${state:?}"
}

# what load.py did, as messages accepted a second
accepted() {
  python3 -c '
import json, sys
out = [(begun, ended) for _, begun, ended, reply in json.load(sys.stdin)["out"] if reply.startswith("2")]
seconds = max(e for _, e in out) - min(b for b, _ in out) if out else 0
print(sys.argv[1], len(out), "accepted,", round(len(out) / seconds) if seconds else 0, "a second", flush=True)' "$1"
}

# rounds of bench.py, two a pair: CPU seconds, how much faster the second is
pairs() {
  python3 -c '
import json, statistics, sys
ratios, rounds = [], iter(map(json.loads, sys.stdin))
for number, (sealed, needed) in enumerate(zip(rounds, rounds), 1):
    a, b = sealed["cpu_s_per_1000"], needed["cpu_s_per_1000"]
    ratios.append(b / a)
    arc = [r.get("correct", {}).get("arc") for r in (sealed, needed)]
    print(f"pair {number}: true {a:.3f} s (ARC on {arc[0]}), needed {b:.3f} s (ARC on {arc[1]}), ratio {b / a:.3f}", flush=True)
if ratios: print(f"median ratio {statistics.median(ratios):.3f}")'
}

case "$verb" in
up) up; echo "$endpoint $(cat "$state/pid")" ;;
down) down ;;
bench)
  up
  trap down EXIT
  [ $# -gt 0 ] || set -- --vs postfix,exim-cutthrough --rounds 3 --messages 2000
  "$rig/bench.py" --peer "$endpoint" --pid "$(cat "$state/pid")" "$@"
  "$rig/check.py" "$endpoint" ;;
deferred)
  up
  trap 'down; bash "$rig/peers/postfix.sh" down >/dev/null' EXIT
  bash "$rig/peers/postfix.sh" up >/dev/null
  read -r _ postfix _ < <(bash "$rig/peers/postfix.sh" status)
  for round in 1 2 3; do
    for peer in "$endpoint" "$postfix"; do
      "$RIG_DIR/venv/bin/python" "$rig/load.py" "$peer" --messages "${1:-2000}" --concurrency 64 --limit 120 --tag "d$round" | accepted "$peer"
    done
  done ;;
seal)
  trap down EXIT
  for pair in $(seq "${1:-5}"); do
    for seal in true needed; do
      POSTROAD__ARC__SEAL=$seal up
      "$rig/bench.py" --peer "$endpoint" --pid "$(cat "$state/pid")" --rounds 1 --messages "${2:-2000}" | tee >(cat >&2)
      down
    done
  done | pairs ;;
memory)
  up
  trap 'down; [ -z "${sink:-}" ] || kill "$sink"' EXIT
  pid=$(cat "$state/pid")
  smtp-sink -u postfix -m 1000 127.0.0.25:25 1000 &
  sink=$!
  "$repo/deploy/bench/memory.py" idle "$endpoint" "$pid"
  "$repo/deploy/bench/memory.py" large "$endpoint" "$pid" ;;
*) usage ;;
esac
