#!/bin/sh
# Are the files of a release, in build/dist, whole and of use?  VERSION is its version.  Speaks TAP.

cd "$(dirname "$0")/.." || exit 1
dist=$PWD/build/dist name=tap-segment-$VERSION
dir=$(mktemp -d "${TMPDIR:-/tmp}/dist-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
number=0 failed=0

ok()
{
	number=$((number + 1))
	check=$1
	shift
	if ("$@") >"$dir/said" 2>&1; then
		echo "ok $number - $check"
	else
		echo "not ok $number - $check"
		tail -n 20 "$dir/said" | sed 's/^/# /'
		failed=1
	fi
}

# says_version COMMAND...: runs, and is of this version.
says_version()
{
	"$@" --version | tee "$dir/version"
	grep -q "^tap-segment v$VERSION[ ,]" "$dir/version"
}

# ---- Tarballs ----

sums_hold()
{
	(cd "$1" && sha256sum --check --strict SHA256SUMS)
}

all_summed()
{
	(cd "$dist" && ls | grep -v SHA256SUMS | sort) >"$dir/files"
	awk '{ print $2 }' "$dist/SHA256SUMS" | sort | cmp - "$dir/files"
}

# From the tarball alone: no git, nothing built before.
builds_from_source()
{
	tar -C "$dir" -xzf "$dist/$name.tar.gz" && cd "$dir/$name" && env -u MAKEFLAGS -u MAKELEVEL make CFLAGS=-O0
}

installs_from_source()
{
	cd "$dir/$name" && env -u MAKEFLAGS -u MAKELEVEL make CFLAGS=-O0 DESTDIR="$dir/root" PREFIX=/usr install
}

uninstalls_from_source()
{
	cd "$dir/$name" && make DESTDIR="$dir/root" PREFIX=/usr uninstall && find "$dir/root" -type f &&
		[ -z "$(find "$dir/root" -type f)" ]
}

nothing_generated()
{
	! tar -tzf "$dist/$name.tar.gz" | grep -E '\.o$|/build/|roots\.h|schemas\.h|/tap-segment$|\.git/'
}

ok 'every file has its sum' all_summed
ok 'the sums hold' sums_hold "$dist"
ok 'sources: nothing that was built' nothing_generated
ok 'sources: build' builds_from_source
ok 'sources: of this version' says_version "$dir/$name/tap-segment"
ok 'sources: make install' installs_from_source
ok 'sources: installed' says_version "$dir/root/usr/bin/tap-segment"
ok 'sources: make uninstall leaves no file' uninstalls_from_source

has_all()
{
	for file in tap-segment tap-segment.1 LICENSE README.md SHA256SUMS completions/tap-segment.bash \
		completions/_tap-segment completions/tap-segment.fish; do
		[ -s "$1/$file" ] || { echo "no $file"; return 1; }
	done
}

for arch in $(uname -m) $(contrib/toolchain list); do
	folder=$dir/$name-linux-$arch
	ok "$arch: unpacks" tar -C "$dir" -xzf "$dist/$name-linux-$arch.tar.gz"
	ok "$arch: has all that belongs to it" has_all "$folder"
	ok "$arch: the sums hold" sums_hold "$folder"
	# shellcheck disable=SC2046 # the emulator, or nothing
	ok "$arch: of this version" says_version $(contrib/toolchain run "$arch") "$folder/tap-segment"
done

# ---- Debian package, in a root of its own ----

deb=$dist/tap-segment_$VERSION-1_$(dpkg --print-architecture).deb
root=$dir/debian
mkdir -p "$root"
for folder in updates info triggers; do
	mkdir -p "$root/var/lib/dpkg/$folder"
done
: >"$root/var/lib/dpkg/status"

# Its dependencies are this system's, not this root's.
dpkg_in_root()
{
	dpkg --root="$root" --force-not-root --force-depends --force-script-chrootless "$@"
}

has_files()
{
	for file in usr/bin/tap-segment usr/share/man/man1/tap-segment.1.gz usr/share/doc/tap-segment/copyright; do
		[ -s "$root/$file" ] || { echo "no $file"; return 1; }
	done
}

nothing_left()
{
	find "$root" -path "$root/var" -prune -o -type f -print | tee "$dir/left"
	[ ! -s "$dir/left" ]
}

needs_bearssl()
{
	dpkg-deb -f "$deb" Depends
	dpkg-deb -f "$deb" Depends | grep libbearssl0 | grep -q ca-certificates
}

lints()
{
	lintian --allow-root --fail-on error,warning --display-info build/deb/*.changes
}

ok 'Debian package: lintian finds no fault' lints
ok 'Debian package: needs libbearssl0 and ca-certificates' needs_bearssl
ok 'Debian package: installs' dpkg_in_root -i "$deb"
ok 'Debian package: its files are there' has_files
ok 'Debian package: of this version' says_version "$root/usr/bin/tap-segment"
ok 'Debian package: is removed' dpkg_in_root -P tap-segment
ok 'Debian package: leaves nothing' nothing_left

# ---- Image ----

copied_files_exist()
{
	awk '$1 == "COPY" { for (i = 2; i < NF; i++) print $i }' contrib/Dockerfile | while read -r file; do
		[ -s "$file" ] || { echo "no $file"; exit 1; }
	done
}

ok 'Dockerfile: what it copies is there' copied_files_exist
ok 'Dockerfile: starts from nothing' grep -q '^FROM scratch$' contrib/Dockerfile
echo "1..$number"
exit $failed
