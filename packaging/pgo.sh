#!/usr/bin/env bash
# Builds the plugin twice: the compiler learns from the first how requests go through the code
# (profile-guided optimisation), and lays the second out for that.
#
#   packaging/pgo.sh [FILE]           FILE is target/pgo/monkey-proxy_reverse.so when it is missing
#
# What it learns from is tests/e2e_ordinary.rs over the test hosts: no Monkey is needed.
# PGO_SECONDS says how long each of them is at work. The exit status is 77 where the compiler's
# tools are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${CARGO_TARGET_DIR:-target}/pgo
file=${1:-$dir/monkey-proxy_reverse.so}
mkdir -p "$dir" "$(dirname "$file")"
dir=$(cd "$dir" && pwd)

skip() { echo "skipped: $*"; exit 77; }
merge=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$merge" ] || skip "there is no $merge: rustup component add llvm-tools"

# Only this crate is compiled in another way, so that the crates it stands on are compiled once.
compile() {
  local file=$1
  shift
  cargo rustc --release --locked --lib --crate-type cdylib --target-dir "$dir" -- "$@"
  cp "$dir/release/libmonkey_proxy_reverse.so" "$file"
}

rm -rf "$dir/counts"
compile "$dir/counting.so" "-Cprofile-generate=$dir/counts"
MPR_PLUGIN=$dir/counting.so MPR_SECONDS=${PGO_SECONDS:-10} cargo test --locked --test e2e_ordinary
"$merge" merge --output "$dir/counts.profdata" "$dir"/counts/*.profraw

use=("-Cprofile-use=$dir/counts.profdata")
case $(uname -m) in
  # What no request came through goes to the end of the file, parts of functions too.
  x86_64) use+=(-Clink-arg=-Wl,-z,keep-text-section-prefix -Cllvm-args=-enable-split-machine-functions) ;;
esac
compile "$file" "${use[@]}"
rm -r "$dir/counts" "$dir/counting.so"
echo "$file"
