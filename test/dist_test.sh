#!/bin/sh
# Are the files of a release, in build/dist, whole and of use?  VERSION is its version.  Speaks TAP.

cd "$(dirname "$0")/.." || exit 1
dist=$PWD/build/dist name=tap-segment-$VERSION
dir=$(mktemp -d "${TMPDIR:-/tmp}/dist-test.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
number=0 failed=0
for tool in jq lintian python3; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "Bail out! There is no $tool: run contrib/deps dist"
		exit 1
	fi
done

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

# has FOLDER FILE...
has()
{
	folder=$1
	shift
	for file; do
		[ -s "$folder/$file" ] || { echo "no $file"; return 1; }
	done
}

has_all()
{
	# shellcheck disable=SC2046 # names without blanks
	has "$1" tap-segment tap-segment.1 LICENSE README.md CHANGELOG.md SHA256SUMS completions/tap-segment.bash \
		completions/_tap-segment completions/tap-segment.fish contrib/NOTICE contrib/security.md contrib/Dockerfile \
		$(find contrib/examples contrib/meltano -type f) && [ -x "$1/contrib/examples/segment-sync" ]
}

# names_of FILE: the files and folders of contrib that it names.
names_of()
{
	grep -o '`contrib/[A-Za-z/.-]*[A-Za-z/]`' "$1" | tr -d '`' | sort -u
}

# What a user without the sources is told to look at, not what it takes to build.
named_is_there()
{
	sed '/^## How it is built/,$d' "$1/README.md" >"$dir/README.md"
	names_of "$dir/README.md" | grep -v '^contrib/deps$' | tee "$dir/names"
	[ -s "$dir/names" ] && while read -r file; do
		[ -e "$1/$file" ] || { echo "no $file"; return 1; }
	done <"$dir/names"
}

for arch in $(uname -m) $(contrib/toolchain list); do
	folder=$dir/$name-linux-$arch
	ok "$arch: unpacks" tar -C "$dir" -xzf "$dist/$name-linux-$arch.tar.gz"
	ok "$arch: has all that belongs to it" has_all "$folder"
	ok "$arch: has what its README.md names" named_is_there "$folder"
	ok "$arch: the sums hold" sums_hold "$folder"
	# shellcheck disable=SC2046 # the emulator, or nothing
	ok "$arch: of this version" says_version $(contrib/toolchain run "$arch") "$folder/tap-segment"
done

# ---- Wheels ----

# As installers see them: each entry has its sum and size in RECORD, which names itself last; modes, times and tags.
wheel_is_right()
{
	python3 - "$1" <<-'END'
		import base64, csv, hashlib, io, re, sys, zipfile
		wheel = zipfile.ZipFile(sys.argv[1])
		entries = {entry.filename: entry for entry in wheel.infolist()}
		(record,) = [name for name in entries if name.endswith(".dist-info/RECORD")]
		rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
		assert [row[0] for row in rows] == list(entries) and rows[-1] == [record, "", ""], rows
		for name, total, size in rows[:-1]:
		    content = wheel.read(name)
		    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
		    assert (total, size) == ("sha256=" + digest, str(len(content))), name
		modes = {name: entry.external_attr >> 16 for name, entry in entries.items()}
		scripts = {name for name, mode in modes.items() if mode == 0o100755}
		assert scripts == {name for name in entries if name.endswith(".data/scripts/tap-segment")} != set(), modes
		assert len({entry.date_time for entry in entries.values()}) == 1, "one time for all"
		tags = re.findall(r"^Tag: (.*)$", wheel.read(record.replace("RECORD", "WHEEL")).decode(), re.M)
		python, abi, platforms = sys.argv[1].removesuffix(".whl").rsplit("-", 3)[1:]
		assert tags == [f"{python}-{abi}-{one}" for one in platforms.split(".")], tags
	END
}

# The binary in a wheel is that of the tarball.
same_binary()
{
	rm -rf "$dir/wheel"
	python3 -m zipfile -e "$1" "$dir/wheel" && cmp "$dir/wheel/tap_segment-$VERSION.data/scripts/tap-segment" "$2"
}

packs_again()
{
	cp "$1" "$dir/before.whl"
	contrib/dist "$VERSION" binary "$(uname -m)" build/static/tap-segment && cmp "$1" "$dir/before.whl"
}

# Nothing but the file: no index, no network.
pip_in_venv()
{
	"$dir/venv/bin/python" -m pip --isolated --disable-pip-version-check "$@"
}

files_of_venv()
{
	find "$dir/venv" ! -name '*.pyc' ! -name __pycache__ | sort
}

venv_is_made()
{
	python3 -m venv "$dir/venv" && files_of_venv >"$dir/venv.before"
}

nothing_left_in_venv()
{
	files_of_venv | diff "$dir/venv.before" -
}

for wheel in "$dist"/*.whl; do
	ok "wheel: as installers want it: ${wheel##*-none-}" wheel_is_right "$wheel"
done
for pair in x86_64:x86_64 aarch64:aarch64 armv7:armv7l i386:i686 ppc64le:ppc64le riscv64:riscv64 s390x:s390x; do
	for wheel in "$dist"/*linux*_"${pair#*:}".*.whl; do
		ok "wheel: for ${pair#*:}, with the binary of ${pair%:*}" \
			same_binary "$wheel" "$dir/$name-linux-${pair%:*}/tap-segment"
	done
done
wheel=$(ls "$dist"/*_"$(uname -m)".whl)
ok 'wheel: the same bytes again' packs_again "$wheel"
ok 'wheel: a fresh environment' venv_is_made
ok 'wheel: pip installs it' pip_in_venv install --no-index "$wheel"
ok 'wheel: installed, of this version' says_version "$dir/venv/bin/tap-segment"
ok 'wheel: pip finds nothing wrong' pip_in_venv check
ok 'wheel: pip removes it' pip_in_venv uninstall -y tap-segment
ok 'wheel: leaves nothing' nothing_left_in_venv

# ---- Bill of materials ----

bom=$dist/$name.cdx.json

# bom_says FILTER
bom_says()
{
	jq -e "$1" "$bom" >/dev/null || { jq . "$bom"; return 1; }
}

roots=$(build/static/tap-segment --version | sed -n 's/.* trust roots of //p')
ok 'bill of materials: CycloneDX' bom_says \
	'.bomFormat == "CycloneDX" and .specVersion == "1.5" and (.serialNumber | test("^urn:uuid:[0-9a-f-]{36}$"))'
ok 'bill of materials: of this version' bom_says ".metadata.component.version == \"$VERSION\""
ok 'bill of materials: BearSSL with the sum of its release' bom_says '.components[0] | .name == "BearSSL" and
	.version == "0.6" and .hashes[0].content == "6705bba1714961b41a728dfc5debbe348d2966c117649392f8c8139efc83ff14"'
ok 'bill of materials: the musl that is linked' bom_says \
	"[.components[] | select(.name == \"musl\").version] | index(\"$(contrib/toolchain musl)\") != null"
ok 'bill of materials: the trust roots with their date' bom_says \
	"[.components[] | select(.name == \"trust-roots\").version] == [\"$roots\"]"
ok 'bill of materials: each part is used' bom_says '.dependencies[0].dependsOn == [.components[]["bom-ref"]]'

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
	# shellcheck disable=SC2046 # names without blanks
	has "$root/usr" bin/tap-segment share/man/man1/tap-segment.1.gz share/bash-completion/completions/tap-segment \
		share/zsh/vendor-completions/_tap-segment share/fish/vendor_completions.d/tap-segment.fish &&
		has "$root/usr/share/doc/tap-segment" copyright README.md.gz security.md.gz changelog.gz examples/Dockerfile \
			$(cd contrib && find meltano -type f | sed 's,^,examples/,') \
			$(cd contrib && find examples -type f) &&
		[ -x "$root/usr/share/doc/tap-segment/examples/segment-sync" ]
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

# copies FOLDER TAP: what contrib/Dockerfile copies is in FOLDER, where the tap is TAP.
copies()
{
	awk '$1 == "COPY" { for (i = 2; i < NF; i++) print $i }' contrib/Dockerfile | sed "s,^\\\$TAP$,$2," >"$dir/copied"
	# shellcheck disable=SC2046 # names without blanks
	grep -qx "$2" "$dir/copied" && has "$1" $(cat "$dir/copied")
}

ok 'Dockerfile: what it copies is there' copies . "$(sed -n 's/^ARG TAP=//p' contrib/Dockerfile)"
ok 'Dockerfile: in the unpacked tarball too' copies "$dir/$name-linux-$(uname -m)" tap-segment
ok 'Dockerfile: starts from nothing' grep -q '^FROM scratch$' contrib/Dockerfile
echo "1..$number"
exit $failed
