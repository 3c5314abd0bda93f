#!/usr/bin/env bash
# All tests: Rust's, those of the Node program in engine/, and those of the npm package. Needs Rust, Node 20 or newer and npm; installs the rest.
set -euo pipefail
cd "$(dirname "$0")"
(cd engine && npm ci --no-audit --no-fund --ignore-scripts && npm test)
cargo test --workspace --locked
# The side of the sandbox for systems other than Linux.
cargo test --package sandbox --features portable --locked
# With the programs that the tests above have built.
(cd npm && npm test)
