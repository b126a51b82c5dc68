# size.awk - what takes the room in a program, from GNU ld's map: bytes of code and constants, and of memory at start.
# usage: awk -f size.awk MAP

function kind_of(section, file)
{
	if (section ~ /\.roots/) return "trust roots"
	if (section ~ /\.schema_/) return "schemas"
	if (file ~ /libbearssl\.a/) return "BearSSL"
	if (file ~ /libc\.a|crt[1in]\.o/) return "musl"
	if (file ~ /libgcc/) return "libgcc"
	sub(/.*\//, "", file)
	return file
}

# A long section name stands on a line of its own; what belongs to it follows on the next.
/^Linker script and memory map/ { mapped = 1 }
!mapped { next }
/^ \.[^ ]+$/ { name = $1; next }
/^ +0x[0-9a-f]+ +0x[0-9a-f]+ / && name != "" { add(name, $2, $3); name = ""; next }
/^ \.[^ ]+ +0x[0-9a-f]+ +0x[0-9a-f]+ / { add($1, $3, $4) }
{ name = "" }

function number(text,    i, n)
{
	for (i = 3; i <= length(text); i++)
		n = n * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
	return n
}

function add(section, size, file)
{
	if (section ~ /^\.(debug|comment|note|symtab|strtab|shstrtab)/)
		return
	if (section ~ /^\.bss/)
		memory[kind_of(section, file)] += number(size)
	else
		room[kind_of(section, file)] += number(size)
	kinds[kind_of(section, file)] = 1
}

END {
	printf "%9s %9s\n", "in file", "zeroed"
	for (kind in kinds) {
		printf "%9d %9d  %s\n", room[kind], memory[kind], kind | "sort -rn"
		all += room[kind]
		zeroed += memory[kind]
	}
	close("sort -rn")
	printf "%9d %9d  %s\n", all, zeroed, "all, before sections are aligned"
}
