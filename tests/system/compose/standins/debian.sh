#!/usr/bin/env bash
# debian.sh TAG: Debian trixie as in the official slim images, with this machine's certificates and package mirror.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 '/debian/$')

debootstrap --variant=minbase --include=ca-certificates trixie "$root" "${mirror%/}"
printf 'deb %s %s main\n' "$mirror" trixie "$mirror" trixie-updates >"$root/etc/apt/sources.list"
cat >"$root/etc/apt/apt.conf.d/90lenta" <<'END'
Acquire::Languages "none";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Install-Recommends "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
END
# No service is started while its package is installed.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
# How this machine reaches its mirror, where that takes more than the defaults.
cp /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
if cp /usr/local/share/ca-certificates/* "$root/usr/local/share/ca-certificates/" 2>/dev/null; then
    chroot "$root" update-ca-certificates
fi
rm -rf "$root"/usr/share/{doc,man,info,locale}/* "$root"/var/{lib/apt/lists,cache/apt}/*
tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$1"
