#!/usr/bin/env bash
# Other processors: 64-bit and 32-bit ARM build, and their tests pass.
#
#   packaging/cross-check.sh                     compiles for both
#   packaging/cross-check.sh test [arm64|armv7]  also runs the tests on an emulated one, or on both
#                                                (Debian only)
#
# Nothing of this machine is changed: the Rust targets, and for `test` Debian's cross compilers and
# emulators, are unpacked below CROSS_DIR. The exit status is 77 where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${CROSS_DIR:-target/cross}
mkdir -p "$dir/bin" "$dir/debs" "$dir/root"
dir=$(cd "$dir" && pwd)
export CARGO_TARGET_DIR=$dir/target
arm64=aarch64-unknown-linux-gnu
armv7=armv7-unknown-linux-gnueabihf

step() { printf '\n== %s\n' "$*"; }
skip() { echo "skipped: $*"; exit 77; }

step "Rust for other processors"
command -v rustup >/dev/null || skip "there is no rustup"
version=$(rustc --version | cut -d ' ' -f 2)
installed=$(rustup target list --installed)
if ! grep -q $arm64 <<<"$installed" || ! grep -q $armv7 <<<"$installed"; then
  export RUSTUP_HOME=$dir/rustup RUSTUP_TOOLCHAIN=$version
  timeout "${CROSS_TIMEOUT:-300}" rustup --quiet toolchain install "$version" --profile minimal --no-self-update \
    --target $arm64 --target $armv7 || skip "the targets cannot be downloaded"
fi

step "64-bit ARM compiles"
cargo check --locked --lib --bins --target $arm64

step "32-bit ARM compiles, with a 32-bit time_t and with a 64-bit one"
cargo check --locked --lib --bins --target $armv7
cargo check --locked --lib --target $armv7 --features time64

[ "${1:-check}" = test ] || exit 0

step "cross compilers and emulators"
if [ ! -x "$dir/root/usr/bin/qemu-aarch64" ] || [ ! -x "$dir/root/usr/bin/arm-linux-gnueabihf-gcc" ]; then
  command -v apt-get >/dev/null || skip "there is no apt-get"
  # As if nothing were installed, lest what this machine has be left out; but its own libc stays.
  : >"$dir/none"
  wanted=$(apt-get -o Dir::State::status="$dir/none" install --print-uris -qq --no-install-recommends \
      gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user |
    cut -d ' ' -f 2 | cut -d _ -f 1 | grep -Ev '^(libc6|libgcc-s1)$') ||
    skip "apt-get knows no cross compiler"
  (cd "$dir/debs" && apt-get download -q $wanted) || skip "the packages cannot be downloaded"
  for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir/root"; done
  # The linker scripts name the places where the packages would be installed.
  for tuple in aarch64-linux-gnu arm-linux-gnueabihf; do
    sed -i "s#/usr/$tuple/lib/##g" "$dir/root/usr/$tuple/lib/libc.so"
  done
fi
# The tools' own libraries are for them alone: what they start must not see that variable.
libraries=$dir/root/usr/lib/x86_64-linux-gnu

# Debian's name of a processor, and the emulator's.
tools() {
  local tuple=$1 emulator=$2
  bin=$dir/bin/$emulator
  mkdir -p "$bin"
  cat >"$bin/gcc" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries PATH=$dir/root/usr/bin:\$PATH exec $tuple-gcc "\$@"
END
  cat >"$bin/ar" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $dir/root/usr/bin/$tuple-ar "\$@"
END
  cat >"$bin/run" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $dir/root/usr/bin/qemu-$emulator -U LD_LIBRARY_PATH \\
  -L $dir/root/usr/$tuple "\$@"
END
  # What the tests compile, they start: a program becomes a script that starts it in the emulator.
  cat >"$bin/cc" <<END
#!/bin/bash
"$bin/gcc" "\$@" || exit
for ((i = 1; i < \$#; i++)); do [ "\${!i}" = -o ] && { n=\$((i + 1)); out=\${!n}; }; done
case " \$* " in *" -shared "* | *" -c "*) exit ;; esac
[ -n "\${out:-}" ] && [ -f "\$out" ] || exit 0
real=\$(realpath "\$out").$emulator
mv "\$out" "\$real"
printf '#!/bin/sh\nexec $bin/run %s "\$@"\n' "\$real" >"\$out"
chmod +x "\$out"
END
  chmod +x "$bin"/*
}

# Real servers: MONKEY_1_5_ARM64, MONKEY_1_8_ARM64, MONKEY_1_5_ARM32 and MONKEY_1_8_ARM32 name
# binaries for that processor.
servers() {
  local family server
  for family in 1_5 1_8; do
    server=MONKEY_${family}_$1
    unset MONKEY_$family MONKEY_${family}_PLUGINS
    [ -n "${!server:-}" ] || continue
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$bin/run" "${!server}" > "$bin/monkey-$family"
    chmod +x "$bin/monkey-$family"
    export MONKEY_$family="$bin/monkey-$family" MONKEY_${family}_PLUGINS="$(dirname "${!server}")/../plugins"
  done
}

run_tests() {
  local tests=(--locked --target "$1" --lib --test abi_layout --test e2e_basics)
  cargo test "${tests[@]}" --no-run
  CC=$bin/cc cargo test "${tests[@]}"
}

if [ "${2:-arm64}" = arm64 ]; then
  step "unit tests, layouts and end-to-end tests on an emulated 64-bit ARM"
  tools aarch64-linux-gnu aarch64
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$bin/gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$bin/run
  export CC_aarch64_unknown_linux_gnu=$bin/gcc AR_aarch64_unknown_linux_gnu=$bin/ar
  servers ARM64
  run_tests $arm64
fi

if [ "${2:-armv7}" = armv7 ]; then
  step "unit tests, layouts and end-to-end tests on an emulated 32-bit ARM"
  tools arm-linux-gnueabihf arm
  export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=$bin/gcc
  export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER=$bin/run
  export CC_armv7_unknown_linux_gnueabihf=$bin/gcc AR_armv7_unknown_linux_gnueabihf=$bin/ar
  servers ARM32
  run_tests $armv7
fi
