/* answer.h - a second reader of HTTP answers, to judge the first: RFC 9112 over the whole bytes at once, with zlib for
 * gzip.  It knows two things, whether a whole answer stands there and what that says; limits of size are not its matter. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { SAID_MOST = 1 << 22, GZIP = 31 /* zlib's way to say so */ };

struct said {
	int status;
	bool old, gzip, encoded, sized, bad_size, coded;
	unsigned codings; /* of Transfer-Encoding, empty ones aside */
	bool chunked;     /* the first of them is */
	size_t size;
	char body[SAID_MOST];
	size_t length;
};

static struct said said; /* what was read last */

struct part {
	const char *s;
	size_t n;
};

/* ---- Gzip ---- */

/* Inflates one member, or raw deflate, behind what `to` holds.  *in moves past it.  false: it is none, or too long. */
static bool unpack_one(struct part *in, int bits, char *to, size_t *length, size_t most)
{
	z_stream z;
	int result;

	memset(&z, 0, sizeof z);
	z.next_in = (Bytef *)(size_t)in->s;
	z.avail_in = (uInt)in->n;
	z.next_out = (Bytef *)to + *length;
	z.avail_out = (uInt)(most - *length);
	if (inflateInit2(&z, bits) != Z_OK)
		return false;
	result = inflate(&z, Z_FINISH);
	*length += (size_t)z.total_out;
	in->s += z.total_in;
	in->n -= (size_t)z.total_in;
	inflateEnd(&z);
	return result == Z_STREAM_END;
}

/* Every member, and nothing behind the last. */
static bool unpack(const char *s, size_t n, char *to, size_t *length, size_t most)
{
	struct part in = {s, n};

	*length = 0;
	do {
		if (!unpack_one(&in, GZIP, to, length, most))
			return false;
	} while (in.n);
	return true;
}

/* ---- Lines ---- */

/* Up to the next line feed.  strict: a carriage return must stand before it, else one may.  false: there is none. */
static bool part_line(struct part *in, struct part *line, bool strict)
{
	size_t n = 0;

	while (n < in->n && in->s[n] != '\n')
		n++;
	if (n == in->n)
		return false;
	line->s = in->s;
	line->n = n;
	in->s += n + 1;
	in->n -= n + 1;
	if (line->n && line->s[line->n - 1] == '\r')
		line->n--;
	else if (strict)
		return false;
	return true;
}

static struct part part_trim(struct part p)
{
	while (p.n && (*p.s == ' ' || *p.s == '\t'))
		p.s++, p.n--;
	while (p.n && (p.s[p.n - 1] == ' ' || p.s[p.n - 1] == '\t'))
		p.n--;
	return p;
}

static bool part_is(struct part p, const char *word)
{
	return p.n == strlen(word) && strncasecmp(p.s, word, p.n) == 0;
}

/* Tabs aside, no control character. */
static bool part_shows(struct part p)
{
	size_t i;

	for (i = 0; i < p.n; i++)
		if (((unsigned char)p.s[i] < 32 && p.s[i] != '\t') || p.s[i] == 127)
			return false;
	return true;
}

static bool is_one_of(const char *digits, char c)
{
	return c && strchr(digits, c);
}

static bool status_line(struct part line)
{
	static const char digits[] = "0123456789";

	if (line.n < 12 || memcmp(line.s, "HTTP/1.", 7) != 0 || !is_one_of(digits, line.s[7]) || line.s[8] != ' ' ||
	    !is_one_of("12345", line.s[9]) || !is_one_of(digits, line.s[10]) || !is_one_of(digits, line.s[11]) ||
	    (line.n > 12 && line.s[12] != ' '))
		return false;
	said.old = line.s[7] == '0';
	said.status = (line.s[9] - '0') * 100 + (line.s[10] - '0') * 10 + (line.s[11] - '0');
	line.s += 12;
	line.n -= 12;
	return part_shows(line);
}

static void length_item(struct part item)
{
	size_t size = 0, i;

	for (i = 0; i < item.n && is_one_of("0123456789", item.s[i]); i++)
		size = size < SAID_MOST ? size * 10 + (size_t)(item.s[i] - '0') : size;
	if (!item.n || i < item.n || (said.sized && size != said.size))
		said.bad_size = true;
	said.sized = true;
	said.size = size;
}

static void coding_item(struct part item)
{
	if (item.n && !said.codings++)
		said.chunked = part_is(item, "chunked");
}

static void encoding_item(struct part item)
{
	if (!item.n || part_is(item, "identity"))
		return;
	if (said.gzip || !(part_is(item, "gzip") || part_is(item, "x-gzip")))
		said.encoded = true;
	said.gzip = true;
}

