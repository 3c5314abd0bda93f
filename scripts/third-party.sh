#!/usr/bin/env bash
# What others wrote of what is shipped: bills of materials (CycloneDX 1.5 as JSON) and the texts of the licences.
#
#   scripts/third-party.sh program FOLDER [OPTION...]   of the program, with these of cargo's options for features
#   scripts/third-party.sh licenses FOLDER [OPTION...]  the same without the bill, for which cargo-cyclonedx is needed
#   scripts/third-party.sh engine FOLDER [ENGINE]       of the npm packages that are installed in engine/
#
# It fails where the bill leaves out a package, or a package has no licence text that is known.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
standard=$root/scripts/licenses
# The newest that was tried; the Dockerfile installs it.
cyclonedx=0.5.9

fail() { echo "third-party.sh: $1" >&2; exit 1; }

# Lines of name, version, licence and folder, apart by tabs, become one text: each licence once, after those who have it.
texts() {
  local name version licence folder file sum
  declare -A users=() files=()
  while IFS=$'\t' read -r name version licence folder; do
    local found=()
    # Of code from elsewhere too, which a package may carry in a folder of its own.
    mapfile -t found < <(find "$folder" -name node_modules -prune -o -type f -size -200k \
      \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'copyright*' -o -iname 'unlicense*' \) \
      ! -name '*.rs' ! -name '*.js' ! -name '*.mjs' ! -name '*.cjs' ! -name '*.ts' ! -name '*.go' ! -name '*.html' -print | sort)
    if [ ${#found[@]} -eq 0 ]; then
      # A package that only names its licence: the words that everybody uses for it.
      case $licence in
        *MIT*) found=("$standard/MIT.txt") ;;
        *ISC*) found=("$standard/ISC.txt") ;;
        *Apache-2.0*) found=("$root/LICENSE") ;;
        *) fail "$name $version has no licence file, and no text of \"$licence\" is in $standard" ;;
      esac
    fi
    for file in "${found[@]}"; do
      sum=$(sha256sum < "$file")
      users[$sum]+="  $name $version ($licence)"$'\n'
      files[$sum]=${files[$sum]:-$file}
    done
  done
  # Those of most packages first.
  for sum in "${!users[@]}"; do
    printf '%s\t%s\n' "$(grep -c . <<< "${users[$sum]}")" "$sum"
  done | sort -t$'\t' -k1,1nr -k2 | while IFS=$'\t' read -r _ sum; do
    printf '%s\n\n%s\n' "$(printf '=%.0s' {1..80})" "$(sort -u <<< "${users[$sum]}" | grep .)"
    printf '\n%s\n\n' "$(tr -d '\r' < "${files[$sum]}")"
  done
}

# Name, version and licence of each package that is linked into the program or makes code that is.
linked() {
  cargo tree --quiet --locked --manifest-path "$root/Cargo.toml" --package ws-worker "$@" --edges normal --prefix none --format '{p}|{l}' |
    sed -E 's/ \(\*\)//; /\(\//d; s/^([^ ]+) v([^ |]+)[^|]*\|(.*)$/\1\t\2\t\3/' | sort -u
}

program_licenses() {
  local home=${CARGO_HOME:-$HOME/.cargo} name version licence folder
  linked "$@" | while IFS=$'\t' read -r name version licence; do
    folder=$(find "$home/registry/src" -mindepth 2 -maxdepth 2 -type d -name "$name-$version" | head -n 1)
    [ -n "$folder" ] || fail "the source of $name $version is not in $home/registry/src: run cargo fetch first"
    printf '%s\t%s\t%s\t%s\n' "$name" "$version" "$licence" "$folder"
  done | texts > "$out/ws-worker-licenses.txt"
}

program_bill() {
  cargo cyclonedx --version > /dev/null 2>&1 || fail "cargo-cyclonedx is missing: cargo install cargo-cyclonedx --version $cyclonedx --locked"
  # It writes beside the manifests, of each program of the workspace.
  local made=(ws-worker_bin lightning-mock/lightning-mock_bin benches/load/load_bin) name version
  # shellcheck disable=SC2064
  trap "rm -f $(printf "'$root/%s.cdx.json' " "${made[@]}")" EXIT
  cargo cyclonedx --quiet --manifest-path "$root/Cargo.toml" --format json --spec-version 1.5 --describe binaries --no-build-deps "$@"
  mv "$root/ws-worker_bin.cdx.json" "$out/ws-worker.cdx.json"
  linked "$@" | while IFS=$'\t' read -r name version _; do
    grep -qF "\"pkg:cargo/$name@$version\"" "$out/ws-worker.cdx.json" || fail "the bill leaves out $name $version"
  done
}

engine_packages() {
  npm ls --all --parseable --long --omit=dev | tail -n +2 | while IFS=: read -r folder package _; do
    node -e '
      const { name, version, license } = JSON.parse(require("fs").readFileSync(process.argv[1] + "/package.json"));
      console.log([name, version, license, process.argv[1]].join("\t"));
    ' "$folder"
  done | sort -u
}

engine() {
  cd "$1"
  [ -d node_modules ] || fail "$1/node_modules is missing: run npm ci there"
  npm sbom --sbom-format cyclonedx --omit dev > "$out/engine.cdx.json"
  engine_packages | texts > "$out/engine-licenses.txt"
}

[ $# -ge 2 ] || fail "see the first lines of this file for how to call it"
what=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
case $what in
  program) program_bill "$@"; program_licenses "$@" ;;
  licenses) program_licenses "$@" ;;
  engine) engine "${1:-$root/engine}" ;;
  *) fail "\"$what\" is none of program, licenses, engine" ;;
esac
