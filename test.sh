#!/usr/bin/env bash
# All tests: Rust's, and those of the Node program in engine/. Needs Rust, Node 20 or newer and npm; installs the rest.
set -euo pipefail
cd "$(dirname "$0")"
(cd engine && npm ci --no-audit --no-fund --ignore-scripts && npm test)
cargo test --workspace --locked
# The side of the sandbox for systems other than Linux.
cargo test --package sandbox --features portable --locked
