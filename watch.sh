#!/usr/bin/env bash
# Rebuilds the worker and starts it again whenever a source is saved: ./watch.sh [arguments of ws-worker]
# Without arguments it works for a mock Lightning on port 8888 (`cargo run -p lightning-mock`). Ctrl-C ends it.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- start --lightning mock --log info
sources=(Cargo.toml Cargo.lock src actors adaptors compiler protocol sandbox lightning-mock engine)
stamp=$(mktemp)
worker=

# Twice: the first signal drains, and nobody wants to wait for runs here.
stop() {
  [ -n "$worker" ] || return 0
  kill -TERM "$worker" 2>/dev/null || true
  sleep 0.2
  kill -TERM "$worker" 2>/dev/null || true
  wait "$worker" 2>/dev/null || true
  worker=
}
trap 'stop; rm -f "$stamp"' EXIT
trap 'exit 130' INT TERM

changed() {
  [ -n "$(find "${sources[@]}" -name node_modules -prune -o -type f -newer "$stamp" -print -quit)" ]
}

while true; do
  touch "$stamp"
  # A failed build leaves its errors on the screen and the old worker stopped, until the next change.
  if cargo build --package ws-worker; then
    "$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/ws-worker" "$@" &
    worker=$!
  fi
  until changed; do sleep 0.5; done
  stop
done