static void items(struct part list, void (*take)(struct part))
{
	struct part item = {list.s, 0};

	for (;; item.n++) {
		if (item.s + item.n < list.s + list.n && item.s[item.n] != ',')
			continue;
		take(part_trim(item));
		if (item.s + item.n == list.s + list.n)
			return;
		item.s += item.n + 1;
		item.n = (size_t)-1;
	}
}

/* NAME ":" VALUE; the value counts in a head only, not in trailers. */
static bool field_line(struct part line, bool counts)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";
	struct part name = {line.s, 0}, value;

	while (name.n < line.n && line.s[name.n] != ':') {
		char c = line.s[name.n++];
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !is_one_of(marks, c))
			return false;
	}
	if (!name.n || name.n == line.n)
		return false;
	value.s = line.s + name.n + 1;
	value.n = line.n - name.n - 1;
	if (!part_shows(value))
		return false;
	value = part_trim(value);
	if (!counts)
		return true;
	if (part_is(name, "Content-Length"))
		items(value, length_item);
	if (part_is(name, "Content-Encoding"))
		items(value, encoding_item);
	if (part_is(name, "Transfer-Encoding")) {
		said.coded = true;
		items(value, coding_item);
	}
	return true;
}

/* Lines up to an empty one. */
static bool fields(struct part *in, bool head)
{
	struct part line;

	while (part_line(in, &line, !head)) {
		if (!line.n)
			return true;
		if (!field_line(line, head))
			return false;
	}
	return false;
}

/* ---- Bodies ---- */

static bool body_takes(struct part *in, size_t n)
{
	if (n > in->n || n > SAID_MOST - said.length)
		return false;
	memcpy(said.body + said.length, in->s, n);
	said.length += n;
	in->s += n;
	in->n -= n;
	return true;
}

/* The size and what may stand behind it: blanks, and an extension whose quotes close. */
static bool chunk_line(struct part line, size_t *size)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	struct part rest = line;
	bool quoted = false;
	size_t i;

	*size = 0;
	for (; rest.n && is_one_of(digits, *rest.s); rest.s++, rest.n--)
		*size = *size > SAID_MOST ? *size : *size * 16 + (size_t)(strchr(digits, *rest.s) - digits) % 16;
	if (rest.n == line.n || !part_shows(rest) || (rest.n && is_one_of(" \t", rest.s[rest.n - 1])))
		return false;
	rest = part_trim(rest);
	if (rest.n && *rest.s != ';')
		return false;
	for (i = 0; i < rest.n; i++)
		if (quoted && rest.s[i] == '\\' && i + 1 < rest.n)
			i++;
		else if (rest.s[i] == '"')
			quoted = !quoted;
	return !quoted;
}

static bool chunks(struct part *in)
{
	struct part line;
	size_t size;

	while (part_line(in, &line, true) && chunk_line(line, &size)) {
		if (!size)
			return fields(in, false);
		if (!body_takes(in, size) || in->n < 2 || memcmp(in->s, "\r\n", 2) != 0)
			return false;
		in->s += 2;
		in->n -= 2;
	}
	return false;
}

static bool body(struct part *in, bool ended)
{
	if (said.status == 204 || said.status == 304)
		return true;
	if (said.encoded && said.status / 100 == 2)
		return false;
	if (said.coded)
		return !said.sized && !said.old && said.codings == 1 && said.chunked && chunks(in);
	if (said.sized)
		return !said.bad_size && body_takes(in, said.size);
	return ended && body_takes(in, in->n);
}

/* Replaces what came by what it says. */
static bool decoded(void)
{
	static char text[SAID_MOST];
	size_t length;

	if (said.encoded)
		said.length = 0;
	if (!said.gzip || (!said.length && said.status != 200))
		return true;
	if (!unpack(said.body, said.length, text, &length, sizeof text))
		return false;
	memcpy(said.body, text, length);
	said.length = length;
	return true;
}

/* Does a whole answer to a GET stand at the begin of these bytes?  Then `said` is what it says.  ended: the connection
 * was closed behind them, by the server's will. */
static bool answer_is_whole(const char *bytes, size_t n, bool ended)
{
	struct part in = {bytes, n}, line;

	do {
		memset(&said, 0, offsetof(struct said, body));
		said.length = 0;
		if (!part_line(&in, &line, false) || !status_line(line) || !fields(&in, true) || said.status == 101)
			return false;
	} while (said.status < 200);
	return body(&in, ended) && decoded();
}

#endif
