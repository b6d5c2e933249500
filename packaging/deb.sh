#!/usr/bin/env bash
# Makes a Debian package of what cargo has built, with dpkg-deb alone:
#
#   packaging/deb.sh [--pgo] [FOLDER]         FOLDER is target/debian when it is missing
#
# With --pgo the plugin is compiled as packaging/pgo.sh does it: faster, but not byte for byte the
# same each time.
#
# The plugin goes to /usr/lib/monkey, where Debian's build of Monkey keeps its own. No file below
# /etc is installed: a server that never asked for the plugin stays as it is. DEB_MAINTAINER is
# the maintainer's name and address, that of the last commit when it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

pgo=
if [ "${1:-}" = --pgo ]; then
  pgo=yes
  shift
fi
out=${1:-target/debian}
built=${CARGO_TARGET_DIR:-target}/release
plugin=$built/libmonkey_proxy_reverse.so
name=monkey-proxy-reverse
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=1
arch=$(dpkg --print-architecture)
maintainer=${DEB_MAINTAINER:-$(git log -1 --format='%an <%ae>' 2>/dev/null || echo "nobody <root@localhost>")}
# The same sources make the same package.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}

cargo build --release --locked --lib --bins
if [ -n "$pgo" ]; then
  packaging/pgo.sh
  plugin=${CARGO_TARGET_DIR:-target}/pgo/monkey-proxy_reverse.so
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
doc=$root/usr/share/doc/$name
install -D -m 644 "$plugin" "$root/usr/lib/monkey/monkey-proxy_reverse.so"
install -D -m 644 conf/proxy_reverse.conf "$doc/examples/proxy_reverse.conf"
install -m 644 README.md "$doc/"
(cd docs && find . -type f) | while read -r page; do
  install -D -m 644 "docs/$page" "$doc/docs/$page"
done
cat packaging/copyright > "$doc/copyright"
gzip -9n < CHANGELOG.md > "$doc/changelog.gz"
gzip -9n > "$doc/changelog.Debian.gz" <<END
$name ($version-$revision) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
install -D -m 755 "$built/mkproxy" "$root/usr/bin/mkproxy"
mkdir -p "$root/usr/share/man/pages"
"$built/mkproxy" man "$root/usr/share/man/pages" >/dev/null
for page in "$root"/usr/share/man/pages/*; do
  mkdir -p "$root/usr/share/man/man${page##*.}"
  gzip -9n < "$page" > "$root/usr/share/man/man${page##*.}/$(basename "$page").gz"
done
rm -r "$root/usr/share/man/pages"
completion() {
  mkdir -p "$root/$(dirname "$2")"
  "$built/mkproxy" completions "$1" > "$root/$2"
}
completion bash usr/share/bash-completion/completions/mkproxy
completion fish usr/share/fish/vendor_completions.d/mkproxy.fish
completion zsh usr/share/zsh/vendor-completions/_mkproxy

# What the files want from the C library, as their own symbols say.
glibc=$(find "$root/usr" -type f \( -name '*.so' -o -path '*/bin/*' \) -exec objdump -T {} + |
  grep -o 'GLIBC_[0-9.]*' | sort -V | tail -n 1 | cut -d _ -f 2)

mkdir -p "$root/DEBIAN"
cat > "$root/DEBIAN/control" <<END
Package: $name
Version: $version-$revision
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --exclude=DEBIAN "$root" | cut -f 1)
Depends: libc6 (>= $glibc), libgcc-s1
Enhances: monkey
Section: httpd
Priority: optional
Description: reverse proxy and load balancer for the Monkey HTTP server
 A plugin that Monkey 1.5 and 1.8 load: requests that match a pattern go to
 other servers, shared among them, past the dead ones, over pooled
 connections. Everything else stays with Monkey.
 .
 The plugin is loaded once a line 'Load /usr/lib/monkey/monkey-proxy_reverse.so'
 stands in Monkey's plugins.load; a commented configuration is among the
 examples of this package.
END
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
find "$root" -type d -exec chmod 755 {} +
chmod 644 "$root"/DEBIAN/*
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
deb=$out/${name}_$version-${revision}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null
echo "$deb"
