#!/usr/bin/env bash
# Everything compiles with the oldest Rust that Cargo.toml promises, dependencies included.
#
# That Rust is unpacked below CROSS_DIR. The exit status is 77 where it cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${CROSS_DIR:-target/cross}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

skip() { echo "skipped: $*"; exit 77; }
command -v rustup >/dev/null || skip "there is no rustup"
export RUSTUP_HOME=$dir/rustup CARGO_TARGET_DIR=$dir/oldest
timeout "${CROSS_TIMEOUT:-300}" rustup --quiet toolchain install "$oldest" --profile minimal --no-self-update ||
  skip "Rust $oldest cannot be downloaded"
RUSTUP_TOOLCHAIN=$oldest cargo check --locked --lib --bins --examples
