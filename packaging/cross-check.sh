#!/usr/bin/env bash
# Other processors: 64-bit ARM builds, and its tests pass; 32-bit ARM is refused.
#
#   packaging/cross-check.sh          compiles for both
#   packaging/cross-check.sh test     also runs the tests on an emulated 64-bit ARM (Debian only)
#
# Nothing of this machine is changed: the Rust targets, and for `test` Debian's cross compiler and
# emulator, are unpacked below CROSS_DIR. The exit status is 77 where they cannot be had.
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

step "32-bit ARM is refused, and says why"
if cargo check --locked --lib --target $armv7 2>"$dir/armv7.log"; then
  echo "it compiles: then its layouts must have been measured, and this check wants to be changed"
  exit 1
fi
grep -m 1 "only 64-bit hosts were measured" "$dir/armv7.log" || { cat "$dir/armv7.log"; exit 1; }

[ "${1:-check}" = test ] || exit 0

step "a cross compiler and an emulator"
if [ ! -x "$dir/root/usr/bin/qemu-aarch64" ]; then
  command -v apt-get >/dev/null || skip "there is no apt-get"
  wanted=$(apt-get install --print-uris -qq --no-install-recommends \
      gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user |
    cut -d ' ' -f 2 | cut -d _ -f 1 | grep -v '^dpkg') || skip "apt-get knows no cross compiler"
  (cd "$dir/debs" && apt-get download -q $wanted) || skip "the packages cannot be downloaded"
  for deb in "$dir"/debs/*.deb; do dpkg-deb -x "$deb" "$dir/root"; done
  # The linker script names the places where the package would be installed.
  sed -i 's#/usr/aarch64-linux-gnu/lib/##g' "$dir/root/usr/aarch64-linux-gnu/lib/libc.so"
fi
# The tools' own libraries are for them alone: what they start must not see that variable.
libraries=$dir/root/usr/lib/x86_64-linux-gnu
cat >"$dir/bin/gcc" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries PATH=$dir/root/usr/bin:\$PATH exec aarch64-linux-gnu-gcc "\$@"
END
cat >"$dir/bin/ar" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $dir/root/usr/bin/aarch64-linux-gnu-ar "\$@"
END
cat >"$dir/bin/run" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries exec $dir/root/usr/bin/qemu-aarch64 -U LD_LIBRARY_PATH \\
  -L $dir/root/usr/aarch64-linux-gnu "\$@"
END
# What the tests compile, they start: a program becomes a script that starts it in the emulator.
cat >"$dir/bin/cc" <<END
#!/bin/bash
"$dir/bin/gcc" "\$@" || exit
for ((i = 1; i < \$#; i++)); do [ "\${!i}" = -o ] && { n=\$((i + 1)); out=\${!n}; }; done
case " \$* " in *" -shared "* | *" -c "*) exit ;; esac
[ -n "\${out:-}" ] && [ -f "\$out" ] || exit 0
real=\$(realpath "\$out").aarch64
mv "\$out" "\$real"
printf '#!/bin/sh\nexec $dir/bin/run %s "\$@"\n' "\$real" >"\$out"
chmod +x "\$out"
END
chmod +x "$dir"/bin/*
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$dir/bin/gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$dir/bin/run
export CC_aarch64_unknown_linux_gnu=$dir/bin/gcc AR_aarch64_unknown_linux_gnu=$dir/bin/ar
# Real servers: MONKEY_1_5_ARM64 and MONKEY_1_8_ARM64 name binaries for that processor.
for family in 1_5 1_8; do
  server=MONKEY_${family}_ARM64
  unset MONKEY_$family
  [ -n "${!server:-}" ] || continue
  printf '#!/bin/sh\nexec %s %s "$@"\n' "$dir/bin/run" "${!server}" > "$dir/bin/monkey-$family"
  chmod +x "$dir/bin/monkey-$family"
  export MONKEY_$family="$dir/bin/monkey-$family" MONKEY_${family}_PLUGINS="$(dirname "${!server}")/../plugins"
done

step "unit tests, layouts and end-to-end tests on an emulated 64-bit ARM"
tests=(--locked --target $arm64 --lib --test abi_layout --test e2e_basics)
cargo test "${tests[@]}" --no-run
CC=$dir/bin/cc cargo test "${tests[@]}"
