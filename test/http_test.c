/* http_test.c - http.c by vectors, and whole exchanges over a network and a clock that are made up.
 * Nothing here waits: time moves when http.c polls.  Run from the root of the sources. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include "check.h"

static void *test_malloc(size_t);
static void *test_calloc(size_t, size_t);
static void *test_realloc(void *, size_t);
static int net_clock_gettime(clockid_t, struct timespec *);
static int net_poll(struct pollfd *, nfds_t, int);
static int net_socket(int, int, int);
static int net_connect(int, const struct sockaddr *, socklen_t);
static ssize_t net_send(int, const void *, size_t, int);
static ssize_t net_recv(int, void *, size_t, int);
static int net_close(int);
static int net_getsockopt(int, int, int, void *, socklen_t *);
static int net_setsockopt(int, int, int, const void *, socklen_t);
static int net_fcntl(int, int, ...);
static int net_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
static void net_freeaddrinfo(struct addrinfo *);
static int net_getentropy(void *, size_t);
static int net_open(const char *, int, ...);
static ssize_t net_read(int, void *, size_t);

#define malloc        test_malloc
#define calloc        test_calloc
#define realloc       test_realloc
#define clock_gettime net_clock_gettime
#define poll          net_poll
#define socket        net_socket
#define connect       net_connect
#define send          net_send
#define recv          net_recv
#define close         net_close
#define getsockopt    net_getsockopt
#define setsockopt    net_setsockopt
#define fcntl         net_fcntl
#define getaddrinfo   net_getaddrinfo
#define freeaddrinfo  net_freeaddrinfo
#define getentropy    net_getentropy
#define open          net_open
#define read          net_read
#include "../http.c"
#undef malloc
#undef calloc
#undef realloc
#undef close
#undef open
#undef read

/* ---- Memory that can be made to fail ---- */

static long allocations_left = -1; /* -1: no end */

static bool allocation_fails(void)
{
	if (allocations_left < 0)
		return false;
	return allocations_left-- == 0 ? (allocations_left = 0, true) : false;
}

static void *test_malloc(size_t size)
{
	return allocation_fails() ? NULL : malloc(size);
}

static void *test_calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : calloc(count, size);
}

static void *test_realloc(void *old, size_t size)
{
	return allocation_fails() ? NULL : realloc(old, size);
}

/* ---- Bytes that end where nothing can be read any more ---- */

static char *fence;

static void fence_make(void)
{
	enum { ROOM = 1 << 20 };
	int zero = open("/dev/zero", O_RDWR);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = zero < 0 ? MAP_FAILED : mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);

	if (p == MAP_FAILED || mprotect(p + ROOM, page, PROT_NONE) != 0) {
		perror("fence");
		exit(2);
	}
	close(zero);
	fence = p + ROOM;
}

static const char *before_fence(const char *bytes, size_t length)
{
	return memcpy(fence - length, bytes, length);
}

/* ---- Framing vectors ---- */

struct text {
	char *s;
	size_t n, room;
};

static void text_add(struct text *t, const char *s, size_t n)
{
	if (t->n + n > t->room) {
		t->room = (t->n + n) * 2;
		t->s = realloc(t->s, t->room);
		if (!t->s)
			exit(2);
	}
	if (n)
		memcpy(t->s + t->n, s, n);
	t->n += n;
}

static const char *text_escape(struct text *t, const char *s)
{
	static const char letters[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
	const char *letter = strchr(letters, *s);
	char byte;

	if (*s == 'x') {
		byte = (char)(hex_value(s[1]) * 16 + hex_value(s[2]));
		text_add(t, &byte, 1);
		return s + 3;
	}
	if (*s && letter)
		text_add(t, bytes + (letter - letters), 1);
	return s + 1;
}

/* Undoes the escapes of framing.txt. */
static void text_unescape(struct text *t, const char *s)
{
	while (*s) {
		if (*s != '\\') {
			text_add(t, s++, 1);
		} else if (s[1] == '(') {
			char *pattern;
			unsigned long count = strtoul(s + 2, &pattern, 10);
			const char *end = strstr(pattern, "\\)");
			struct text one = {0};
			char *copy = strdup(pattern + 1);
			copy[end - pattern - 1] = '\0';
			text_unescape(&one, copy);
			while (count--)
				text_add(t, one.s, one.n);
			free(one.s);
			free(copy);
			s = end + 2;
		} else {
			s = text_escape(t, s + 1);
		}
	}
}

/* Undoes the hexadecimal of gzip.txt. */
static void text_hex(struct text *t, const char *s)
{
	char byte;

	for (; *s; s += 2) {
		byte = (char)(hex_value(s[0]) * 16 + hex_value(s[1]));
		text_add(t, &byte, 1);
	}
}

struct vector {
	char name[128];
	struct text sent, gives;
	bool bare;
	char after[16];
};

/* The next vector of the file; false at its end. */
static bool vector_read(FILE *file, struct vector *v)
{
	char line[2048];

	memset(v, 0, sizeof *v);
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!*line && *v->name)
			return true;
		if (strncmp(line, "name: ", 6) == 0)
			snprintf(v->name, sizeof v->name, "%.100s", line + 6);
		else if (strncmp(line, "sent: ", 6) == 0)
			text_unescape(&v->sent, line + 6);
		else if (strncmp(line, "gives: ", 7) == 0)
			text_unescape(&v->gives, line + 7);
		else if (strncmp(line, "gzip: ", 6) == 0)
			text_hex(&v->sent, line + 6);
		else if (strncmp(line, "after: ", 7) == 0)
			snprintf(v->after, sizeof v->after, "%.10s", line + 7);
		else if (strcmp(line, "end: bare") == 0)
			v->bare = true;
	}
	return *v->name;
}

static enum verdict feed(struct answer *a, const char *bytes, size_t length, size_t piece, size_t *used)
{
	enum verdict v = ANSWER_MORE;
	size_t n;

	for (*used = 0; *used < length && v == ANSWER_MORE; *used += n) {
		size_t left = length - *used;
		v = answer_feed(a, bytes + *used, left < piece ? left : piece, &n);
	}
	return v;
}

/* Reads `length` bytes; puts into `out` what came of it, as the file writes it. */
static enum verdict vector_run(const struct vector *v, size_t length, size_t piece, struct text *out, bool *keeps)
{
	struct answer a;
	const char *bytes = before_fence(v->sent.n ? v->sent.s : "", length);
	size_t used;
	enum verdict verdict;
	char number[8];

	memset(&a, 0, sizeof a);
	verdict = feed(&a, bytes, length, piece, &used);
	*keeps = verdict == ANSWER_WHOLE && used == length && answer_keeps(&a);
	if (verdict == ANSWER_MORE)
		verdict = answer_end(&a, !v->bare);
	out->n = 0;
	if (verdict == ANSWER_WHOLE) {
		snprintf(number, sizeof number, "%d ", a.head.status);
		text_add(out, number, a.length ? 4 : 3);
		text_add(out, a.bytes, a.length);
	} else {
		text_add(out, verdict == ANSWER_OVER ? "over " : "bad ", verdict == ANSWER_OVER ? 5 : 4);
		text_add(out, a.why, strlen(a.why));
	}
	answer_free(&a);
	return verdict;
}

/* A whole answer must be equal, a reason begin so. */
static bool vector_agrees(const struct vector *v, const struct text *got)
{
	bool whole = is_digit(*v->gives.s);

	return got->n >= v->gives.n && (!whole || got->n == v->gives.n) && memcmp(got->s, v->gives.s, v->gives.n) == 0;
}

/* No part of it may count as a whole answer, unless the end of the connection is what ends it; nor may a part be
 * refused of what is whole. */
static bool vector_cuts(const struct vector *v)
{
	struct text out = {0};
	bool whole = is_digit(*v->gives.s), good = true, keeps;
	size_t most = v->sent.n < 2000 ? v->sent.n : 2000, n;
	struct answer a;

	memset(&a, 0, sizeof a);
	feed(&a, v->sent.n ? v->sent.s : "", v->sent.n, SIZE_MAX, &n);
	if (n < most) /* the surplus is none of its parts */
		most = n;
	if (a.stage != AT_CLOSE)
		for (n = 0; n < most && good; n++) {
			struct answer part;
			size_t used;
			enum verdict verdict;
			memset(&part, 0, sizeof part);
			verdict = feed(&part, before_fence(v->sent.s, n), n, SIZE_MAX, &used);
			good = whole ? verdict == ANSWER_MORE : verdict != ANSWER_WHOLE;
			answer_free(&part);
			good = good && vector_run(v, n, SIZE_MAX, &out, &keeps) != ANSWER_WHOLE;
			good = good && !keeps;
		}
	answer_free(&a);
	free(out.s);
	return good;
}

static bool same(const void *a, size_t n, const void *b, size_t m)
{
	return n == m && memcmp(a, b, n) == 0;
}

static void test_framing(void)
{
	FILE *file = fopen("test/framing.txt", "r");
	struct vector v;
	struct text got = {0}, whole = {0};
	bool keeps;

	if (!check(file != NULL, "test/framing.txt can be read"))
		return;
	while (vector_read(file, &v)) {
		vector_run(&v, v.sent.n, SIZE_MAX, &got, &keeps);
		if (!check(vector_agrees(&v, &got), "framing, whole: %s", v.name))
			check_show("got", got.s, got.n < 200 ? got.n : 200);
		if (*v.after)
			check(keeps == (strcmp(v.after, "keeps") == 0), "framing, connection %s: %s", v.after, v.name);
		whole.n = 0;
		text_add(&whole, got.s, got.n);
		vector_run(&v, v.sent.n, 1, &got, &keeps);
		if (!check(same(got.s, got.n, whole.s, whole.n), "framing, the same byte by byte: %s", v.name))
			check_show("got", got.s, got.n < 200 ? got.n : 200);
		check(vector_cuts(&v), "framing, cut at every byte: %s", v.name);
		free(v.sent.s);
		free(v.gives.s);
	}
	free(got.s);
	free(whole.s);
	fclose(file);
}

/* ---- Gzip vectors ---- */

/* Into `to` what came of it, as the file writes it. */
static enum verdict gzip_run(const struct vector *v, size_t length, size_t limit, char *to, size_t size)
{
	char *out;
	size_t n;
	const char *why;
	enum verdict verdict = gunzip(before_fence(v->sent.s, length), length, limit, &out, &n, &why);

	if (verdict == ANSWER_WHOLE)
		snprintf(to, size, "%lu %08lx", (unsigned long)n,
			 (unsigned long)crc32_of((const unsigned char *)out, n));
	else
		snprintf(to, size, "%s %s", verdict == ANSWER_OVER ? "over" : "bad", why ? why : "no memory");
	free(out);
	return verdict;
}

/* Only after a whole member is a part of a good one good. */
static bool gzip_cuts(const struct vector *v)
{
	char got[200];
	size_t n;
	bool good = true, members = strstr(v->name, "members") != NULL;

	for (n = 0; n < v->sent.n && good; n++) {
		enum verdict verdict = gzip_run(v, n, SIZE_MAX / 2, got, sizeof got);
		good = strcmp(got, "bad gzip that is cut off") == 0 || (members && verdict == ANSWER_WHOLE);
	}
	return good;
}

static void gzip_check(const struct vector *v)
{
	char got[200];
	size_t length = strtoul(v->gives.s, NULL, 10);
	bool good = is_digit(*v->gives.s);

	gzip_run(v, v->sent.n, SIZE_MAX / 2, got, sizeof got);
	check_text(got, v->gives.s, v->name);
	if (!good)
		return;
	check(gzip_cuts(v), "gzip, cut at every byte: %s", v->name);
	check(gzip_run(v, v->sent.n, length, got, sizeof got) == ANSWER_WHOLE, "gzip, just so long: %s", v->name);
	if (length)
		check(gzip_run(v, v->sent.n, length - 1, got, sizeof got) == ANSWER_OVER, "gzip, too long by one: %s",
		      v->name);
}

/* Any allocation may fail; what has grown by then is given back. */
static void gzip_memory(const struct vector *v)
{
	char got[200] = "bad no memory";
	long n;

	for (n = 0; strcmp(got, "bad no memory") == 0 && n < 100; n++) {
		allocations_left = n;
		gzip_run(v, v->sent.n, SIZE_MAX / 2, got, sizeof got);
		allocations_left = -1;
	}
	check_text(got, v->gives.s, "gzip, without memory and with ever more of it");
}

static void test_gzip(void)
{
	FILE *file = fopen("test/gzip.txt", "r");
	struct vector v;

	if (!check(file != NULL, "test/gzip.txt can be read"))
		return;
	while (vector_read(file, &v)) {
		text_add(&v.gives, "", 1);
		gzip_check(&v);
		if (strcmp(v.name, "two members") == 0)
			gzip_memory(&v);
		free(v.sent.s);
		free(v.gives.s);
	}
	fclose(file);
}

/* Written out, the vectors would be 64 MiB long. */
/* What was built in is unpacked whole or not at all. */
static void test_gunzip_refused(void)
{
	size_t length;

	check(!http_gunzip((const unsigned char *)"\x1f\x8b\x08", 3, 1000, &length), "no text of half a gzip stream");
}

static void test_body_limit(void)
{
	static char piece[1 << 20];
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
	struct answer a;
	enum verdict v;
	size_t used;
	int i;

	memset(&a, 0, sizeof a);
	v = answer_feed(&a, head, sizeof head - 1, &used);
	for (i = 0; i < 64 && v == ANSWER_MORE; i++)
		v = answer_feed(&a, piece, sizeof piece, &used);
	check(v == ANSWER_MORE && a.length == HTTP_BODY_LIMIT, "a body of 64 MiB passes");
	v = answer_feed(&a, piece, 1, &used);
	check(v == ANSWER_OVER, "one byte more does not");
	answer_free(&a);
}

/* The same with chunks: of 64 MiB together, and of one byte more. */
static void test_chunked_limit(void)
{
	static char piece[1 << 20];
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3FFFFFF\r\n";
	static const struct {
		const char *next;
		enum verdict verdict;
	} cases[] = {{"\r\n1\r\nx\r\n0\r\n\r\n", ANSWER_WHOLE}, {"\r\n2\r\n", ANSWER_OVER}};
	size_t c, used;

	for (c = 0; c < countof(cases); c++) {
		struct answer a = {0};
		enum verdict v = answer_feed(&a, head, sizeof head - 1, &used);
		int i;
		for (i = 0; i < 64 && v == ANSWER_MORE; i++)
			v = answer_feed(&a, piece, sizeof piece - (i == 63), &used);
		v = v == ANSWER_MORE ? answer_feed(&a, cases[c].next, strlen(cases[c].next), &used) : v;
		check(v == cases[c].verdict, "chunks of 64 MiB%s", c ? " and a byte" : "");
		check(v != ANSWER_WHOLE || a.length == HTTP_BODY_LIMIT, "make a body of as much");
		answer_free(&a);
	}
}

/* The only source of random bytes of systems without getentropy. */
static void test_random_device(void)
{
	unsigned char bytes[2][64] = {{0}};

	check(random_device(bytes[0], sizeof bytes[0]) && random_device(bytes[1], sizeof bytes[1]) &&
		      memcmp(bytes[0], bytes[1], sizeof bytes[0]) != 0,
	      "/dev/urandom gives bytes, each time others");
}

/* A server that only says that much will come must send some of it before it costs us that much. */
static void test_announced(void)
{
	static char piece[16 << 10];
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
	static const char small[] = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
	static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
	struct answer a;
	size_t used;
	char *bytes;
	int i;

	memset(&a, 0, sizeof a);
	answer_feed(&a, head, sizeof head - 1, &used);
	for (i = 0; i < 4; i++)
		answer_feed(&a, piece, sizeof piece, &used);
	check(a.length == sizeof piece * 4 && a.capacity <= sizeof piece * 8, "room for what came of a body");
	answer_feed(&a, piece, sizeof piece, &used);
	check(a.capacity == 1000000, "after 64 KiB of it, for what was announced");
	for (bytes = a.bytes; a.stage != AT_END;)
		answer_feed(&a, piece, sizeof piece, &used);
	check(a.length == 1000000 && a.bytes == bytes, "and then it stays where it is");
	answer_free(&a);
	memset(&a, 0, sizeof a);
	answer_feed(&a, small, sizeof small - 1, &used);
	answer_feed(&a, piece, 1999, &used);
	answer_feed(&a, piece, 3000, &used);
	check(a.length == 4999 && a.capacity == 5000, "a small body has no more room than was announced");
	answer_feed(&a, piece, 1, &used);
	check(a.length == 5000 && a.stage == AT_END, "and ends there");
	answer_free(&a);
	memset(&a, 0, sizeof a);
	answer_feed(&a, chunked, sizeof chunked - 1, &used);
	check(a.length == 3 && a.capacity > 3, "nobody knows how long a chunked body will be");
	answer_feed(&a, "0\r\n\r\n", 5, &used);
	check(a.length == 3 && a.capacity == 3 && a.stage == AT_END, "at its end it keeps what it takes");
	answer_free(&a);
}

/* ---- Dates, URLs, lists ---- */

static void test_dates(void)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: refused */
	} dates[] = {
		{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
		{"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
		{"Sun Nov  6 08:49:37 1994", 784111777},
		{"Sun, 6 Nov 1994 08:49:37 +0000", 784111777},
		{"6 Nov 1994 08:49:37 -0130", 784111777 + 5400},
		{"Sun Nov 06 1994 08:49:37 GMT+0000 (Coordinated Universal Time)", 784111777},
		{"Sun Nov 06 1994 10:49:37 GMT+0200 (Central European (Summer) Time)", 784111777},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Tue, 29 Feb 2028 12:00:00 GMT", 1835438400},
		{"Thu, 31 Dec 2026 23:59:60 GMT", 1798761600},
		{"Sat, 01 Jan 2039 00:00:00 GMT", 2177452800},
		{"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
		{"Monday, 01-Mar-76 00:00:00 GMT", 3350246400}, /* 2076: not more than 50 years ahead */
		{"Tuesday, 01-Mar-77 00:00:00 GMT", 226022400}, /* 1977 */
		{"sun, 06 NOV 1994 08:49:37 gmt", 784111777},
		{"Sun, 06 Nov 1994 08:49:37 UTC", 784111777},
		{"Sun, 06 Nov 1994 08:49:37 UT", 784111777},
		{"Sun, 06 Nov 1994 08:49:37 Z", 784111777},
		{"06 Sun Nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 x8:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 08:4x:37 GMT", -1},
		{"Sun, 06 Nov 1994 08-49:37 GMT", -1},
		{"Sun, 06 Nov 1994 08:49:37 +0x00", -1},
		{"", -1},
		{"0", -1},
		{"1614556800", -1},
		{"Sun, 06 Nov 1994", -1},
		{"08:49:37", -1},
		{"Sun, 06 Nov 1994 08:49 GMT", -1},
		{"Sun, 06 Nov 1994 8:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 24:00:00 GMT", -1},
		{"Sun, 06 Nov 1994 08:60:00 GMT", -1},
		{"Sun, 06 Nov 1994 08:49:61 GMT", -1},
		{"Sun, 00 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 31 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nox 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nov Dec 1994 08:49:37 GMT", -1},
		{"Sun, 06 07 Nov 1994 08:49:37 GMT", -1},
		{"Sun, 06 Nov 19945 08:49:37 GMT", -1},
		{"Sun, 06 Nov 994 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 08:49:37 PST", -1},
		{"Sun, 06 Nov 1994 08:49:37 +00", -1},
		{"Sun, 06 Nov 1994 08:49:37 +2460", -1},
		{"Sun, 06 Nov 1994 08:49:37 +2400", -1},
		{"Sun, 06 Nov 1994 08:49:37 +2359", 784111777 - 86340},
		{"Sun, 06 Nov 0000 08:49:37 GMT", -1},
		{"Sun, 06 Jan Feb 1994 08:49:37 GMT", -1},
		{"Mon, 31 Jan 1994 00:00:00 GMT", 759974400},
		{"Thu, 31 Mar 1994 00:00:00 GMT", 765072000},
		{"Sat, 30 Apr 1994 00:00:00 GMT", 767664000},
		{"Tue, 31 May 1994 00:00:00 GMT", 770342400},
		{"Thu, 30 Jun 1994 00:00:00 GMT", 772934400},
		{"Sun, 31 Jul 1994 00:00:00 GMT", 775612800},
		{"Wed, 31 Aug 1994 00:00:00 GMT", 778291200},
		{"Fri, 30 Sep 1994 00:00:00 GMT", 780883200},
		{"Mon, 31 Oct 1994 00:00:00 GMT", 783561600},
		{"Wed, 30 Nov 1994 00:00:00 GMT", 786153600},
		{"Sat, 31 Dec 1994 00:00:00 GMT", 788832000},
		{"Sun, 06 Nov 1994 08:49:37 08:49:37 GMT", -1},
		{"Sun, 06 Nov 1994 08:49:37 GMT; x", -1},
		{"(Sun) 06 Nov 1994 08:49:37 GMT", -1},
		{"Invalid Date", -1},
	};
	const int64_t now = 1795557600; /* 2026-11-24 */
	size_t i, n;

	for (i = 0; i < countof(dates); i++) {
		int64_t seconds = -1;
		size_t length = strlen(dates[i].text);
		struct str s = {before_fence(dates[i].text, length), length};
		bool good = date_parse(s, now, &seconds);
		check(good == (dates[i].seconds >= 0) && (!good || seconds == dates[i].seconds), "date: \"%s\"",
		      dates[i].text);
		for (n = 0; n < length; n++) {
			s.s = before_fence(dates[i].text, n);
			s.n = n;
			date_parse(s, now, &seconds); /* must only not read on */
		}
	}
}

static void test_urls(void)
{
	static const struct {
		const char *text, *host, *name, *prefix;
		unsigned port;
		bool tls;
	} good[] = {
		{"https://api.segmentapis.com", "api.segmentapis.com", "api.segmentapis.com", "", 443, true},
		{"HTTPS://API.Example.COM./v1/", "api.example.com", "api.example.com", "/v1/", 443, true},
		{"https://a:8443/x?y", "a", "a:8443", "/x?y", 8443, true},
		{"https://a:443", "a", "a", "", 443, true},
		{"http://127.0.0.1:080", "127.0.0.1", "127.0.0.1", "", 80, false},
		{"http://[::1]:65535/", "::1", "[::1]:65535", "/", 65535, false},
		{"https://[FE80::1]", "fe80::1", "[fe80::1]", "", 443, true},
		{"http://u:p%40@proxy:3128", "proxy", "proxy:3128", "", 3128, false},
		{"http://u:p@q@proxy:3128", "proxy", "proxy:3128", "", 3128, false},
		{"https://a_b-c.d9", "a_b-c.d9", "a_b-c.d9", "", 443, true},
	};
	static const char *const bad[] = {
		"",
		"a",
		"//a",
		"ftp://a",
		"https:a",
		"https://",
		"https:///x",
		"https://.",
		"https://..",
		"https://a..b",
		"https://a..",
		"https://.a",
		"https://:443",
		"https://a:",
		"https://a:0",
		"https://a:65536",
		"https://a:99999999999999999999",
		"https://a:8x",
		"https://a:-1",
		"https://a:+1",
		"https://[::1",
		"https://[::1]x",
		"https://[]",
		"https://[a]",
		"https://[127.0.0.1]",
		"https://::1",
		"https://a b",
		"https://a%41",
		"https://[fe80::1%eth0]",
		"https://u@",
		"https://u@/",
		"https://a\\b",
		"https://*.a",
	};
	struct url u;
	char host[400];
	size_t i;

	for (i = 0; i < countof(good); i++)
		check(!url_parse(good[i].text, &u) && strcmp(u.host, good[i].host) == 0 &&
			      strcmp(u.name, good[i].name) == 0 && strcmp(u.prefix, good[i].prefix) == 0 &&
			      u.port == good[i].port && u.tls == good[i].tls,
		      "URL: %s", good[i].text);
	for (i = 0; i < countof(bad); i++)
		check(url_parse(bad[i], &u) != NULL, "no URL: \"%s\"", bad[i]);
	snprintf(host, sizeof host, "https://%0253d", 1);
	check(!url_parse(host, &u), "a host of 253 bytes passes");
	snprintf(host, sizeof host, "https://%0254d", 1);
	check(url_parse(host, &u) != NULL, "a host of 254 bytes does not");
}

static void test_no_proxy(void)
{
	static const struct {
		const char *url, *list;
		bool exempt;
	} cases[] = {
		{"https://a.example.com", "*", true},
		{"https://a.example.com", "example.com", true},
		{"https://a.example.com", ".example.com", true},
		{"https://example.com", ".example.com", true},
		{"https://a.example.com", "x, EXAMPLE.com ,y", true},
		{"https://a.example.com", "x example.com y", true},
		{"https://badexample.com", "example.com", false},
		{"https://a.example.com", "b.a.example.com", false},
		{"https://a.example.com", "", false},
		{"https://a.example.com", ",, ,", false},
		{"https://a.example.com", ".", false},
		{"https://a.example.com", "*.example.com", true},
		{"https://example.com", "*.example.com", true},
		{"https://badexample.com", "*.example.com", false},
		{"https://badexample.com", "*example.com", false},
		{"https://a.example.com", "example.com.", true},
		{"https://a.example.com", "*.", false},
		{"https://a.example.com", "..", false},
		{"https://10.0.0.1", "*.0.0.1", false},
		{"https://10.0.0.1", "10.0.0.1", true},
		{"https://10.0.0.1", "0.0.1", false},
		{"https://[::1]", "::1", true},
		{"https://[::1]", "[::1]", true},
		{"https://[::1]", "[0:0::1]", true},
		{"https://[::1]", "[::1]:443", true},
		{"https://[::1]", "[::1]:8443", false},
		{"https://[::1]", "[::1", true},
		{"https://[::1]", "[", false},
		{"https://a.example.com", "a.example.com:443", true},
		{"https://a.example.com", "example.com:443", true},
		{"https://a.example.com", "a.example.com:8443", false},
		{"https://a.example.com:8443", "a.example.com:8443", true},
		{"https://a.example.com", "a.example.com:", true},
		{"https://a.example.com", "a.example.com:x", false},
		{"https://a.example.com", "a.example.com:443x", false},
		{"https://a.example.com", ":443", false},
		{"https://127.0.0.1", "127.0.0.0/8", true},
		{"https://127.0.0.1", "127.0.0.1/32", true},
		{"https://127.0.0.1", "127.0.0.0/32", false},
		{"https://127.0.0.1", "0.0.0.0/0", true},
		{"https://127.0.0.1", "127.0.0.0/33", false},
		{"https://127.0.0.1", "127.0.0.0/", false},
		{"https://127.0.0.1", "127.0.0.0/8x", false},
		{"https://127.0.0.1", "127/8", false},
		{"https://127.0.0.1", "::/0", false},
		{"https://127.0.0.1", "127.0.0.0/x", false},
		{"https://127.0.0.1", "127.0.0.0000000000000000000000000000000000000000000000001/8", false},
		{"https://127.0.0.1", "127.0.0.2", false},
		{"https://10.1.2.3", "10.1.3.0/23", true},
		{"https://10.1.2.3", "10.1.4.0/22", false},
		{"https://[2001:db8::1]", "2001:db8::/32", true},
		{"https://[2001:db8::1]", "2001:db9::/32", false},
		{"https://a.example.com", "0.0.0.0/0", false},
		{"https://a.example.com", "example.com/8", false},
	};
	struct url u;
	size_t i;

	for (i = 0; i < countof(cases); i++)
		check(!url_parse(cases[i].url, &u) && proxy_exempt(&u, cases[i].list) == cases[i].exempt,
		      "no_proxy: \"%s\" %s %s", cases[i].list, cases[i].exempt ? "holds" : "does not hold",
		      cases[i].url);
}

static void test_tunnel(void)
{
	struct url origin, proxy;
	char *text;

	url_parse("https://api.example.com", &origin);
	url_parse("http://Aladdin:open%20sesame@proxy:3128", &proxy);
	text = tunnel_text(&origin, proxy.user);
	check_text(text,
		   "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n"
		   "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
		   "CONNECT with credentials as in RFC 7617");
	free(text);
	url_parse("http://user@proxy", &proxy);
	text = tunnel_text(&origin, proxy.user);
	check(strstr(text, "Basic dXNlcjo=\r\n") != NULL, "without a password the colon is there still");
	free(text);
	url_parse("http://user:pa%3Ass@proxy", &proxy);
	text = tunnel_text(&origin, proxy.user);
	check(strstr(text, "Basic dXNlcjpwYTpzcw==\r\n") != NULL && !user_has_colon(proxy.user),
	      "a password may have a colon");
	free(text);
	url_parse("http://a%3@proxy", &proxy);
	check(!user_has_colon(proxy.user), "an encoded colon that is cut off is none");
	url_parse("http://us%253aer@proxy", &proxy);
	check(!user_has_colon(proxy.user), "a user's name may have a percent sign");
	url_parse("http://50%25%:%zz%4@proxy", &proxy);
	text = tunnel_text(&origin, proxy.user);
	check(strstr(text, "Basic NTAlJTolenolNA==\r\n") != NULL, "a percent sign that encodes nothing stays");
	free(text);
	url_parse("https://[2001:db8::1]:8443", &origin);
	url_parse("http://proxy", &proxy);
	text = tunnel_text(&origin, proxy.user);
	check_text(text, "CONNECT [2001:db8::1]:8443 HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n",
		   "CONNECT to an IPv6 address, without credentials");
	free(text);
}

/* ---- Trust anchors ---- */

static const char bundle[] = "/etc/ssl/certs/ca-certificates.crt";

static void bytes_add(void *to, const void *bytes, size_t length)
{
	text_add(to, bytes, length);
}

static bool anchors_equal(const br_x509_trust_anchor *a, const br_x509_trust_anchor *b)
{
	const br_rsa_public_key *rsa = &a->pkey.key.rsa;
	const br_ec_public_key *ec = &a->pkey.key.ec;

	if (!same(a->dn.data, a->dn.len, b->dn.data, b->dn.len) || a->flags != b->flags ||
	    a->pkey.key_type != b->pkey.key_type)
		return false;
	if (a->pkey.key_type == BR_KEYTYPE_RSA)
		return same(rsa->n, rsa->nlen, b->pkey.key.rsa.n, b->pkey.key.rsa.nlen) &&
		       same(rsa->e, rsa->elen, b->pkey.key.rsa.e, b->pkey.key.rsa.elen);
	return ec->curve == b->pkey.key.ec.curve && same(ec->q, ec->qlen, b->pkey.key.ec.q, b->pkey.key.ec.qlen);
}

/* BearSSL's own decoder as the judge. */
static bool anchor_agrees(const br_x509_trust_anchor *anchor, const struct text *der)
{
	br_x509_decoder_context decoder;
	br_x509_trust_anchor judge;
	struct text dn = {0};
	const br_x509_pkey *key;
	bool good;

	memset(&judge, 0, sizeof judge);
	br_x509_decoder_init(&decoder, bytes_add, &dn);
	br_x509_decoder_push(&decoder, der->s, der->n);
	key = br_x509_decoder_get_pkey(&decoder);
	if (key)
		judge.pkey = *key;
	judge.dn.data = (unsigned char *)dn.s;
	judge.dn.len = dn.n;
	judge.flags = br_x509_decoder_isCA(&decoder) ? BR_X509_TA_CA : 0;
	good = key && anchors_equal(anchor, &judge);
	free(dn.s);
	return good;
}

/* The certificate's next DER, by BearSSL's PEM decoder; false at the end. */
static bool pem_oracle(br_pem_decoder_context *pem, const char **text, size_t *length, struct text *der)
{
	der->n = 0;
	while (*length) {
		size_t n = br_pem_decoder_push(pem, *text, *length);
		*text += n;
		*length -= n;
		switch (br_pem_decoder_event(pem)) {
		case BR_PEM_BEGIN_OBJ: br_pem_decoder_setdest(pem, bytes_add, der); break;
		case BR_PEM_END_OBJ: return true;
		case BR_PEM_ERROR: return false;
		default: break;
		}
	}
	return false;
}

/* Cut at each byte it must be refused, and with a byte changed it must do no harm. */
static bool certificate_sweep(const struct text *der)
{
	br_x509_trust_anchor anchor;
	struct der d;
	size_t i;
	bool good = true;

	for (i = 0; i < der->n; i++) {
		d.s = (const unsigned char *)before_fence(der->s, i);
		d.n = i;
		good = good && !certificate_parse(d, &anchor);
	}
	d.s = (const unsigned char *)before_fence(der->s, der->n) - 1;
	memmove(fence - der->n - 1, der->s, der->n);
	d.n = der->n + 1;
	good = good && !certificate_parse(d, &anchor);
	d.s = (const unsigned char *)before_fence(der->s, der->n);
	d.n = der->n;
	for (i = 0; i < der->n; i++) {
		char *byte = fence - der->n + i;
		*byte = (char)(*byte ^ (1 << i % 8));
		certificate_parse(d, &anchor);
		*byte = (char)0x84; /* a length of four bytes */
		certificate_parse(d, &anchor);
		*byte = der->s[i];
	}
	return good && certificate_parse(d, &anchor);
}

static void test_bundle(void)
{
	enum { STRIDE = 7 }; /* sweeping every certificate would take long under valgrind */
	struct trust t = {0};
	br_pem_decoder_context pem;
	struct text der = {0};
	struct json_out copy = {0};
	bool missing = file_read(bundle, SIZE_MAX / 4, &copy) != 0;
	size_t length = copy.length, n = 0;
	const char *at = copy.bytes;
	bool agree = true, swept = true;

	if (missing) {
		check(true, "%s # SKIP not there", bundle);
		return;
	}
	check(trust_file(&t, bundle) == 0 && t.count > 100 && !t.left_out,
	      "the system's bundle is read, none left out");
	br_pem_decoder_init(&pem);
	for (; n < t.count && pem_oracle(&pem, &at, &length, &der); n++) {
		agree = agree && anchor_agrees(&t.anchors[n], &der);
		if (n % STRIDE == 0)
			swept = swept && certificate_sweep(&der);
	}
	check(agree && n == t.count && !pem_oracle(&pem, &at, &length, &der),
	      "every anchor equals that of BearSSL's decoder");
	check(swept, "certificates cut at each byte are refused, changed ones do no harm");
	free(der.s);
	json_out_free(&copy);
	trust_free(&t);
}

/* The roots that were built in are those of the bundle, if it was made from this one. */
static void test_built_in(void)
{
	struct trust t = {0}, b = {0};
	const char *date;
	size_t i;
	bool equal = true;

	check(trust_built_in(&t) && t.count == ROOTS_COUNT && http_roots(&date) == ROOTS_COUNT,
	      "every built-in root is usable");
	if (trust_file(&b, bundle) == 0 && b.count == t.count) {
		for (i = 0; i < t.count; i++)
			equal = equal && anchors_equal(&t.anchors[i], &b.anchors[i]);
		check(equal, "the built-in roots are those of %s", bundle);
	} else {
		check(true, "the built-in roots # SKIP made from another bundle");
	}
	trust_free(&t);
	trust_free(&b);
}

static void test_der(void)
{
	static const struct {
		const char *name, *bytes;
		size_t length, content; /* SIZE_MAX: refused */
	} cases[] = {
		{"an empty element", "\x30\x00", 2, 0},
		{"a short length", "\x30\x02xy", 4, 2},
		{"more behind it", "\x30\x02xyz", 5, 2},
		{"a long length", "\x30\x82\x00\x02xy", 6, 2},
		{"another tag", "\x31\x00", 2, SIZE_MAX},
		{"no length", "\x30", 1, SIZE_MAX},
		{"nothing", "", 0, SIZE_MAX},
		{"one byte too few", "\x30\x02x", 3, SIZE_MAX},
		{"two bytes too few", "\x30\x02", 2, SIZE_MAX},
		{"an indefinite length", "\x30\x80xy\x00\x00", 6, SIZE_MAX},
		{"a length that is cut off", "\x30\x82\x00", 3, SIZE_MAX},
		{"a length of five bytes", "\x30\x85\x00\x00\x00\x00\x02xy", 9, SIZE_MAX},
		{"the longest length", "\x30\x84\xff\xff\xff\xffxy", 8, SIZE_MAX},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct der in = {(const unsigned char *)before_fence(cases[i].bytes, cases[i].length), cases[i].length},
			   content;
		bool good = der_take(&in, DER_SEQUENCE, &content);
		check(good ? content.n == cases[i].content : cases[i].content == SIZE_MAX, "DER: %s", cases[i].name);
	}
}

/* An RSA key whose modulus has so many bytes. */
static bool rsa_accepted(size_t length)
{
	static unsigned char bytes[2000] = {0x30, 0x82};
	br_rsa_public_key rsa;
	struct der bits = {bytes, length + 12};

	bytes[2] = (unsigned char)((length + 8) >> 8);
	bytes[3] = (unsigned char)(length + 8);
	bytes[4] = DER_INTEGER;
	bytes[5] = 0x82;
	bytes[6] = (unsigned char)((length + 1) >> 8);
	bytes[7] = (unsigned char)(length + 1);
	bytes[8] = 0;
	memset(bytes + 9, 0xff, length);
	memcpy(bytes + 9 + length, "\x02\x01\x03", 3);
	return anchor_rsa(bits, &rsa) && rsa.nlen == length && rsa.elen == 1;
}

static void test_rsa(void)
{
	check(rsa_accepted(256) && rsa_accepted(384) && rsa_accepted(512),
	      "RSA roots of 2048, 3072, 4096 bits are used");
	check(!rsa_accepted(255) && !rsa_accepted(128) && !rsa_accepted(513), "shorter and longer ones are not");
}

/* Made for this test: P-256 keys, self-signed; CA true, CA false, and without basicConstraints (version 1). */
static const char pem_ca[] = "-----BEGIN CERTIFICATE-----\n"
			     "MIIBUzCB+qADAgECAhQFB8ve4B8kjgfVBPsem628KH26hjAKBggqhkjOPQQDAjAP\n"
			     "MQ0wCwYDVQQDDARUZXN0MCAXDTI2MTEyNDIzMTQzNloYDzIxMjYxMDMxMjMxNDM2\n"
			     "WjAPMQ0wCwYDVQQDDARUZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVXi9\n"
			     "YG8m06cB4O4HrR9bEkSujMYDkPsjQ0KIjqxYb+Vl/q9dzNtInvl6lR/+5qCI9mIE\n"
			     "xjBbzStxTP6+6QoTrKMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU3i63\n"
			     "/2CHDpsS9oAbLSHisBbRXVswCgYIKoZIzj0EAwIDSAAwRQIgZMrvZvtBoVTM3yEo\n"
			     "Z+olASA3Hn10T38Mjfjl13KlQDcCIQDDtkPgu7EZ+D0r87orGRYl2qhdjHWl8UzW\n"
			     "ttQpGxX03g==\n"
			     "-----END CERTIFICATE-----\n";
static const char pem_leaf[] = "-----BEGIN CERTIFICATE-----\n"
			       "MIIBTjCB9KADAgECAhRLKY257gsbCM/J44JvpEroCzhwHTAKBggqhkjOPQQDAjAP\n"
			       "MQ0wCwYDVQQDDARUZXN0MCAXDTI2MTEyNDIzMTQzNloYDzIxMjYxMDMxMjMxNDM2\n"
			       "WjAPMQ0wCwYDVQQDDARUZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVXi9\n"
			       "YG8m06cB4O4HrR9bEkSujMYDkPsjQ0KIjqxYb+Vl/q9dzNtInvl6lR/+5qCI9mIE\n"
			       "xjBbzStxTP6+6QoTrKMsMCowCQYDVR0TBAIwADAdBgNVHQ4EFgQU3i63/2CHDpsS\n"
			       "9oAbLSHisBbRXVswCgYIKoZIzj0EAwIDSQAwRgIhAPBYseoe25R6VZ1DrQbpKi6l\n"
			       "ZTWGLfnVaSrSB3wgA8CuAiEA3Xylcdd8kqiK8z4j0P3ZATzJyJ0MwmR6IBsofFZ5\n"
			       "rKg=\n"
			       "-----END CERTIFICATE-----\n";
static const char pem_v1[] = "-----BEGIN CERTIFICATE-----\n"
			     "MIIBGTCBwQIUapauDzuCjVfQl4KWhJ/pHMbt4ckwCgYIKoZIzj0EAwIwDzENMAsG\n"
			     "A1UEAwwEVGVzdDAgFw0yNjExMjQyMzE0MzZaGA8yMTI2MTAzMTIzMTQzNlowDzEN\n"
			     "MAsGA1UEAwwEVGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFV4vWBvJtOn\n"
			     "AeDuB60fWxJErozGA5D7I0NCiI6sWG/lZf6vXczbSJ75epUf/uagiPZiBMYwW80r\n"
			     "cUz+vukKE6wwCgYIKoZIzj0EAwIDRwAwRAIgf31ntKjlgZqUAYKgm3a8DdrxejZb\n"
			     "SD+jY64bu/WJRDUCIFWXStvBYn4anU7M6Up0a47NNPeQ4i2VxMqAYffzKjhs\n"
			     "-----END CERTIFICATE-----\n";
static const char pem_ed25519[] = "-----BEGIN CERTIFICATE-----\n"
				  "MIIBEzCBxqADAgECAhQ21Cw5jIzz2owutHzijh+S6yCeujAFBgMrZXAwDzENMAsG\n"
				  "A1UEAwwEVGVzdDAgFw0yNjExMjQyMzE0MzZaGA8yMTI2MTAzMTIzMTQzNlowDzEN\n"
				  "MAsGA1UEAwwEVGVzdDAqMAUGAytlcAMhAOoH5wJJ497QSRSpUVNa8nInxEzTnUDA\n"
				  "BCO7fR/TcQw6ozIwMDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBSs8yN51G2b\n"
				  "zKxSqdduwj5UooO7fzAFBgMrZXADQQDdrnZ1ldV4t7SnZkJqNrTuzNO7b6YaVZjv\n"
				  "3T6+4vxrsH86qZ4H3H+DRDyhAGYh/2bcl0kvkbXHpWNWF4iTv5gC\n"
				  "-----END CERTIFICATE-----\n";

static size_t pem_to_der(const char *pem, unsigned char *to)
{
	br_pem_decoder_context decoder;
	struct text der = {0};
	size_t length = strlen(pem);

	br_pem_decoder_init(&decoder);
	pem_oracle(&decoder, &pem, &length, &der);
	memcpy(to, der.s, der.n);
	free(der.s);
	return der.n;
}

static void trust_from(struct trust *t, const char *text)
{
	memset(t, 0, sizeof *t);
	t->file = strdup(text);
	trust_pem(t, strlen(text));
}

static void test_pem(void)
{
	static const char middle[] = "text before\r\n-----BEGIN CERTIFICATE-----\r\n!\r\n-----END CERTIFICATE-----\r\n";
	struct text all = {0};
	struct trust t;
	const char *s;

	trust_from(&t, pem_ca);
	check(t.count == 1 && t.anchors[0].flags == BR_X509_TA_CA, "a CA certificate is an anchor that may sign");
	trust_free(&t);
	trust_from(&t, pem_leaf);
	check(t.count == 1 && t.anchors[0].flags == 0, "CA:FALSE is an anchor for itself only");
	trust_free(&t);
	trust_from(&t, pem_v1);
	check(t.count == 1 && t.anchors[0].flags == BR_X509_TA_CA, "without basicConstraints it may sign");
	trust_free(&t);
	trust_from(&t, pem_ed25519);
	check(t.count == 0 && t.left_out == 1, "a key of no use to TLS 1.2 is left out");
	trust_free(&t);
	for (s = pem_ca; *s; s++)
		text_add(&all, *s == '\n' ? " \t\r\n" : s, *s == '\n' ? 4 : 1);
	text_add(&all, middle, sizeof middle - 1);
	text_add(&all, pem_leaf, strlen(pem_leaf) - 1);
	text_add(&all, "", 1);
	trust_from(&t, all.s);
	check(t.count == 2 && t.left_out == 1, "CR LF, blanks, a broken certificate, no newline at the end");
	trust_free(&t);
	all.s[strlen(pem_ca) / 2] = '\0';
	trust_from(&t, all.s);
	check(t.count == 0 && t.left_out == 1, "a certificate without END is left out");
	trust_free(&t);
	free(all.s);
}

/* The lines around a certificate have other words in older files; what no list knows is no certificate. */
static void test_pem_labels(void)
{
	static const struct {
		const char *begin, *end;
		size_t count, left_out;
	} cases[] = {
		{"CERTIFICATE", "CERTIFICATE", 1, 0},           {"TRUSTED CERTIFICATE", "TRUSTED CERTIFICATE", 1, 0},
		{"X509 CERTIFICATE", "X509 CERTIFICATE", 1, 0}, {"TRUSTED CERTIFICATE", "CERTIFICATE", 0, 1},
		{"X509 CERTIFICATE", "X509 CERTIFICAT", 0, 1},  {"CERTIFICATE REQUEST", "CERTIFICATE REQUEST", 0, 0},
		{"NEW CERTIFICATE", "NEW CERTIFICATE", 0, 0},
	};
	const char *base64 = strchr(pem_ca, '\n') + 1;
	int length = (int)(strstr(pem_ca, "-----END") - base64);
	char text[2000];
	struct trust t;
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		snprintf(text, sizeof text, "-----BEGIN %s-----\n%.*s-----END %s-----\n", cases[i].begin, length,
			 base64, cases[i].end);
		trust_from(&t, text);
		check(t.count == cases[i].count && t.left_out == cases[i].left_out,
		      "BEGIN %s, END %s: %lu, %lu left out", cases[i].begin, cases[i].end, (unsigned long)t.count,
		      (unsigned long)t.left_out);
		trust_free(&t);
	}
}

/* base64 of a certificate with something behind it: trust of OpenSSL's, or rubbish. */
static void test_pem_trusted(void)
{
	static const char *const labels[] = {"TRUSTED CERTIFICATE", "CERTIFICATE"};
	unsigned char der[1000];
	size_t i, length = pem_to_der(pem_ca, der);
	char base64[1500], text[2000];
	struct trust t;

	memcpy(der + length, "\x30\x00", 2);
	*base64_encode(base64, der, length + 2) = '\0';
	for (i = 0; i < countof(labels); i++) {
		snprintf(text, sizeof text, "-----BEGIN %s-----\n%s\n-----END %s-----\n", labels[i], base64, labels[i]);
		trust_from(&t, text);
		check(t.count == !i, "what follows the certificate counts as %s in a %s", i ? "wrong" : "right",
		      labels[i]);
		trust_free(&t);
	}
}

/* A certificate with another byte: it does no harm, and its name and key are what BearSSL's decoder finds, if it finds any.
 * Whether it may sign without the extension that says so is judged otherwise. */
static void test_certificate_bytes(void)
{
	static const unsigned char others[] = {0, 1, 5, 6, 0x17, 0x30, 0x80, 0x84, 0xff};
	static const char *const pems[] = {pem_ca, pem_v1};
	br_x509_trust_anchor anchor;
	struct text der = {0};
	size_t p, i, k, agreed = 0;
	int64_t from, until;
	bool good = true;

	for (p = 0; p < countof(pems); p++) {
		unsigned char bytes[1000];
		size_t length = pem_to_der(pems[p], bytes);
		for (i = 0; i < length; i++)
			for (k = 0; k < countof(others); k++) {
				br_x509_decoder_context judge;
				struct der certificate = {bytes, length};
				unsigned char byte = bytes[i];
				bool taken;
				bytes[i] = others[k];
				taken = certificate_parse(certificate, &anchor);
				certificate_dates(certificate, &from, &until);
				br_x509_decoder_init(&judge, NULL, NULL);
				br_x509_decoder_push(&judge, bytes, length);
				der.n = 0;
				text_add(&der, (char *)bytes, length);
				if (taken && !br_x509_decoder_last_error(&judge)) {
					anchor.flags = br_x509_decoder_isCA(&judge) ? BR_X509_TA_CA : 0;
					good = good && anchor_agrees(&anchor, &der);
					agreed++;
				}
				bytes[i] = byte;
			}
	}
	check(good && agreed > 1000, "certificates with another byte: %lu anchors as BearSSL's decoder has them",
	      (unsigned long)agreed);
	free(der.s);
}

/* Validity dates: the tag, the text, and seconds since 1970 or -1. */
static void test_der_time(void)
{
	static const struct {
		const char *der;
		int64_t unix_s;
	} cases[] = {
		{"\x17\x0d"
		 "261124232652Z",
		 1795562812},
		{"\x17\x0d"
		 "491231235959Z",
		 INT64_C(2524607999)},
		{"\x17\x0d"
		 "500101000000Z",
		 -631152000},
		{"\x18\x0f"
		 "20261124232652Z",
		 1795562812},
		{"\x18\x0f"
		 "99991231235959Z",
		 INT64_C(253402300799)},
		{"\x17\x0d"
		 "261324232652Z",
		 -1},
		{"\x17\x0b"
		 "2611242326Z",
		 -1},
		{"\x17\x0d"
		 "261124232652+",
		 -1},
		{"\x18\x0d"
		 "261124232652Z",
		 -1},
		{"\x04\x0d"
		 "261124232652Z",
		 -1},
		{"\x17\x0d"
		 "26112423265",
		 -1},
		{"", -1},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct der in = {(const unsigned char *)cases[i].der, strlen(cases[i].der)};
		int64_t us = 0;
		bool good = der_time(&in, &us);
		check(cases[i].unix_s == -1 ? !good : good && us == cases[i].unix_s * 1000000,
		      "time of a certificate: %s", cases[i].der + (*cases[i].der ? 2 : 0));
	}
}

/* A root on the curve P-521, and malformed corners of DER. */
static void test_der_corners(void)
{
	static const unsigned char p521[] = {0x2b, 0x81, 0x04, 0x00, 0x23}, point[] = {4, 1, 2};
	static const struct der empty = {point, 0};
	static const struct {
		const char *name, *bytes;
		size_t length;
	} numbers[] = {{"an empty INTEGER", "\x02\x00", 2},
		       {"zero", "\x02\x01\x00", 3},
		       {"a negative one", "\x02\x01\x80", 3}},
	  bits[] = {{"an empty BIT STRING", "\x03\x00", 2}, {"bits that are no bytes", "\x03\x02\x01\x80", 4}};
	struct der curve = {p521, sizeof p521}, q = {point, sizeof point}, in, out;
	br_ec_public_key key;
	size_t i;

	check(anchor_ec(curve, q, &key) && key.curve == BR_EC_secp521r1 && key.qlen == sizeof point, "a root on P-521");
	check(!anchor_ec(curve, empty, &key), "but not without a point");
	for (i = 0; i < countof(numbers); i++) {
		in = (struct der){(const unsigned char *)numbers[i].bytes, numbers[i].length};
		check(!der_unsigned(&in, &out), "no key's number: %s", numbers[i].name);
	}
	for (i = 0; i < countof(bits); i++) {
		in = (struct der){(const unsigned char *)bits[i].bytes, bits[i].length};
		check(!der_bits(&in, &out), "no key's bits: %s", bits[i].name);
	}
}

/* A root whose list of extensions is malformed is left out, and counted. */
static void test_bad_extensions(void)
{
	unsigned char der[1000];
	size_t i, length = pem_to_der(pem_ca, der), found = 0;
	br_x509_trust_anchor anchor;

	for (i = 0; i + 5 < length; i++) {
		struct der certificate = {der, length};
		if (memcmp(der + i, "\x06\x03\x55\x1d\x13", 5) != 0)
			continue;
		found++;
		check(certificate_parse(certificate, &anchor), "a certificate with basicConstraints");
		der[i] = 5;
		check(!certificate_parse(certificate, &anchor), "an extension without a name");
		der[i] = 6;
		der[i - 1] = 100;
		check(!certificate_parse(certificate, &anchor), "an extension longer than the list");
		der[i - 1] = 15;
		der[i - 6] = DER_CONTEXT + 2; /* a subjectUniqueID in place of the extensions */
		check(certificate_parse(certificate, &anchor), "a certificate without extensions");
		der[i - 5] = 127;
		check(!certificate_parse(certificate, &anchor), "a field longer than the certificate");
	}
	check(found == 1, "there is one such place");
}

/* A bad character and a third '=' end a certificate. */
static void test_base64(void)
{
	static const struct {
		const char *text;
		bool good;
		const char *bytes;
	} cases[] = {{"YWJj-", true, "abc"}, {"YWI=-", true, "ab"},        {"YQ==-", true, "a"}, {"YQ===-", false, ""},
		     {"Y!Q=-", false, ""},   {"YWJj", false, ""},          {"Y-", false, ""},    {"YQ=Q-", false, ""},
		     {"-", true, ""},        {"Y W\r\nJ\tj-", true, "abc"}};
	unsigned char values[256];
	size_t i;

	base64_values(values);
	for (i = 0; i < countof(cases); i++) {
		char text[20];
		struct str s = {text, strlen(cases[i].text)};
		struct der out;
		strcpy(text, cases[i].text);
		check(base64_decode(&s, values, &out) == cases[i].good, "base64 %s: case %u",
		      cases[i].good ? "taken" : "refused", (unsigned)i);
		if (cases[i].good)
			check_bytes((const char *)out.s, out.n, cases[i].bytes, "base64, decoded");
	}
}

static const char pem_localhost[] = "-----BEGIN CERTIFICATE-----\n"
				    "MIIBeDCCAR2gAwIBAgIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARUZXN0MCAX\n"
				    "DTI2MTEyNDIzMjY1MloYDzIxMjYxMDMxMjMyNjUyWjAUMRIwEAYDVQQDDAlsb2Nh\n"
				    "bGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQzrGkV2ljVXZNBiRWMv6AI\n"
				    "y/IPXHrCjY+tGUMUjVNAuumvtRkLtfJHEuWy3FqKkXvFPzLOSkiwHUS61j9Bdpa3\n"
				    "o2MwYTAJBgNVHRMEAjAAMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAdBgNVHQ4EFgQU\n"
				    "wuL+KTinglb4qUxZPyr3rzMPc88wHwYDVR0jBBgwFoAU3i63/2CHDpsS9oAbLSHi\n"
				    "sBbRXVswCgYIKoZIzj0EAwIDSQAwRgIhALiajy6wsIhRp97DyBx3U7daSJW5mdZA\n"
				    "YItrn2xmk/41AiEA9nw3bT+oP2ZcYHN8DY4i843U7Tpo6o+WfyG5533SWEc=\n"
				    "-----END CERTIFICATE-----\n";
static unsigned char localhost_key[] = {0x7d, 0x56, 0x2f, 0x4c, 0x1c, 0xcc, 0x5c, 0x60, 0x2e, 0x24, 0xb3,
					0x15, 0xea, 0x6a, 0x74, 0xdc, 0x75, 0xfe, 0x42, 0xca, 0x2a, 0x0e,
					0x4a, 0x29, 0x87, 0xf5, 0x8b, 0x00, 0x75, 0x48, 0xfe, 0xf3};

/* ---- A network that is made up ---- */

/* Addresses behave by their last byte, 127.0.0.N. */
enum address_kind { ACCEPTS = 1, REFUSES, SILENT };

enum ending { STAYS, ENDS, RESETS };

/* What the server does upon a request.  The n-th request gets the n-th of the replies, those after the last the
 * last. */
struct reply {
	const char *text; /* NULL: nothing ever comes */
	enum ending ending;
	int64_t delay, drip; /* ms until the first byte, and between bytes */
	int64_t body;        /* bytes of 'x' behind the text */
};

/* The server's side of a TLS connection. */
struct tls_peer {
	br_ssl_server_context server;
	br_x509_minimal_context x509;
	unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
	struct text wire; /* what it sends */
	size_t answer;    /* where its answer begins there */
	bool closing;     /* it sent close_notify, and is deaf */
};

struct peer {
	bool open, refused, silent;
	struct tls_peer *tls;
	bool ended, reset; /* by the server, without a reply */
	struct text in;
	const struct reply *reply;
	int64_t from;       /* when the reply begins */
	size_t taken, sent; /* sent: into the TLS engine */
};

/* How many requests a server answers: `burst` of them, and one more each refill_ms, or again so many in each window. */
struct limit {
	unsigned burst;
	int64_t refill_ms, window_ms;
	const char *refusal; /* what the others get; %d: seconds until the next window */
	int64_t since;       /* of the burst, of the window */
	unsigned used, refused;
};

enum { PEERS = 400, FIRST_FD = 1000 };

static struct {
	int64_t now; /* ms */
	int64_t server_clock;
	const struct reply *replies;
	size_t reply_count, requests, opened, open, most_open, resolved, polls;
	/* The addresses: the last byte of IPv4 ones as a digit, ::1 as a letter that says what it does, from A for 1; ""
	 * fails.  '9' is not this machine, 'u' no address of a network. */
	const char *resolves;
	int both_fail;                               /* the resolver's answer if it is asked for both families */
	int64_t resolver_ms;                         /* that it takes */
	char asked[200], connects[50], options[200]; /* of the resolver; in connect(); by setsockopt() */
	unsigned port;                               /* of the last connect() */
	int no_name;                                 /* with this, if it is not 0 */
	size_t send_most, sends, longest;            /* longest: a request's bytes */
	bool send_stops;                             /* every other send would block */
	bool tls, unwilling;                         /* it says close_notify to everybody */
	bool asks_certificate, forgets;              /* forgets: it resumes no session */
	bool alerts;                                 /* and says that it got none, with handshake_failure */
	size_t cut, answer_cut; /* of a TLS server: it is gone after so many bytes, of all or of an answer */
	struct peer peers[PEERS];
	struct text log;                /* lines "TIME CONNECTION PATH" */
	char first[2000], latest[2000]; /* requests */
	sig_atomic_t stop;
	int64_t stop_at;
	int poll_error;
	size_t poll_fails; /* so many polls fail with it */
	char notices[20000];
	unsigned retries, limits, lane, tellings, ticks;
	char told[100];
	int64_t wait;
	struct limit limit;
	const char *failing; /* this call fails with failure, at so many places from fails_from on */
	int failure;
	size_t calls, fails_from, fails;
	const char *hidden; /* files whose names begin so are not there */
	const char *usual;  /* what a file below /etc holds */
} net;

/* Is this the call that is to fail, and its time? */
static bool net_fails(const char *call)
{
	if (!net.failing || strcmp(call, net.failing) != 0 || net.calls++ < net.fails_from ||
	    net.calls - net.fails_from > net.fails)
		return false;
	errno = net.failure;
	return true;
}

static void net_reset(const struct reply *replies, size_t count)
{
	size_t i;

	for (i = 0; i < PEERS; i++) {
		free(net.peers[i].in.s);
		if (net.peers[i].tls)
			free(net.peers[i].tls->wire.s);
		free(net.peers[i].tls);
	}
	free(net.log.s);
	memset(&net, 0, sizeof net);
	net.now = 1000000;
	net.stop_at = INT64_MAX;
	net.replies = replies;
	net.reply_count = count;
	net.send_most = net.cut = net.answer_cut = SIZE_MAX;
	net.resolves = "1";
}

static struct peer *peer_of(int fd)
{
	return &net.peers[fd - FIRST_FD];
}

static int net_clock_gettime(clockid_t clock, struct timespec *t)
{
	int64_t ms = clock == CLOCK_REALTIME ? net.now + INT64_C(1795557600000) - 1000000 : net.now;

	if (net_fails("clock_gettime"))
		return -1;
	t->tv_sec = (time_t)(ms / 1000);
	t->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

static int net_socket(int family, int type, int protocol)
{
	struct peer *p = &net.peers[net.opened];

	(void)family;
	(void)type;
	(void)protocol;
	if (net_fails("socket"))
		return -1;
	if (net.opened == PEERS) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	p->open = true;
	net.open++;
	if (net.open > net.most_open)
		net.most_open = net.open;
	return FIRST_FD + (int)net.opened++;
}

/* Starts the server's side of TLS, with a session cache that all connections share. */
static void tls_peer_open(struct peer *p)
{
	static br_ssl_session_cache_lru sessions;
	static unsigned char store[4000], certificate[1000];
	static br_x509_certificate chain = {certificate, 0};
	static const br_ec_private_key key = {BR_EC_secp256r1, localhost_key, sizeof localhost_key};
	static unsigned char empty_name[] = {DER_SEQUENCE, 0};
	static const br_x500_name name = {empty_name, sizeof empty_name};
	struct tls_peer *t = calloc(1, sizeof *t);
	br_ssl_engine_context *engine;

	if (!t)
		exit(2);
	if (!chain.data_len) {
		chain.data_len = pem_to_der(pem_localhost, certificate);
		br_ssl_session_cache_lru_init(&sessions, store, sizeof store);
	}
	p->tls = t;
	engine = &t->server.eng;
	br_ssl_server_init_full_ec(&t->server, &chain, 1, BR_KEYTYPE_EC, &key);
	if (net.asks_certificate) {
		br_x509_minimal_init(&t->x509, &br_sha256_vtable, NULL, 0);
		br_ssl_engine_set_x509(&t->server.eng, &t->x509.vtable);
		br_ssl_server_set_trust_anchor_names(&t->server, &name, 1);
	}
	if (!net.forgets)
		br_ssl_server_set_cache(&t->server, &sessions.vtable);
	br_ssl_engine_inject_entropy(engine, "not at all random", 17);
	br_ssl_engine_set_buffer(engine, t->buffer, sizeof t->buffer, 1);
	br_ssl_server_reset(&t->server);
	if (net.unwilling)
		br_ssl_engine_close(engine);
}

static int net_connect(int fd, const struct sockaddr *name, socklen_t length)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	size_t n = strlen(net.connects);
	unsigned last;

	memcpy(&v4, name, length < sizeof v4 ? length : sizeof v4);
	memcpy(&v6, name, length < sizeof v6 ? length : sizeof v6);
	last = name->sa_family == AF_INET ? ntohl(v4.sin_addr.s_addr) & 0xff : v6.sin6_flowinfo;
	if (n + 1 < sizeof net.connects)
		net.connects[n] = (char)((name->sa_family == AF_INET ? '0' : 'A' - 1) + (int)last);
	net.port = ntohs(name->sa_family == AF_INET ? v4.sin_port : v6.sin6_port);
	peer_of(fd)->refused = last == REFUSES;
	peer_of(fd)->silent = last == SILENT;
	if (net.tls)
		tls_peer_open(peer_of(fd));
	if (net_fails("connect"))
		return errno ? -1 : 0;
	errno = EINPROGRESS;
	return -1;
}

static int net_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	int error = peer_of(fd)->refused ? ECONNREFUSED : 0;

	(void)level;
	(void)option;
	if (net_fails("getsockopt"))
		return -1;
	memcpy(value, &error, *length);
	return 0;
}

static int net_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	static const struct {
		int level, option;
		const char *name;
	} known[] = {
		{IPPROTO_TCP, TCP_NODELAY, "nodelay"},
		{SOL_SOCKET, SO_KEEPALIVE, "keepalive"},
#if defined TCP_KEEPIDLE && defined TCP_USER_TIMEOUT
		{IPPROTO_TCP, TCP_KEEPIDLE, "idle"},
		{IPPROTO_TCP, TCP_KEEPINTVL, "interval"},
		{IPPROTO_TCP, TCP_KEEPCNT, "count"},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, "user"},
#endif
	};
	size_t i, n = strlen(net.options);
	int number;

	(void)fd;
	memcpy(&number, value, length < sizeof number ? length : sizeof number);
	for (i = 0; i < countof(known); i++)
		if (known[i].level == level && known[i].option == option)
			snprintf(net.options + n, sizeof net.options - n, "%s=%d ", known[i].name, number);
	return 0;
}

static int net_fcntl(int fd, int command, ...)
{
	(void)fd, (void)command;
	return net_fails("fcntl") ? -1 : 0;
}

static int net_close(int fd)
{
	if (fd <= STDERR_FILENO)
		check(false, "descriptor %d is not the client's to close", fd);
	if (fd < FIRST_FD)
		return close(fd);
	if (peer_of(fd)->open)
		net.open--;
	peer_of(fd)->open = false;
	return 0;
}

static int net_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
	static struct addrinfo all[20];
	static union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} names[20];
	size_t i, n = 0, at = strlen(net.asked);

	snprintf(net.asked + at, sizeof net.asked - at, "%s%s;",
		 hints->ai_family == AF_INET    ? "4"
		 : hints->ai_family == AF_INET6 ? "6"
						: "",
		 host);
	net.resolved++;
	net.now += net.resolver_ms;
	if (net_fails("getaddrinfo"))
		return net.failure;
	if (hints->ai_family == AF_UNSPEC && net.both_fail)
		return net.both_fail;
	for (i = 0; net.resolves[i]; i++) {
		bool six = net.resolves[i] >= 'A' && net.resolves[i] != 'u';
		if (hints->ai_family != AF_UNSPEC && six != (hints->ai_family == AF_INET6))
			continue;
		memset(&all[n], 0, sizeof all[n]);
		memset(&names[n], 0, sizeof names[n]);
		names[n].v4.sin_family = AF_INET;
		names[n].v4.sin_port = htons((uint16_t)atoi(port));
		names[n].v4.sin_addr.s_addr =
			htonl((net.resolves[i] == '9' ? 0x0a000000u : 0x7f000000u) + (unsigned)(net.resolves[i] - '0'));
		if (six) {
			names[n].v6.sin6_family = AF_INET6;
			names[n].v6.sin6_addr = in6addr_loopback;
			names[n].v6.sin6_flowinfo = (unsigned)(net.resolves[i] - 'A' + 1);
		}
		all[n].ai_family = net.resolves[i] == 'u' ? AF_UNIX : six ? AF_INET6 : AF_INET;
		all[n].ai_addr = &names[n].any;
		all[n].ai_addrlen = six ? sizeof names[n].v6 : sizeof names[n].v4;
		all[n].ai_next = NULL;
		if (n)
			all[n - 1].ai_next = &all[n];
		n++;
	}
	*list = all;
	return n ? 0 : net.no_name ? net.no_name : EAI_AGAIN;
}

static void net_freeaddrinfo(struct addrinfo *list)
{
	(void)list;
}

/* Other bytes each time, and the same in each run of the test. */
static int net_getentropy(void *bytes, size_t length)
{
	static uint64_t state;
	unsigned char *to = bytes;

	if (net_fails("getentropy"))
		return -1;
	while (length--)
		*to++ = (unsigned char)(random_next(&state) >> 56);
	return 0;
}

/* The reading end of a pipe that holds a short text. */
static int file_holding(const char *text)
{
	int ends[2];

	if (pipe(ends) || write(ends[1], text, strlen(text)) < 0)
		exit(2);
	close(ends[1]);
	return ends[0];
}

static int net_open(const char *name, int flags, ...)
{
	if (net_fails("open"))
		return -1;
	if (net.hidden && strncmp(name, net.hidden, strlen(net.hidden)) == 0) {
		errno = ENOENT;
		return -1;
	}
	if (net.usual && strncmp(name, "/etc/", 5) == 0)
		return file_holding(net.usual);
	return open(name, flags);
}

static ssize_t net_read(int fd, void *bytes, size_t length)
{
	return net_fails("read") ? -1 : read(fd, bytes, length);
}

static size_t reply_length(const struct reply *r)
{
	return strlen(r->text) + (size_t)r->body;
}

/* How much of what it sends leaves a TLS server. */
static size_t tls_peer_end(const struct peer *p)
{
	return p->tls->answer && net.answer_cut != SIZE_MAX ? p->tls->answer + net.answer_cut : net.cut;
}

/* How much of the reply has come by now. */
static size_t peer_ready(const struct peer *p)
{
	size_t length, by_now;

	if (p->tls)
		return tls_peer_end(p) < p->tls->wire.n ? tls_peer_end(p) : p->tls->wire.n;
	if (!p->reply || !p->reply->text || net.now < p->from)
		return 0;
	length = reply_length(p->reply);
	by_now = p->reply->drip ? (size_t)((net.now - p->from) / p->reply->drip) + 1 : length;
	return by_now < length ? by_now : length;
}

/* When something is next to be seen, if nothing is now. */
static int64_t peer_next(const struct peer *p)
{
	if (p->tls || !p->reply || !p->reply->text)
		return INT64_MAX;
	if (net.now < p->from)
		return p->from;
	return p->reply->drip ? p->from + (int64_t)p->taken * p->reply->drip : INT64_MAX;
}

static bool peer_over(const struct peer *p)
{
	if (p->tls)
		return (p->ended && p->taken == p->tls->wire.n) || p->taken == tls_peer_end(p);
	if (p->ended || p->reset)
		return true;
	return p->reply && p->reply->text && p->reply->ending != STAYS && p->taken == reply_length(p->reply) &&
	       net.now >= p->from;
}

static bool peer_readable(const struct peer *p)
{
	return peer_ready(p) > p->taken || peer_over(p);
}

/* NULL: this request is within the limit. */
static const struct reply *limit_reply(struct limit *l)
{
	static char text[200];
	static const struct reply refusal = {text, STAYS, 10, 0, 0};
	int64_t period = l->window_ms ? l->window_ms : l->refill_ms;
	int64_t periods = period ? (net.now - 1000000 - l->since) / period : 0;

	if (!l->burst)
		return NULL;
	l->since += periods * period;
	l->used -= l->window_ms && periods ? l->used : l->used < periods ? l->used : (unsigned)periods;
	if (l->used < l->burst) {
		l->used++;
		return NULL;
	}
	l->refused++;
	snprintf(text, sizeof text, l->refusal, (int)((l->since + period - (net.now - 1000000) + 999) / 1000));
	return &refusal;
}

/* A whole request has come: the log, and the reply. */
static void peer_request(struct peer *p)
{
	char line[300], path[200] = "";
	size_t n = net.requests++;
	const struct reply *limited = limit_reply(&net.limit);
	const struct reply *r = limited ? limited : &net.replies[n < net.reply_count ? n : net.reply_count - 1];

	text_add(&p->in, "", 1);
	p->in.n--;
	sscanf(p->in.s, "%*s %199s", path);
	if (p->in.n > net.longest)
		net.longest = p->in.n;
	snprintf(net.latest, sizeof net.latest, "%.*s", (int)p->in.n, p->in.s);
	if (!n)
		snprintf(net.first, sizeof net.first, "%.*s", (int)p->in.n, p->in.s);
	snprintf(line, sizeof line, "%lld %d %s\n", (long long)(net.now - 1000000), (int)(p - net.peers), path);
	text_add(&net.log, line, strlen(line));
	p->in.n = 0;
	p->reply = r;
	p->from = net.now + r->delay;
	p->taken = 0;
}

/* The server answers as far as it can: what it decrypts is p->in, what it encrypts is the reply. */
static void tls_peer_work(struct peer *p)
{
	br_ssl_engine_context *engine = &p->tls->server.eng;
	unsigned char *bytes;
	size_t n;

	for (;;) {
		unsigned state = br_ssl_engine_current_state(engine);
		if (state & BR_SSL_SENDREC) {
			bytes = br_ssl_engine_sendrec_buf(engine, &n);
			text_add(&p->tls->wire, (char *)bytes, n);
			br_ssl_engine_sendrec_ack(engine, n);
		} else if (state & BR_SSL_RECVAPP) {
			bytes = br_ssl_engine_recvapp_buf(engine, &n);
			text_add(&p->in, (char *)bytes, n);
			br_ssl_engine_recvapp_ack(engine, n);
			if (p->in.n >= 4 && memcmp(p->in.s + p->in.n - 4, "\r\n\r\n", 4) == 0) {
				size_t taken = p->taken;
				peer_request(p);
				p->taken = taken;
				p->sent = 0;
				p->tls->answer = p->tls->wire.n;
			}
		} else if (state & BR_SSL_SENDAPP && p->reply && p->reply->text && p->sent < strlen(p->reply->text)) {
			bytes = br_ssl_engine_sendapp_buf(engine, &n);
			if (n > strlen(p->reply->text) - p->sent)
				n = strlen(p->reply->text) - p->sent;
			memcpy(bytes, p->reply->text + p->sent, n);
			br_ssl_engine_sendapp_ack(engine, n);
			p->sent += n;
			br_ssl_engine_flush(engine, 0);
		} else if (state & BR_SSL_SENDAPP && p->reply && p->reply->ending == ENDS) {
			br_ssl_engine_close(engine);
			p->tls->closing = true;
		} else {
			p->ended = state == BR_SSL_CLOSED || (p->reply && p->reply->ending == RESETS);
			if (p->ended && net.alerts)
				text_add(&p->tls->wire, "\x15\3\3\0\2\2\x28", 7);
			return;
		}
	}
}

static void tls_peer_receive(struct peer *p, const char *bytes, size_t length)
{
	br_ssl_engine_context *engine = &p->tls->server.eng;
	unsigned char *to;
	size_t n;

	while (length && br_ssl_engine_current_state(engine) & BR_SSL_RECVREC) {
		to = br_ssl_engine_recvrec_buf(engine, &n);
		if (n > length)
			n = length;
		memcpy(to, bytes, n);
		br_ssl_engine_recvrec_ack(engine, n);
		bytes += n;
		length -= n;
		tls_peer_work(p);
	}
}

static ssize_t net_send(int fd, const void *bytes, size_t length, int flags)
{
	struct peer *p = peer_of(fd);

	(void)flags;
	if (net_fails("send"))
		return -1;
	if (p->reset || (p->tls && p->tls->closing)) {
		errno = EPIPE;
		return -1;
	}
	if (length > net.send_most)
		length = net.send_most;
	if (net.sends++ % 2 && net.send_stops) {
		errno = EAGAIN;
		return -1;
	}
	if (p->tls) {
		tls_peer_receive(p, bytes, length);
		return (ssize_t)length;
	}
	text_add(&p->in, bytes, length);
	if (p->in.n >= 4 && memcmp(p->in.s + p->in.n - 4, "\r\n\r\n", 4) == 0 && !p->ended)
		peer_request(p);
	return (ssize_t)length;
}

static ssize_t net_recv(int fd, void *bytes, size_t length, int flags)
{
	struct peer *p = peer_of(fd);
	size_t n = peer_ready(p) - p->taken, i, text;

	(void)flags;
	if (net_fails("recv"))
		return -1;
	if (!n && p->tls && peer_over(p))
		return 0;
	if (!n && peer_over(p)) {
		if (!p->reset && (p->ended || p->reply->ending == ENDS))
			return 0;
		errno = ECONNRESET;
		return -1;
	}
	if (!n) {
		errno = EAGAIN;
		return -1;
	}
	if (n > length)
		n = length;
	if (p->tls) {
		memcpy(bytes, p->tls->wire.s + p->taken, n);
		p->taken += n;
		return (ssize_t)n;
	}
	text = strlen(p->reply->text);
	for (i = 0; i < n; i++, p->taken++)
		((char *)bytes)[i] = p->taken < text ? p->reply->text[p->taken] : 'x';
	return (ssize_t)n;
}

static int net_ready(struct pollfd *fds, nfds_t count)
{
	nfds_t i;
	int ready = 0;

	for (i = 0; i < count; i++) {
		struct peer *p = peer_of(fds[i].fd);
		fds[i].revents = 0;
		if (fds[i].events & POLLOUT && !p->silent)
			fds[i].revents |= POLLOUT;
		if (fds[i].events & POLLIN && peer_readable(p))
			fds[i].revents |= POLLIN;
		ready += fds[i].revents != 0;
	}
	return ready;
}

/* Time jumps to what comes first: something to see, or the timeout. */
static int net_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int ready = net_ready(fds, count);
	int64_t until = net.now + timeout;
	nfds_t i;

	if (timeout > GLANCE_MS || timeout < 0 || ++net.polls > 2000000)
		exit(2);
	if (net.poll_fails) {
		net.stop = net.polls > 1000; /* a loop without an end */
		net.poll_fails--;
		errno = net.poll_error;
		return -1;
	}
	if (ready)
		return ready;
	for (i = 0; i < count; i++)
		if (peer_next(peer_of(fds[i].fd)) < until)
			until = peer_next(peer_of(fds[i].fd));
	if (until > net.now)
		net.now = until;
	if (net.now >= net.stop_at)
		net.stop = 1;
	return net_ready(fds, count);
}

static int64_t test_pause(const char *body, size_t length)
{
	char text[32];

	snprintf(text, sizeof text, "%.*s", (int)length, body);
	return strncmp(text, "pause ", 6) == 0 ? strtoll(text + 6, NULL, 10) : -1;
}

static void test_notice(void *ctx, const struct http_notice *n)
{
	size_t at = strlen(net.notices);

	(void)ctx;
	if (n->event == HTTP_WAITING) {
		net.tellings++;
		snprintf(net.told, sizeof net.told, "%s %s %lld", n->path, n->reason, (long long)n->wait_ms);
		return;
	}
	if (n->event == HTTP_RETRY)
		net.retries++;
	else
		net.limits++;
	net.wait = n->wait_ms;
	net.lane = n->lane;
	snprintf(net.notices + at, sizeof net.notices - at, "%s %s %s attempt %u\n",
		 n->event == HTTP_RETRY ? "retry" : "limit", n->path, n->reason, n->attempt);
}

static void test_tick(void *ctx)
{
	(void)ctx;
	net.ticks++;
}

static struct http_options test_options(void)
{
	struct http_options o;

	memset(&o, 0, sizeof o);
	o.base_url = "http://127.0.0.1:8080";
	o.token = "s3cret";
	o.user_agent = "test/1";
	o.connections = 4;
	o.attempts = 8;
	o.request_timeout_ms = 300000;
	o.backoff_ms = 1000;
	o.patience_ms = 900000;
	o.stop = (volatile sig_atomic_t *)&net.stop;
	o.pause_ms = test_pause;
	o.notice = test_notice;
	o.tick = test_tick;
	return o;
}

static struct http *test_open(const struct http_options *o)
{
	struct error error = {""};
	struct http *h = http_open(o, &error);

	if (!h) {
		printf("Bail out! %s\n", error.text);
		exit(2);
	}
	return h;
}

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
#define V1 "application/vnd.segment.v1+json"

/* ---- Exchanges ---- */

static void test_request(void)
{
	static const struct reply replies[] = {{ok, STAYS, 250, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r, *got;
	const struct http_response *a;
	struct http_stats stats;
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://127.0.0.1:8080/v1/";
	h = test_open(&o);
	check(!http_next(h), "nothing is under way at first");
	r = http_start(h, "/sources?pagination.count=200", V1, 1, 0);
	got = http_next(h);
	check(got == r, "a request comes back");
	a = http_response(got);
	check_text(net.first,
		   "GET /v1/sources?pagination.count=200 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: test/1\r\n"
		   "Authorization: Bearer s3cret\r\nAccept: " V1 "\r\nAccept-Encoding: gzip\r\n\r\n",
		   "the request, byte for byte");
	check(a->outcome == HTTP_DONE && a->status == 200 && a->attempts == 1, "outcome, status, attempts");
	check_bytes(a->body, a->length, "{}", "body");
	check_text(a->error, "", "no error");
	check(a->elapsed_ms == 250 && a->received_us == INT64_C(1795557600250000),
	      "when it came, and how long it took");
	check(!http_next(h), "once");
	http_stats(h, &stats);
	check(stats.requests == 1 && stats.retries == 0 && stats.bytes == sizeof ok - 1 && stats.decoded == 2 &&
		      stats.handshakes == 0,
	      "statistics");
	http_release(h, got);
	r = http_start(h, "/x", V1, 1, 0);
	check(http_next(h) == r && net.opened == 1, "the second request goes over the same connection");
	http_close(h);
	check(net.open == 0, "every connection is closed in the end");
}

static void test_statuses(void)
{
	static const struct {
		const char *text, *error;
		int status;
	} cases[] = {
		{"HTTP/1.1 204 No Content\r\n\r\n", "", 204},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "", 404},
		{"HTTP/1.1 403 No\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", "", 403},
		{"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
		 "/p: status 304 answers a condition, but none was sent; check base_url and proxy", 304},
		{"HTTP/1.1 302 Found\r\nLocation: https://other/\r\nContent-Length: 0\r\n\r\n",
		 "/p: status 302 leads to https://other/, which is not followed; check base_url", 302},
		{"HTTP/1.1 301 Moved\r\nLocation: a\x1b[0m\r\nContent-Length: 0\r\n\r\n", NULL, 301},
		{"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n\r\n",
		 "/p: status 307 leads to an unnamed place, which is not followed; check base_url", 307},
		{"HTTP/1.1 308 Moved\r\nLocation: /a b\r\nContent-Length: 0\r\n\r\n",
		 "/p: status 308 leads to /a, which is not followed; check base_url", 308},
		{"HTTP/1.1 308 Moved\r\nLocation: /\xc3\xa9\r\nContent-Length: 0\r\n\r\n",
		 "/p: status 308 leads to /, which is not followed; check base_url", 308},
		{"HTTP/1.1 301 Moved\r\nLocation: https://example.com/234567890123456789012345678901234567890123456789"
		 "0123456789012345678901234567890\r\nContent-Length: 0\r\n\r\n",
		 "/p: status 301 leads to "
		 "https://example.com/23456789012345678901234567890123456789012345678901234567890,"
		 " which is not followed; check base_url",
		 301},
	};
	struct http_options o = test_options();
	size_t i;

	o.attempts = 1;
	for (i = 0; i < countof(cases); i++) {
		struct reply reply = {cases[i].text, STAYS, 0, 0, 0};
		struct http *h;
		const struct http_response *a;
		net_reset(&reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->status == (cases[i].error ? cases[i].status : 0) &&
			      (cases[i].error ? a->outcome == HTTP_DONE && strcmp(a->error, cases[i].error) == 0
					      : a->outcome == HTTP_BROKEN),
		      "status %d: %s", cases[i].status, a->error);
		http_close(h);
	}
}

/* Requests of ranks 9, 8, ... 1 at once, over three connections; each answer takes 100 ms. */
static void test_parallel(void)
{
	static const struct reply replies[] = {{ok, STAYS, 100, 0, 0}};
	struct http_options o = test_options();
	struct http *h;
	struct http_request *r;
	uint64_t rank;
	char path[8];
	unsigned n = 0;

	net_reset(replies, countof(replies));
	o.connections = 3;
	h = test_open(&o);
	for (rank = 9; rank; rank--) {
		snprintf(path, sizeof path, "/%u", (unsigned)rank);
		http_start(h, path, V1, rank, 0);
	}
	while ((r = http_next(h)) != NULL) {
		n++;
		http_release(h, r);
	}
	check(n == 9 && net.most_open == 3 && net.opened == 3, "nine requests, never more than three connections");
	check_bytes(net.log.s, net.log.n,
		    "0 0 /1\n0 1 /2\n0 2 /3\n100 0 /4\n100 1 /5\n100 2 /6\n200 0 /7\n200 1 /8\n200 2 /9\n",
		    "the lowest rank goes first, as soon as a connection is free");
	http_close(h);
}

static void test_equal_ranks(void)
{
	static const struct reply replies[] = {{ok, STAYS, 100, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.connections = 1;
	h = test_open(&o);
	http_start(h, "/a", V1, 5, 0);
	http_start(h, "/b", V1, 5, 0);
	http_start(h, "/c", V1, 5, 0);
	while (http_next(h))
		;
	check_bytes(net.log.s, net.log.n, "0 0 /a\n100 0 /b\n200 0 /c\n", "of equal ranks the older goes first");
	http_close(h);
}

/* Small pieces both ways. */
static void test_pieces(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 7, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	net.send_most = 1;
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->status == 200, "sent and received byte by byte");
	http_close(h);
}

/* The socket takes a request in parts, and now and then nothing. */
static void test_parts(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	net.send_most = 50;
	net.send_stops = true;
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.sends > 5, "sent in parts: %lu",
	      (unsigned long)net.sends);
	check(net.polls > net.sends / 2 && net.polls < 20, "and waited for in between: %lu", (unsigned long)net.polls);
	http_close(h);
}

static void test_malformed_request(void)
{
	static const struct {
		const char *path, *accept;
	} cases[] = {{"users", V1}, {"/a b", V1}, {"/\xc3\xa9", V1}, {"/a\r\nX: y", V1}, {"/", "a\nb"}};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		const struct http_response *a;
		struct http *h;
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, cases[i].path, cases[i].accept, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == HTTP_BROKEN && !net.opened, "a request that nobody may send: case %u", (unsigned)i);
		check_text(a->error, "a path that is not percent-encoded, or an Accept with control characters",
			   "and the error says so");
		http_close(h);
	}
}

/* The end of a connection has no errno; an older one must not show. */
static void test_cut_without_error(void)
{
	static const struct reply replies[] = {{"", ENDS, 10, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.attempts = 1;
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	errno = ENOSPC;
	check_text(http_response(http_next(h))->error, "/p: the connection closed before an answer",
		   "no errno is shown");
	http_close(h);
}

/* ---- Retry ---- */

/* The pauses between the requests of the log lie in [p/2, p]. */
static bool log_pauses(const int64_t *pauses, size_t count)
{
	const char *s = net.log.s;
	long long last = -1, now;
	size_t i = 0;

	text_add(&net.log, "", 1);
	for (s = net.log.s; s && *s && sscanf(s, "%lld", &now) == 1; s = strchr(s, '\n') + 1) {
		if (last >= 0 && (i >= count || now - last < pauses[i] / 2 || now - last > pauses[i]))
			return false;
		i += last >= 0;
		last = now;
	}
	net.log.n--;
	return i == count;
}

static void test_retries(void)
{
	static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000};
	static const char fault[] = "HTTP/1.1 503 Oops\r\nContent-Length: 4\r\n\r\noops";
	static const struct {
		const char *name;
		struct reply reply;
		enum http_outcome outcome;
		const char *error;
	} cases[] = {
		{"status 503", {fault, STAYS, 0, 0, 0}, HTTP_DONE, ""},
		{"status 408", {"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0}, HTTP_DONE, ""},
		{"status 425", {"HTTP/1.1 425 Early\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0}, HTTP_DONE, ""},
		{"closed at once",
		 {"", ENDS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: the connection closed before an answer (8 attempts)"},
		{"reset at once",
		 {"", RESETS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: the connection closed before an answer: Connection reset by peer (8 attempts)"},
		{"cut off in the head",
		 {"HTTP/1.1 200", ENDS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: cut off in its head (8 attempts)"},
		{"cut off in the body",
		 {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell", ENDS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: cut off: the body is shorter than its Content-Length (8 attempts)"},
		{"reset in a body without length",
		 {"HTTP/1.1 200 OK\r\n\r\nhell", RESETS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: cut off in a body without Content-Length: Connection reset by peer (8 attempts)"},
		{"malformed",
		 {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", STAYS, 0, 0, 0},
		 HTTP_BROKEN,
		 "/p: malformed answer: malformed Content-Length (8 attempts)"},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		const struct http_response *a;
		struct http_stats stats;
		net_reset(&cases[i].reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == cases[i].outcome && a->attempts == 8 && net.requests == 8, "eight attempts: %s",
		      cases[i].name);
		check_text(a->error, cases[i].error, cases[i].name);
		check(log_pauses(pauses, countof(pauses)), "pauses of 1 to 60 s, half of each by chance: %s",
		      cases[i].name);
		http_stats(h, &stats);
		check(net.retries == 7 && stats.retries == 7 && stats.requests == 8, "each retry is told of: %s",
		      cases[i].name);
		http_close(h);
	}
}

/* What is wrong with a coding may be right without it. */
static void test_miscoded(void)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		 "/p: malformed answer: something that is no gzip, or more than that (3 attempts)"},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b\x08",
		 "/p: malformed answer: gzip that is cut off (3 attempts)"},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
		 "/p: malformed answer: a Content-Encoding that was not asked for (3 attempts)"},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
		 "/p: malformed answer: gzip that is cut off (3 attempts)"},
	};
	static const char ending[] = "\r\nAccept-Encoding: identity\r\n\r\n";
	struct http_options o = test_options();
	size_t i;

	o.attempts = 3;
	for (i = 0; i < countof(cases); i++) {
		struct reply replies[] = {{cases[i].text, i == 1 ? ENDS : STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
		struct http *h;
		const struct http_response *a;
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->status == 200 && a->attempts == 2 && net.retries == 1, "asked for again: %s", cases[i].error);
		check_text(net.latest + strlen(net.latest) - (sizeof ending - 1), ending, "without a coding");
		http_start(h, "/q", V1, 1, 0);
		http_next(h);
		check(strstr(net.latest, "gzip\r\n\r\n") != NULL, "the next request asks for gzip again");
		http_close(h);
		net_reset(replies, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == HTTP_BROKEN && a->length == 0, "never a good one: %s", cases[i].error);
		check_text(a->error, cases[i].error, "never a good one: the error");
		check_text(net.latest + strlen(net.latest) - (sizeof ending - 1), ending, "twice without a coding");
		http_close(h);
	}
}

static void test_recovery(void)
{
	static const struct reply replies[] = {{"", ENDS, 0, 0, 0},
					       {"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0},
					       {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->outcome == HTTP_DONE && a->status == 200 && a->attempts == 3, "the third attempt goes well");
	check_bytes(a->body, a->length, "{}", "nothing is left of those before it");
	check_text(a->error, "", "nor of their errors");
	check_text(net.notices,
		   "retry /p the connection closed before an answer attempt 1\nretry /p status 500 attempt 2\n",
		   "notices name path, reason and attempt");
	http_close(h);
}

static void test_over(void)
{
	static const struct {
		struct reply reply;
		const char *limit;
	} cases[] = {
		{{"HTTP/1.1 200 OK\r\nX: ", STAYS, 0, 0, 70000}, "more than 64 KiB of headers"},
		{{"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n", STAYS, 0, 0, 0},
		 "an announced body of more than 64 MiB"},
		{{"HTTP/1.1 200 OK\r\n\r\n", STAYS, 0, 0, HTTP_BODY_LIMIT + 1}, "a body of more than 64 MiB"},
		{{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", STAYS, 0, 0, 0},
		 "a chunk size beyond 64 bits"},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		const struct http_response *a;
		char expected[100];
		struct http *h;
		net_reset(&cases[i].reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == HTTP_TOO_LARGE && a->attempts == 1 && net.requests == 1 && a->length == 0,
		      "an answer over a limit is not asked for again: %s", cases[i].limit);
		snprintf(expected, sizeof expected, "/p: the answer has %s", cases[i].limit);
		check_text(a->error, expected, "and the error says which limit");
		http_close(h);
	}
}

/* An error names 400 bytes of a path, and behind them says all that it has to say. */
static void test_long_path(void)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell",
		 "cut off: the body is shorter than its Content-Length (2 attempts)"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n",
		 "the answer has an announced body of more than 64 MiB"},
		{"HTTP/1.1 304 Not Modified\r\n\r\n",
		 "status 304 answers a condition, but none was sent; check base_url and proxy"},
		{"HTTP/1.1 301 Moved\r\nLocation: "
		 "https://example.com/2345678901234567890123456789012345678901234567890123456789\r\n\r\n",
		 "status 301 leads to https://example.com/2345678901234567890123456789012345678901234567890123456789, "
		 "which is not followed; check base_url"},
		{"HTTP/1.1 400 Bad\r\nContent-Length: 15\r\n\r\nSSL certificate",
		 "status 400: the server wants a client certificate, which is not supported"},
		{"HTTP/1.1 429 Slow\r\nRetry-After: 1000\r\nContent-Length: 0\r\n\r\n",
		 "rate limit: after 0 s of waiting the server asks for 1000 s more"},
		{NULL, "this system cannot wait for the network: poll: Invalid argument"},
	};
	struct http_options o = test_options();
	char path[601] = "/", expected[600];
	size_t i;

	memset(path + 1, 'a', sizeof path - 2);
	path[399] = 'z';
	o.attempts = 2;
	for (i = 0; i < countof(cases); i++) {
		struct reply reply = {cases[i].text, ENDS, 0, 0, 0};
		struct http *h;
		net_reset(&reply, 1);
		net.poll_error = EINVAL;
		net.poll_fails = cases[i].text ? 0 : SIZE_MAX;
		h = test_open(&o);
		http_start(h, path, V1, 1, 0);
		snprintf(expected, sizeof expected, "%.400s: %s", path, cases[i].reason);
		check_text(http_response(http_next(h))->error, expected, "a path of 600 bytes");
		http_close(h);
	}
}

/* Who gives neither hooks nor texts gets an answer all the same. */
static void test_bare(void)
{
	static const struct reply replies[] = {{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0},
					       {"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0},
					       {ok, STAYS, 9000, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.token = o.user_agent = NULL;
	o.stop = NULL;
	o.pause_ms = NULL;
	o.notice = NULL;
	o.tick = NULL;
	o.base_url = "http://127.0.0.1";
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.requests == 3 && !net.ticks && !net.retries,
	      "without hooks");
	check_text(net.first, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: " V1 "\r\nAccept-Encoding: gzip\r\n\r\n",
		   "and without token and user agent");
	http_close(h);
}

/* Pauses double up to a minute. */
static void test_longest_pause(void)
{
	static const int64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
	static const struct reply replies[] = {{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.attempts = countof(pauses) + 1;
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->attempts == countof(pauses) + 1 && log_pauses(pauses, countof(pauses)),
	      "pauses double up to a minute");
	http_close(h);
}

/* ---- Deadlines ---- */

static void test_timeouts(void)
{
	static const struct {
		const char *name;
		struct reply reply;
	} cases[] = {
		{"a silent server", {NULL, STAYS, 0, 0, 0}},
		{"a byte a second", {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", STAYS, 0, 1000, 5000}},
		{"1xx for ever, slowly",
		 {"HTTP/1.1 100 \r\n\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.1 100 \r\n\r\n", STAYS, 0, 10000, 0}},
		{"a body that stops", {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", STAYS, 0, 0, 4999}},
	};
	struct http_options o = test_options();
	size_t i;

	o.attempts = 1;
	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		const struct http_response *a;
		net_reset(&cases[i].reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == HTTP_BROKEN && net.now == 1000000 + 300000, "cut off after request_timeout: %s",
		      cases[i].name);
		check_text(a->error, "/p: no whole answer within request_timeout (300 s)", cases[i].name);
		http_close(h);
	}
}

/* A server that accepts and stays silent: what is waited for is told every second. */
static void test_waiting(void)
{
	static const struct {
		const char *base_url, *proxy, *resolves, *told;
	} cases[] = {
		{"http://localtest", NULL, "1", "/p no whole answer yet 10000"},
		{"http://localtest", NULL, "3", "/p no connection yet 9000"},
		{"https://localtest", NULL, "1", "/p no TLS handshake yet 10000"},
		{"https://localtest", "http://127.0.0.1:3128", "1", "/p no answer from the proxy yet 10000"},
	};
	static const struct reply replies[] = {{NULL, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		net_reset(replies, countof(replies));
		net.resolves = cases[i].resolves;
		net.stop_at = 1000000 + 10000;
		o.base_url = cases[i].base_url;
		o.proxy = cases[i].proxy;
		o.ca_file = bundle;
		o.attempts = 1;
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		http_next(h);
		check(net.tellings >= 7 && net.tellings <= 8, "told every second from 3 s on: %u", net.tellings);
		check_text(net.told, cases[i].told, "and what is waited for");
		check(net.ticks >= 20, "a tick each half second at least: %u", net.ticks);
		http_close(h);
	}
}

static void test_outside(void)
{
	static const struct reply late[] = {{ok, STAYS, 1000, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r;
	struct http *h;

	o.request_timeout_ms = 2000;
	o.connections = 2;
	net_reset(late, countof(late));
	h = test_open(&o);
	http_start(h, "/late", V1, 1, 0);
	http_start(h, "/early", V1, 2, 0);
	r = http_next(h);
	net.now += 3600000;
	r = http_next(h);
	check(r && http_response(r)->status == 200 && net.requests == 2, "no deadline runs outside http_next");
	check(http_response(r)->elapsed_ms < 2000, "nor does the time that a request took");
	http_close(h);
}

/* The second of two requests fails, and the caller was elsewhere in between. */
static void test_left(void)
{
	static const struct {
		const char *name, *text;
		int64_t away, delay;
		unsigned attempts;
	} cases[] = {
		{"cut off after more than 10 s outside", "HTTP/1.1 2", 10001, 1000, 1},
		{"cut off after less", "HTTP/1.1 2", 9999, 1000, 2},
		{"dropped unheard after less", "", 9999, 1000, 1},
		{"dropped unheard after one second", "", 1000, 1, 1},
		{"dropped unheard after less than one", "", 999, 1, 2},
		{"dropped unheard after more time inside", "", 9999, 20000, 2},
	};
	struct http_options o = test_options();
	size_t i;

	o.connections = 2;
	for (i = 0; i < countof(cases); i++) {
		struct reply replies[] = {
			{ok, STAYS, 0, 0, 0}, {cases[i].text, RESETS, cases[i].delay, 0, 0}, {ok, STAYS, 0, 0, 0}};
		struct http_request *r;
		struct http *h;
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/early", V1, 1, 0);
		http_start(h, "/lost", V1, 2, 0);
		http_next(h);
		net.now += cases[i].away;
		r = http_next(h);
		check(r && http_response(r)->status == 200 && http_response(r)->attempts == cases[i].attempts &&
			      net.retries == cases[i].attempts - 1,
		      "%s outside http_next: %s", cases[i].name, cases[i].attempts == 1 ? "not counted" : "counted");
		http_close(h);
	}
}

/* Each time outside excuses one attempt. */
static void test_left_once(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}, {"", ENDS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	o.attempts = 3;
	o.connections = 2;
	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/early", V1, 1, 0);
	http_start(h, "/lost", V1, 2, 0);
	http_next(h);
	net.now += 10001;
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && a->attempts == 3 && net.requests == 1 + 1 + 3,
	      "a server that always drops us is not asked for ever");
	http_close(h);
}

/* ---- Addresses ---- */

static void test_addresses(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	char silent[256]; /* the C libraries' words differ */
	const struct {
		const char *name, *resolves;
		int64_t timeout, took;
		enum http_outcome outcome;
		unsigned attempts;
		size_t resolved;
		const char *error;
	} cases[] = {
		{"the first refuses", "21", 300000, 0, HTTP_DONE, 1, 1, ""},
		{"the first is silent", "31", 300000, 250, HTTP_DONE, 1, 1, ""},
		{"two are silent", "331", 300000, 500, HTTP_DONE, 1, 1, ""},
		{"IPv6 is silent", "CCC1", 300000, 250, HTTP_DONE, 1, 1, ""},
		{"IPv4 is silent", "3333A", 300000, 250, HTTP_DONE, 1, 1, ""},
		{"more are silent than are tried at once", "33333333331", 300000, 10500, HTTP_DONE, 1, 1, ""},
		{"some refuse, one is silent", "2232C1", 300000, 500, HTTP_DONE, 1, 1, ""},
		{"the first is silent and the time short", "31", 200, 200 + 1000, HTTP_DONE, 1, 1, ""},
		{"all refuse", "22", 300000, 1000 + 2000, HTTP_UNREACHABLE, 3, 3,
		 "localtest: cannot connect to 127.0.0.2 (the last of several addresses): Connection refused; check "
		 "network, base_url and proxy (3 attempts)"},
		{"all are silent", "3", 300000, 3000 + 30000, HTTP_UNREACHABLE, 3, 3, silent},
		{"the resolver fails", "", 300000, 3000, HTTP_UNREACHABLE, 3, 9, NULL},
		{"the name leads elsewhere", "19", 300000, 0, HTTP_UNTRUSTED, 1, 1,
		 "localtest: plain http:// is for this machine only, and the name leads elsewhere; use https://"},
	};
	struct http_options o = test_options();
	size_t i;

	snprintf(silent, sizeof silent,
		 "localtest: cannot connect to 127.0.0.3: %s; check network, base_url and proxy (3 attempts)",
		 strerror(ETIMEDOUT));
	o.base_url = "http://localtest";
	o.attempts = 3;
	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		const struct http_response *a;
		int64_t took;
		net_reset(replies, countof(replies));
		net.resolves = cases[i].resolves;
		o.request_timeout_ms = cases[i].timeout;
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		took = net.now - 1000000;
		check(a->outcome == cases[i].outcome && a->attempts == cases[i].attempts &&
			      net.resolved == cases[i].resolved,
		      "addresses: %s", cases[i].name);
		check(took <= cases[i].took && took >= cases[i].took / 2, "addresses, time: %s", cases[i].name);
		if (cases[i].error)
			check_text(a->error, cases[i].error, cases[i].name);
		http_close(h);
	}
}

/* Which addresses are tried, in which order, and what is left open: '!' is the fault that the resolver has for both
 * families together. */
static void test_address_order(void)
{
	static const struct {
		const char *name, *resolves, *connects, *asked;
		int both;
	} cases[] = {
		{"each of four once, in the resolver's order", "2222", "2222", "localtest;", 0},
		{"families in turn", "22BB2", "2B2B2", "localtest;", 0},
		{"families in turn, IPv6 first", "BBB22", "B2B2B", "localtest;", 0},
		{"both families fail, IPv6 too", "1", "1", "localtest;6localtest;4localtest;", EAI_FAIL},
		{"both families fail", "A", "A", "localtest;6localtest;4localtest;", EAI_AGAIN},
		{"there is no such name in both", "1", "1", "localtest;6localtest;4localtest;", EAI_NONAME},
	};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "http://localtest";
	o.attempts = 1;
	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		net_reset(replies, countof(replies));
		net.resolves = cases[i].resolves;
		net.both_fail = cases[i].both;
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		http_next(h);
		check_text(net.connects, cases[i].connects, cases[i].name);
		check_text(net.asked, cases[i].asked, "and what the resolver was asked");
		http_close(h);
		check(net.open == 0, "no socket is left open: %s", cases[i].name);
	}
}

/* No more than 16 addresses of a name are kept, and no more than 8 dialled at once. */
static void test_many_addresses(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	static const struct {
		const char *resolves;
		size_t connects, most_open;
		const char *what;
		int number;
	} cases[] = {
		{"222222222222222222", 16, 1, "cannot connect to 127.0.0.2 (the last of several addresses)",
		 ECONNREFUSED},
		{"3333333333", 10, 8, "cannot connect to 127.0.0.3 (the last of several addresses)", ETIMEDOUT},
		{"u", 0, 0, "cannot resolve the name", 0},
	};
	struct http_options o = test_options();
	char wanted[256];
	size_t i;

	o.base_url = "https://example.com";
	o.ca_file = bundle;
	o.attempts = 1;
	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		net_reset(replies, countof(replies));
		net.resolves = cases[i].resolves;
		net.no_name = EAI_NONAME;
		h = test_open(&o);
		http_start(h, "/", V1, 1, 0);
		snprintf(wanted, sizeof wanted, "example.com: %s: %s", cases[i].what,
			 cases[i].number ? strerror(cases[i].number) : "");
		check(strncmp(http_response(http_next(h))->error, wanted, strlen(wanted)) == 0, "%s", wanted);
		check(strlen(net.connects) == cases[i].connects && net.most_open == cases[i].most_open,
		      "%lu of %s, %lu at once", (unsigned long)strlen(net.connects), cases[i].resolves,
		      (unsigned long)net.most_open);
		http_close(h);
	}
}

/* Whose name it is that can't be resolved. */
static void test_name_unknown(void)
{
	static const struct {
		const char *proxy, *look;
	} cases[] = {{NULL, "; check base_url, this machine's network and DNS"},
		     {"http://p:3128", "; check proxy, this machine's network and DNS"}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://example.com";
	o.ca_file = bundle;
	o.attempts = 1;
	for (i = 0; i < countof(cases); i++) {
		const char *error;
		struct http *h;
		net_reset(NULL, 0);
		net.resolves = "";
		net.no_name = EAI_NONAME;
		o.proxy = cases[i].proxy;
		h = test_open(&o);
		http_start(h, "/", V1, 1, 0);
		error = http_response(http_next(h))->error;
		check(strstr(error, cases[i].look) != NULL, "%s", error);
		http_close(h);
	}
}

/* An address that was late is not tried first again, and the sockets of the others are closed. */
static void test_address_kept(void)
{
	static const struct reply replies[] = {
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://localtest";
	net.resolves = "331";
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	http_next(h);
	check(net.open == 0 && net.most_open == 3, "the sockets that lost are closed");
	http_start(h, "/2", V1, 1, 0);
	http_next(h);
	check_text(net.connects, "3311", "the address that won is the first the next time");
	check(net.port == 80, "the port of an IPv4 address");
	http_start(h, "/3", V1, 1, 0);
	net.resolves = "3";
	h->address_count = 0;
	net.stop_at = net.now + 1000;
	check(!http_next(h) && net.open == 1, "stopped while an address is tried");
	http_close(h);
	check(net.open == 0, "whose socket is closed as well");
}

/* An address that was given needs no resolver. */
static void test_given_address(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	static const char *const urls[] = {"http://127.0.0.1:8443", "http://[::1]:8443", "http://localhost:8443"};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(urls); i++) {
		struct http *h;
		net_reset(replies, countof(replies));
		o.base_url = urls[i];
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		check(http_response(http_next(h))->status == 200 && net.port == 8443 && !*net.asked, "%s", urls[i]);
		http_close(h);
	}
}

static void test_final_dot(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://localtest.";
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->status == 200, "a name that ends with a dot");
	check_text(net.asked, "localtest.;", "the resolver sees the dot");
	check(strstr(net.first, "\r\nHost: localtest\r\n") != NULL, "the server does not");
	http_close(h);
}

/* The resolver's time counts against no deadline. */
static void test_resolver_slow(void)
{
	static const struct reply replies[] = {{ok, STAYS, 800, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://localtest";
	o.request_timeout_ms = 1000;
	o.attempts = 1;
	net.resolver_ms = 100000;
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.now == 1000000 + 100800,
	      "the resolver may take longer than a request");
	http_close(h);

	net_reset(replies, countof(replies));
	o.connections = 2;
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	net.stop_at = 1000000 + 1;
	check(!http_next(h), "one request is under way");
	net.stop_at = INT64_MAX;
	net.stop = 0;
	h->address_count = 0;
	net.resolver_ms = 100000;
	http_start(h, "/2", V1, 2, 0);
	check(http_response(http_next(h))->status == 200 && http_response(http_next(h))->status == 200 &&
		      net.requests == 2,
	      "while another connection asks it");
	http_close(h);
}

static void test_socket_options(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/", V1, 1, 0);
	http_next(h);
	check(strstr(net.options, "nodelay=1 ") && strstr(net.options, "keepalive=1 "),
	      "small writes are not held back, and a dead connection is noticed: %s", net.options);
#if defined TCP_KEEPIDLE && defined TCP_USER_TIMEOUT
	check_text(net.options, "nodelay=1 keepalive=1 idle=20 interval=10 count=3 user=50000 ", "within a minute");
#endif
	http_close(h);
}

/* Requests while no connection can be opened: who is told, who tries, and what becomes of them. */
static void test_outage(void)
{
	static const struct {
		const char *name, *resolves;
		int no_name;
		unsigned attempts;
		size_t opened;
	} cases[] = {
		{"a host that refuses", "2", 0, 5, 5},
		{"a resolver that fails", "", 0, 5, 0},
		{"a name that does not exist", "", EAI_NONAME, 3, 0},
		{"a name without addresses", "", EAI_NO_DATA, 3, 0},
	};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "http://localtest";
	o.attempts = 5;
	for (i = 0; i < countof(cases); i++) {
		struct http_request *r;
		unsigned n, good = 0;
		struct http *h;
		net_reset(replies, countof(replies));
		net.resolves = cases[i].resolves;
		net.no_name = cases[i].no_name;
		h = test_open(&o);
		for (n = 9; n; n--)
			http_start(h, "/p", V1, n, n);
		while ((r = http_next(h)) != NULL) {
			good += http_response(r)->outcome == HTTP_UNREACHABLE &&
				http_response(r)->attempts == cases[i].attempts;
			http_release(h, r);
		}
		check(good == 9 && net.retries == cases[i].attempts - 1, "nine requests, one tries, all are told: %s",
		      cases[i].name);
		check(net.opened <= cases[i].opened + o.connections - 1, "no more connections than attempts: %s",
		      cases[i].name);
		check(net.now - 1000000 >= (cases[i].attempts == 5 ? 7500 : 1500),
		      "with the pauses of one request: %ld ms, %s", (long)(net.now - 1000000), cases[i].name);
		http_start(h, "/p", V1, 1, 0);
		check(http_response(http_next(h))->outcome == HTTP_UNREACHABLE && net.retries == cases[i].attempts - 1,
		      "a later request has one more attempt: %s", cases[i].name);
		net.no_name = 0;
		net.resolves = "1";
		http_start(h, "/p", V1, 1, 0);
		check(http_response(http_next(h))->status == 200, "and passes where it can: %s", cases[i].name);
		check(h->failed_openings == 0, "which ends the row of failures: %s", cases[i].name);
		http_close(h);
	}
}

/* Two connections stay open; what an outage takes is only the third. */
static void test_outage_partly(void)
{
	static const struct reply replies[] = {{ok, STAYS, 100, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r;
	unsigned n, good = 0;
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://localtest";
	o.connections = 3;
	o.attempts = 1;
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	http_release(h, http_next(h));
	http_release(h, http_next(h));
	net.resolves = "2";
	h->address_count = 0;
	for (n = 0; n < 20; n++)
		http_start(h, "/p", V1, n, 0);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->status == 200;
		http_release(h, r);
	}
	check(good == 20, "open connections carry on while no other can be opened: %u", good);
	http_close(h);
}

static void test_localhost(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "http://LOCALHOST:8080";
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.resolved == 0, "localhost needs no resolver");
	http_close(h);
}

/* ---- Kept-alive connections ---- */

static void test_stale(void)
{
	static const struct reply replies[] = {
		{ok, STAYS, 0, 0, 0}, {"", ENDS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	o.attempts = 1;
	h = test_open(&o);
	http_release(h, (http_start(h, "/1", V1, 1, 0), http_next(h)));
	http_start(h, "/2", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->status == 200 && a->attempts == 1 && net.opened == 2 && net.retries == 0,
	      "a kept-alive connection that closes instead of an answer is reopened, not counted");
	net.peers[1].ended = true;
	http_start(h, "/3", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->status == 200 && net.opened == 3 && net.requests == 4 && net.peers[1].in.n == 0,
	      "one that is closed already is not used");
	http_close(h);
}

/* A connection that was idle for more than a minute may be forgotten by a NAT, which nobody would say. */
static void test_idle_too_long(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	static const int64_t idle[] = {60000, 60001};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(idle); i++) {
		struct http *h;
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_release(h, (http_start(h, "/1", V1, 1, 0), http_next(h)));
		net.now += idle[i];
		http_release(h, (http_start(h, "/2", V1, 1, 0), http_next(h)));
		check(net.opened == 1 + i && net.open == 1, "a connection idle for %ld ms is %s", (long)idle[i],
		      i ? "replaced" : "used");
		http_close(h);
	}
}

/* The server closes an idle connection while another is busy. */
static void test_idle_closed(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}, {ok, STAYS, 5000, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	http_release(h, http_next(h));
	check(net.open == 2, "one is idle, one is busy");
	net.peers[0].ended = true;
	http_release(h, http_next(h));
	check(net.open == 1 && !net.peers[0].open && net.polls < 30, "the idle one is closed at once: %lu polls",
	      (unsigned long)net.polls);
	http_close(h);
}

static void test_fresh_close(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}, {"", ENDS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	o.attempts = 2;
	h = test_open(&o);
	http_release(h, (http_start(h, "/1", V1, 1, 0), http_next(h)));
	http_start(h, "/2", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && a->attempts == 2 && net.requests == 4,
	      "on a fresh connection the same is counted");
	http_close(h);
}

static void test_no_reuse(void)
{
	static const struct {
		const char *name, *text;
		enum ending ending;
	} cases[] = {
		{"surplus",
		 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
		 STAYS},
		{"Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", STAYS},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", STAYS},
		{"the end of the connection", "HTTP/1.1 200 OK\r\n\r\n{}", ENDS},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct reply replies[] = {{cases[i].text, cases[i].ending, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
		struct http *h;
		const struct http_response *a;
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/1", V1, 1, 0);
		a = http_response(http_next(h));
		check_bytes(a->body, a->length, "{}", cases[i].name);
		http_start(h, "/2", V1, 2, 0);
		a = http_response(http_next(h));
		check_bytes(a->body, a->length, "{}", cases[i].name);
		check(net.opened == 2 && net.most_open == 1, "no second request on a connection after: %s",
		      cases[i].name);
		http_close(h);
	}
}

/* ---- Rate limit ---- */

/* An answer of 500 bytes at most, its fields separated by '|'. */
static void answer_text(char *to, int status, const char *fields, const char *body)
{
	int n = snprintf(to, 500, "HTTP/1.1 %d \r\n", status);

	for (; *fields; fields++)
		n += snprintf(to + n, 3, *fields == '|' ? "\r\n" : "%c", *fields);
	snprintf(to + n, 500 - (size_t)n, "%sContent-Length: %u\r\n\r\n%s", to[n - 1] == '\n' ? "" : "\r\n",
		 (unsigned)strlen(body), body);
}

/* What a 429 holds, and the pause until the next request; 2026-11-24 22:00 is our time.  -1: half to all of
 * backoff_ms. */
static void test_limit_forms(void)
{
	static const struct {
		const char *fields, *body;
		int64_t wait;
	} cases[] = {
		{"Retry-After: 7", "", 7000},
		{"Retry-After: 0", "", 1000},
		{"Retry-After:  7 ", "pause 3000", 7000},
		{"Retry-After: Tue, 24 Nov 2026 22:00:20 GMT", "", 21000},
		{"Retry-After: Tuesday, 24-Nov-26 22:00:20 GMT", "", 21000},
		{"Retry-After: Tue Nov 24 22:00:20 2026", "", 21000},
		{"Date: Sun, 06 Nov 1994 08:49:37 GMT|Retry-After: Sun, 06 Nov 1994 08:49:57 GMT", "", 21000},
		{"Retry-After: Sun, 06 Nov 1994 08:49:57 GMT|Date: Sun, 06 Nov 1994 08:49:37 GMT", "", 21000},
		{"Retry-After: Sun, 06 Nov 1994 08:49:57 GMT", "", 1000},
		{"Retry-After: soon", "pause 3000", 3000},
		{"Retry-After: -5", "pause 3000", 3000},
		{"Retry-After: 1.5", "pause 3000", 2000},
		{"Retry-After: 7.0", "", 7000},
		{"Retry-After: 6.001", "", 7000},
		{"Retry-After: 7, 2", "", 7000},
		{"Retry-After: 6.5, 2", "", 7000},
		{"Retry-After: 7,", "", 7000},
		{"Retry-After: 7.", "pause 3000", 3000},
		{"Retry-After: 7 s", "pause 3000", 3000},
		{"Retry-After: 24 Nov 2026 22:00:20 GMT", "", 21000},
		{"", "pause 3000", 3000},
		{"", "pause 3", 1000},
		{"X-RateLimit-Reset: Tue, 24 Nov 2026 22:00:20 +0000", "pause 3000", 3000},
		{"X-RateLimit-Reset: Tue, 24 Nov 2026 22:00:20 +0000", "", 21000},
		{"X-RateLimit-Reset: Tue Nov 24 2026 22:00:20 GMT+0000 (Coordinated Universal Time)", "", 21000},
		{"X-RateLimit-Reset: whenever", "", -1},
		{"Content-Encoding: br|Retry-After: 7", "?", 7000},
		{"Content-Encoding: br", "pause 3000", -1},
		{"", "", -1},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		char text[500];
		struct reply replies[] = {{text, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
		struct http_stats stats;
		struct http *h;
		const struct http_response *a;
		int64_t took;
		answer_text(text, 429, cases[i].fields, cases[i].body);
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		took = net.now - 1000000;
		check(a->status == 200 && a->attempts == 1 && net.retries == 0, "429 is no attempt: %s%s",
		      cases[i].fields, cases[i].body);
		check(cases[i].wait >= 0 ? took == cases[i].wait : took >= 500 && took <= 1000, "waits %ld ms: %s%s",
		      (long)took, cases[i].fields, cases[i].body);
		http_stats(h, &stats);
		check(net.limits == 1 && net.wait == took && stats.rate_limit_ms == took,
		      "one notice says how long: %s%s", cases[i].fields, cases[i].body);
		http_close(h);
	}
}

/* Four requests meet the limit together; then one goes alone, and the others after it. */
static void test_herd(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
	static const struct reply replies[] = {{limit, STAYS, 10, 0, 0},  {limit, STAYS, 20, 0, 0},
					       {limit, STAYS, 30, 0, 0},  {ok, STAYS, 40, 0, 0},
					       {limit, STAYS, 100, 0, 0}, {ok, STAYS, 100, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r;
	struct http *h;
	unsigned n = 0;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	http_start(h, "/3", V1, 3, 0);
	http_start(h, "/4", V1, 4, 0);
	while ((r = http_next(h)) != NULL) {
		n++;
		http_release(h, r);
	}
	check(n == 4, "all four come back");
	check_bytes(net.log.s, net.log.n,
		    "0 0 /1\n0 1 /2\n0 2 /3\n0 3 /4\n5030 0 /1\n10130 0 /1\n10230 0 /2\n10230 1 /3\n",
		    "after a limit one goes first, and the others when it has passed");
	check(net.limits == 2, "two waits, two notices");
	http_close(h);
}

/* As long as the one that goes first is answered by a fault, the others wait. */
static void test_probe_fails(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
	static const int faults[] = {408, 425, 500, 503};
	static const char log[] = "0 0 /1\n0 1 /2\n0 2 /3\n5000 0 /1\n5000 0 /2\n5100 0 /3\n";
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(faults); i++) {
		char text[500];
		struct reply replies[] = {{limit, STAYS, 0, 0, 0},
					  {limit, STAYS, 0, 0, 0},
					  {limit, STAYS, 0, 0, 0},
					  {text, STAYS, 0, 0, 0},
					  {ok, STAYS, 100, 0, 0}};
		struct http *h;
		answer_text(text, faults[i], "", "");
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/1", V1, 1, 0);
		http_start(h, "/2", V1, 2, 0);
		http_start(h, "/3", V1, 3, 0);
		while (http_next(h))
			;
		check(net.requests == 7 && strncmp(net.log.s, log, sizeof log - 1) == 0,
		      "after a limit status %d lets only one more go", faults[i]);
		http_close(h);
	}
}

static void test_patience(void)
{
	static const struct reply often[] = {
		{"HTTP/1.1 429 \r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0}};
	static const struct reply long_[] = {
		{"HTTP/1.1 429 \r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0},
		{ok, STAYS, 0, 0, 0}};
	static const struct reply unadvised[] = {{"HTTP/1.1 429 \r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	long waited;
	struct http *h;

	net_reset(often, countof(often));
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	http_start(h, "/q", V1, 2, 0);
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && net.now == 1000000 + 900000, "15 minutes of waiting are enough");
	check_text(a->error, "/p: rate limit: after 900 s of waiting the server asks for 100 s more",
		   "the error says what the server wanted");
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && net.now == 1000000 + 900000,
	      "who waited as long fails as well, without another round");
	http_close(h);

	net_reset(long_, countof(long_));
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	check(http_response(http_next(h))->outcome == HTTP_BROKEN && net.now == 1000000, "a longer wait is not begun");
	http_start(h, "/q", V1, 2, 0);
	check(http_response(http_next(h))->status == 200 && net.now == 1000000, "and holds back nobody else");
	http_close(h);

	net_reset(unadvised, countof(unadvised));
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && sscanf(a->error, "/p: rate limit: after %ld s", &waited) == 1 &&
		      waited > 900 - 60 && waited <= 900,
	      "pauses of ours come to an end as well: %s", a->error);
	check_text(strstr(a->error, " s of"), " s of waiting the server still refuses, and does not say for how long",
		   "and the error does not say that the server asked for any");
	http_close(h);
}

/* The hook's number is the server's, and may be any. */
static void test_patience_overflow(void)
{
	static const struct reply replies[] = {
		{"HTTP/1.1 429 \r\nContent-Length: 25\r\n\r\npause 9223372036854775807", STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	check(http_response(http_next(h))->outcome == HTTP_BROKEN && net.now == 1000000,
	      "the longest wait of 64 bits is too long");
	http_close(h);
}

/* Windows of one request: each answer says that there is none left for 61 s, and the last of 30 requests is refused once
 * after half an hour.  What it waited for its turn is not charged to it. */
static void test_patience_turn(void)
{
	static const char one[] = "HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: Sun, 6 Nov 1994 "
				  "08:50:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n{}";
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
	enum { REQUESTS = 30 };
	struct reply replies[REQUESTS + 1];
	struct http_options o = test_options();
	struct http_request *r;
	struct http *h;
	unsigned i, good = 0;

	for (i = 0; i <= REQUESTS; i++)
		replies[i] = (struct reply){i == REQUESTS - 1 ? limit : one, STAYS, 0, 0, 0};
	net_reset(replies, countof(replies));
	o.connections = 1;
	h = test_open(&o);
	for (i = 0; i < REQUESTS; i++)
		http_start(h, "/p", V1, i, 0);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->outcome == HTTP_DONE;
		http_release(h, r);
	}
	check(good == REQUESTS && net.now == 1000000 + (REQUESTS - 1) * 61000 + 60000,
	      "a request's patience begins when it is first sent");
	http_close(h);
}

/* The holds before a request was first sent are not its own, even if nobody was answered in them. */
static void test_patience_new(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 300\r\nContent-Length: 0\r\n\r\n";
	struct reply replies[] = {{limit, STAYS, 0, 0, 0}, {limit, STAYS, 0, 0, 0}, {limit, STAYS, 0, 0, 0},
				  {limit, STAYS, 0, 0, 0}, {limit, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	check(http_response(http_next(h))->outcome == HTTP_BROKEN, "one request has waited for 15 minutes");
	http_start(h, "/2", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.now == 1000000 + 1200000,
	      "the next one has 15 minutes of its own");
	http_close(h);
}

/* Others of lower rank are answered, one a window, before a refused request has its turn again. */
static void test_patience_progress(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 300\r\nContent-Length: 0\r\n\r\n";
	static const char one[] = "HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: Sun, 6 Nov 1994 "
				  "08:54:36 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n{}";
	struct reply replies[] = {{limit, STAYS, 0, 0, 0}, {one, STAYS, 0, 0, 0},   {one, STAYS, 0, 0, 0},
				  {one, STAYS, 0, 0, 0},   {limit, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r;
	struct http *h;
	unsigned n, good = 0;

	net_reset(replies, countof(replies));
	o.connections = 1;
	h = test_open(&o);
	http_start(h, "/9", V1, 9, 0);
	net.stop_at = 1000000 + 1000;
	check(!http_next(h), "refused, and stopped during the hold");
	net.stop_at = INT64_MAX;
	net.stop = 0;
	for (n = 1; n <= 3; n++)
		http_start(h, "/p", V1, n, 0);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->status == 200;
		http_release(h, r);
	}
	check(good == 4 && net.now == 1000000 + 1500000, "windows in which others were answered are not charged");
	http_close(h);
}

/* A request that was refused waits for others of lower rank; as long as those are answered its patience lasts. */
static void test_patience_others(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n";
	static const struct reply replies[] = {{limit, STAYS, 0, 0, 0},
					       {ok, STAYS, 0, 0, 0},
					       {limit, STAYS, 0, 0, 0},
					       {ok, STAYS, 0, 0, 0},
					       {limit, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/9", V1, 9, 0);
	net.stop_at = 1000000 + 1000;
	check(!http_next(h), "stopped during a hold");
	net.stop_at = INT64_MAX;
	net.stop = 0;
	http_start(h, "/1", V1, 1, 0);
	check(http_response(http_next(h))->status == 200, "the lower rank passes, and the other is refused again");
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && net.now == 1000000 + 600000, "its own waits are counted all the same");
	check_text(a->error, "/9: rate limit: after 600 s of waiting the server asks for 600 s more",
		   "and the error says how long");
	http_close(h);
}

/* Another request is answered while the lane is held: what is left of the hold counts, what has passed does not. */
static void test_patience_rest(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 200\r\nContent-Length: 0\r\n\r\n";
	static const struct reply replies[] = {{ok, STAYS, 9000, 0, 0}, {limit, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	o.connections = 2;
	h = test_open(&o);
	http_start(h, "/2", V1, 2, 0);
	http_start(h, "/9", V1, 9, 0);
	check(http_response(http_next(h))->status == 200 && net.now == 1000000 + 9000, "answered in a hold");
	http_start(h, "/1", V1, 1, 0);
	check(http_response(http_next(h))->outcome == HTTP_BROKEN && net.now == 1000000 + 1000000,
	      "refused again and again");
	a = http_response(http_next(h));
	check(a->outcome == HTTP_BROKEN && net.now == 1000000 + 1000000, "who waited beside it fails too");
	check_text(a->error, "/9: rate limit: after 991 s of waiting the server asks for 200 s more",
		   "and the error says how long");
	http_close(h);
}

/* Two requests of each of three lanes; the first lane is limited. */
static void test_lanes(void)
{
	static const char limit[] = "HTTP/1.1 429 \r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
	static const struct reply replies[] = {{limit, STAYS, 100, 0, 0}, {ok, STAYS, 100, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r;
	struct http_stats stats;
	struct http *h;

	net_reset(replies, countof(replies));
	o.connections = 1;
	h = test_open(&o);
	http_start(h, "/a1", V1, 1, 7);
	http_start(h, "/a2", V1, 2, 7);
	http_start(h, "/b1", V1, 3, 0);
	http_start(h, "/b2", V1, 4, 0);
	http_start(h, "/c1", V1, 5, HTTP_LANES - 1);
	while ((r = http_next(h)) != NULL)
		http_release(h, r);
	check_bytes(net.log.s, net.log.n, "0 0 /a1\n100 0 /b1\n200 0 /b2\n300 0 /c1\n30100 0 /a1\n30200 0 /a2\n",
		    "the limit of one lane holds no other lane back, and none of its own requests goes early");
	check_text(net.notices, "limit /a1 429, the rate limit is reached attempt 0\n", "one notice, for the lane");
	check(net.lane == 7, "which it names");
	http_stats(h, &stats);
	check(stats.rate_limit_ms == 30000, "how long a lane was held back");
	check(net.ticks >= 60, "ticks while it was: %u", net.ticks);
	http_close(h);
}

/* A limit that all lanes share after all: in each window one refusal for each lane, as more than that were not under
 * way. */
static void test_lanes_share(void)
{
	struct http_options o = test_options();
	struct reply replies[] = {{ok, STAYS, 10, 0, 0}};
	struct http_request *r;
	struct http_stats stats;
	struct http *h;
	unsigned i, good = 0;

	net_reset(replies, countof(replies));
	net.limit = (struct limit){.burst = 4,
				   .window_ms = 10000,
				   .refusal = "HTTP/1.1 429 \r\nRetry-After: %d\r\n"
					      "Content-Length: 0\r\n\r\n"};
	h = test_open(&o);
	for (i = 0; i < 24; i++)
		http_start(h, "/p", V1, i, i % 3);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->status == 200;
		http_release(h, r);
	}
	http_stats(h, &stats);
	check(good == 24 && net.now < 1000000 + 51000, "24 requests in six windows of four: %ld ms",
	      (long)(net.now - 1000000));
	check(net.limit.refused <= 3 * 6 + 1, "at most one 429 a lane and window, and one more at first: %u in all",
	      net.limit.refused);
	check(stats.rate_limit_ms <= net.now - 1000000, "time is counted once, however many lanes it holds back");
	http_close(h);
}

/* How long 40 requests take that are refused without advice; INT64_MAX if one is never answered. */
static int64_t unadvised_ms(const struct limit *limit, uint64_t seed)
{
	struct http_options o = test_options();
	struct reply replies[] = {{ok, STAYS, 50, 0, 0}};
	struct http_request *r;
	struct http *h;
	unsigned n, good = 0;

	net_reset(replies, countof(replies));
	net.limit = *limit;
	net.limit.refusal = "HTTP/1.1 429 \r\nContent-Length: 0\r\n\r\n";
	h = test_open(&o);
	h->random = seed;
	for (n = 0; n < 40; n++)
		http_start(h, "/p", V1, n, 0);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->status == 200;
		http_release(h, r);
	}
	http_close(h);
	return good == 40 ? net.now - 1000000 : INT64_MAX;
}

/* 60 a minute in three ways.  Pauses are half chance, and one that begins just before a window's end lasts far into the
 * next: half of the runs and nine in ten have a bound each, over chances that are the same every time. */
static void test_limit_unadvised(void)
{
	static const struct {
		struct limit limit;
		int64_t half_ms, most_ms;
	} cases[] = {{{.burst = 10, .refill_ms = 1000}, 32000, 45000},
		     {{.burst = 1, .refill_ms = 1000}, 51000, 62000},
		     {{.burst = 20, .window_ms = 20000}, 28000, 42000}};
	enum { RUNS = 40 };
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		unsigned seed, half = 0, most = 0;

		for (seed = 0; seed < RUNS; seed++) {
			int64_t ms = unadvised_ms(&cases[i].limit, seed);

			half += ms < cases[i].half_ms;
			most += ms < cases[i].most_ms;
		}
		check(half >= RUNS / 2 && most >= RUNS * 9 / 10,
		      "without advice, limit %u: of %d runs, %u are fast and %u fast enough", (unsigned)i, RUNS, half,
		      most);
	}
}

/* A server that says how many are left is believed. */
static void test_remaining(void)
{
	static const char left[] = "HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 1\r\nContent-Length: 2\r\n\r\n{}";
	struct reply replies[] = {{left, STAYS, 10, 0, 0}, {left, STAYS, 10, 0, 0}, {ok, STAYS, 10, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.connections = 2;
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	http_start(h, "/3", V1, 3, 0);
	http_start(h, "/4", V1, 4, 0);
	http_start(h, "/5", V1, 5, 0);
	while (http_next(h))
		;
	check_bytes(net.log.s, net.log.n, "0 0 /1\n0 1 /2\n10 0 /3\n20 0 /4\n20 1 /5\n",
		    "with one request left one is under way");
	http_close(h);
}

/* What is no number says nothing, and one beyond all limits is none. */
static void test_remaining_forms(void)
{
	static const char *const values[] = {"many", "1x", "-1", "99999999999", "99999999999999999999999"};
	struct http_options o = test_options();
	size_t i;

	o.connections = 2;
	for (i = 0; i < countof(values); i++) {
		char text[500], field[100];
		struct reply reply = {text, STAYS, 10, 0, 0};
		struct http *h;
		snprintf(field, sizeof field, "X-RateLimit-Remaining: %s", values[i]);
		answer_text(text, 200, field, "{}");
		net_reset(&reply, 1);
		h = test_open(&o);
		http_start(h, "/1", V1, 1, 0);
		http_start(h, "/2", V1, 2, 0);
		http_start(h, "/3", V1, 3, 0);
		http_start(h, "/4", V1, 4, 0);
		while (http_next(h))
			;
		check_bytes(net.log.s, net.log.n, "0 0 /1\n0 1 /2\n10 0 /3\n10 1 /4\n", field);
		http_close(h);
	}
}

/* A 5xx may ask for a pause as well. */
static void test_retry_after(void)
{
	static const struct {
		int status;
		const char *fields;
		int64_t least, most;
		unsigned attempts;
		const char *error;
	} cases[] = {
		{503, "Retry-After: 20", 40000, 40000, 3, ""},
		{503, "Retry-After: 0", 1500, 3000, 3, ""},
		{503, "Retry-After: 901", 0, 0, 1,
		 "/p: status 503: after 0 s of waiting the server asks for 901 s more"},
		{503, "Retry-After: 500", 500000, 500000, 2,
		 "/p: status 503: after 500 s of waiting the server asks for 500 s more"},
		{503, "Retry-After: 450", 900000, 900000, 3, ""},
		{408, "Retry-After: 2.5", 6000, 6000, 3, ""},
		{425, "Retry-After: 1000", 0, 0, 1,
		 "/p: status 425: after 0 s of waiting the server asks for 1000 s more"},
		{503, "Retry-After: Tue, 24 Nov 2026 22:00:20 GMT", 21000 + 1000, 21000 + 2000, 3, ""},
	};
	struct http_options o = test_options();
	size_t i;

	o.attempts = 3;
	for (i = 0; i < countof(cases); i++) {
		char text[500];
		struct reply replies[] = {{text, STAYS, 0, 0, 0}};
		const struct http_response *a;
		struct http *h;
		int64_t took;
		answer_text(text, cases[i].status, cases[i].fields, "");
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		took = net.now - 1000000;
		check(a->outcome == HTTP_DONE && a->status == cases[i].status && a->attempts == cases[i].attempts &&
			      took >= cases[i].least && took <= cases[i].most,
		      "status %d, %s: %u attempts in %ld ms", cases[i].status, cases[i].fields, a->attempts,
		      (long)took);
		check_text(a->error, cases[i].error, "and the error says for how much more it asked, if that is why");
		http_close(h);
	}
}

static void test_used_up(void)
{
	static const struct {
		const char *name, *fields;
		int64_t wait;
	} cases[] = {
		{"none left",
		 "Date: Sun, 06 Nov 1994 08:49:37 GMT|X-RateLimit-Remaining: 0|X-RateLimit-Reset: Sun, 6 Nov "
		 "1994 08:49:47 +0000",
		 11000},
		{"some left",
		 "Date: Sun, 06 Nov 1994 08:49:37 GMT|X-RateLimit-Remaining: 10|X-RateLimit-Reset: Sun, 6 Nov "
		 "1994 08:49:47 +0000",
		 0},
		{"none left, until a time that cannot be read", "X-RateLimit-Remaining: 0|X-RateLimit-Reset: later", 0},
		{"none left, for a day",
		 "Date: Sun, 06 Nov 1994 08:49:37 GMT|X-RateLimit-Remaining: 0|X-RateLimit-Reset: Mon, 7 Nov "
		 "1994 08:49:47 +0000",
		 0},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		char text[500];
		struct reply replies[] = {{text, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
		struct http *h;
		answer_text(text, 200, cases[i].fields, "");
		net_reset(replies, countof(replies));
		h = test_open(&o);
		http_start(h, "/1", V1, 1, 0);
		check(http_response(http_next(h))->status == 200 && net.now == 1000000 && !net.limits,
		      "a good answer is given at once: %s", cases[i].name);
		http_start(h, "/2", V1, 1, 0);
		check(http_response(http_next(h))->status == 200 && net.now == 1000000 + cases[i].wait &&
			      net.limits == (cases[i].wait != 0),
		      "the next request waits %ld ms: %s", (long)cases[i].wait, cases[i].name);
		http_close(h);
	}
}

/* ---- TLS, against BearSSL's server ---- */

/* An https client whose roots are this PEM text. */
static struct http *tls_open(struct http_options *o, const char *pem)
{
	struct http *h;

	net.tls = true;
	o->ca_file = bundle;
	h = test_open(o);
	trust_free(&h->trust);
	trust_from(&h->trust, pem);
	return h;
}

static void test_tls(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http_stats stats;
	struct http_request *r;
	struct http *h;
	unsigned i, good = 0;

	net_reset(replies, countof(replies));
	o.base_url = "https://localhost";
	o.connections = 3;
	h = tls_open(&o, pem_ca);
	for (i = 0; i < 6; i++)
		http_start(h, "/", V1, i, 0);
	while ((r = http_next(h)) != NULL) {
		good += http_response(r)->status == 200 && http_response(r)->length == 2;
		http_release(h, r);
	}
	http_stats(h, &stats);
	check(good == 6 && stats.requests == 6, "six requests over TLS");
	check(net.opened <= 3 && stats.handshakes == 1, "one handshake");
	check(strstr(net.first, "Authorization: Bearer s3cret\r\n") != NULL, "the token comes with the request");
	http_close(h);
	check(net.open == 0, "every connection is closed");
	for (i = 0, good = 0; i < net.opened; i++)
		good += br_ssl_engine_current_state(&net.peers[i].tls->server.eng) == BR_SSL_CLOSED;
	check(good == net.opened, "and each server was told so");
}

/* Two requests without an answer, so that the third needs a third connection. */
static void test_tls_resumption(bool forgets)
{
	static const struct reply replies[] = {{NULL, STAYS, 0, 0, 0}, {NULL, STAYS, 0, 0, 0}, {ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http_stats stats;
	struct http *h;

	net_reset(replies, countof(replies));
	net.forgets = forgets;
	o.base_url = "https://localhost";
	h = tls_open(&o, pem_ca);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	http_start(h, "/3", V1, 3, 0);
	check(http_response(http_next(h))->status == 200 && net.opened == 3, "three connections");
	http_stats(h, &stats);
	check(stats.handshakes == (forgets ? 3 : 1), "%s",
	      forgets ? "three full handshakes with a server that resumes none"
		      : "one full handshake, the other two resume its session");
	http_close(h);
}

/* As long as the first connection is not open, no other is begun: it could resume nothing. */
static void test_tls_first_alone(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	net.resolves = "3";
	net.stop_at = 1000000 + 5000;
	o.base_url = "https://localtest";
	h = tls_open(&o, pem_ca);
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	check(!http_next(h) && net.opened == 1, "the first TLS connection opens alone");
	http_close(h);
}

static void test_tls_trust(void)
{
	static char two_unusable[2 * sizeof pem_ed25519];
	static const struct {
		const char *name, *base_url, *pem, *error;
	} cases[] = {
		{"a root that cannot be used", "https://localhost", pem_ed25519,
		 "localhost: its certificate leads to no known root, or an intermediate one is missing; name the "
		 "root's PEM file in ca_file (1 certificate of the trust file could not be used)"},
		{"roots that cannot be used", "https://localhost", two_unusable,
		 "localhost: its certificate leads to no known root, or an intermediate one is missing; name the "
		 "root's PEM file in ca_file (2 certificates of the trust file could not be used)"},
		{"a root that is no authority", "https://localhost", pem_leaf,
		 "localhost: its certificate leads to no known root, or an intermediate one is missing; name the "
		 "root's PEM file in ca_file"},
		{"another name", "https://localtest:8443", pem_ca,
		 "localtest:8443: its certificate is for another name; check base_url, and the proxy"},
		{"a number", "https://127.0.0.1", pem_ca,
		 "127.0.0.1: its certificate is for another name; a numeric host must stand in it as a DNS name or the "
		 "common name"},
	};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		const struct http_response *a;
		struct http *h;
		net_reset(replies, countof(replies));
		snprintf(two_unusable, sizeof two_unusable, "%s%s", pem_ed25519, pem_ed25519);
		o.base_url = cases[i].base_url;
		h = tls_open(&o, cases[i].pem);
		http_start(h, "/", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == HTTP_UNTRUSTED && a->attempts == 1 && net.requests == 0 && net.opened == 1,
		      "refused before a byte of the request, and not tried again: %s", cases[i].name);
		check_text(a->error, cases[i].error, "and the error says why");
		http_close(h);
	}
}

static enum http_outcome tls_outcome(const struct reply *reply, size_t cut, size_t answer_cut)
{
	struct http_options o = test_options();
	enum http_outcome outcome;
	struct http *h;

	net_reset(reply, 1);
	o.base_url = "https://localhost";
	o.attempts = 1;
	h = tls_open(&o, pem_ca);
	net.cut = cut;
	net.answer_cut = answer_cut;
	http_start(h, "/", V1, 1, 0);
	outcome = http_response(http_next(h))->outcome;
	http_close(h);
	return outcome;
}

/* The server is gone after n bytes: of the handshake, and of the answer. */
static void test_tls_cut(const char *text, enum ending ending, const char *name)
{
	enum { NEAR = 7, STRIDE = 50, HANDSHAKE = 600 }; /* HANDSHAKE: at least; signatures differ in length */
	struct reply reply = {text, ending, 0, 0, 0};
	size_t whole, n;
	bool good = tls_outcome(&reply, SIZE_MAX, SIZE_MAX) == HTTP_DONE;

	whole = net.peers[0].taken - net.peers[0].tls->answer;
	for (n = 0; n < whole && good; n += n + NEAR < whole ? NEAR : 1)
		good = tls_outcome(&reply, SIZE_MAX, n) == HTTP_BROKEN;
	check(good && whole > strlen(text), "cut off within its %lu bytes it is not whole: %s", (unsigned long)whole,
	      name);
	for (n = 0, good = true; n < HANDSHAKE && good; n += STRIDE)
		good = tls_outcome(&reply, n, SIZE_MAX) == HTTP_UNREACHABLE && !net.requests;
	check(good, "cut off in the handshake there is no answer: %s", name);
}

static void test_tls_end(void)
{
	static const char open_end[] = "HTTP/1.1 200 OK\r\n\r\nhello";
	static const struct {
		const char *name;
		enum ending ending;
		enum http_outcome outcome;
	} cases[] = {{"close_notify completes a body without length", ENDS, HTTP_DONE},
		     {"the bare end of the connection does not", RESETS, HTTP_BROKEN}};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct reply reply = {open_end, cases[i].ending, 0, 0, 0};
		check(tls_outcome(&reply, SIZE_MAX, SIZE_MAX) == cases[i].outcome, "%s", cases[i].name);
	}
}

/* A server that closes before it has chosen a version cannot name it in its alert. */
static void test_tls_unwilling(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	struct http *h;

	net_reset(replies, countof(replies));
	net.unwilling = true;
	net.cut = 7;
	o.base_url = "https://localhost";
	o.attempts = 2;
	h = tls_open(&o, pem_ca);
	http_start(h, "/", V1, 1, 0);
	a = http_response(http_next(h));
	check(net.peers[0].tls->wire.n >= 7 && memcmp(net.peers[0].tls->wire.s, "\x15\0\0\0\2\1\0", 7) == 0,
	      "an alert of version 0.0");
	check(a->outcome == HTTP_UNREACHABLE && a->attempts == 2, "is no want of TLS 1.2, and may go better");
	check_text(a->error, "localhost: the server ended the TLS handshake with an alert (2 attempts)",
		   "and the error says so");
	http_close(h);
}

static void test_tls_pieces(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}, {ok, ENDS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	o.base_url = "https://localhost";
	o.attempts = 1;
	h = tls_open(&o, pem_ca);
	net.send_most = 1;
	http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && http_response(http_next(h))->status == 200,
	      "sent byte by byte");
	http_start(h, "/3", V1, 1, 0);
	check(http_response(http_next(h))->status == 200,
	      "a connection that was closed with close_notify is not used again");
	http_close(h);
}

/* A request larger than a TLS record, and an engine that takes it in parts. */
static void test_tls_large_request(void)
{
	enum { LARGE = 50000 };
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	static char path[LARGE];
	struct http_options o = test_options();
	struct http *h;

	memset(path, 'a', sizeof path - 1);
	path[0] = '/';
	net_reset(replies, countof(replies));
	o.base_url = "https://localhost";
	h = tls_open(&o, pem_ca);
	http_start(h, path, V1, 1, 0);
	check(http_response(http_next(h))->status == 200 && net.longest > LARGE && net.requests == 1,
	      "a request of %lu bytes over TLS", (unsigned long)net.longest);
	http_close(h);
}

/* The words for an alert, before and after the handshake is done, and where a client certificate was asked for. */
static void test_tls_alerts(void)
{
	static const struct {
		int number;
		bool greeted, asked;
		enum failure failure;
		const char *text;
	} cases[] = {
		{40, false, false, FAILED_TRUST,
		 "the server has no cipher suite in common with us; TLS 1.2 with ECDHE and AES-GCM or ChaCha20 is "
		 "needed"},
		{40, false, true, FAILED_AGAIN, "the server ended TLS with alert 40 (handshake_failure)"},
		{116, false, false, FAILED_TRUST, "the server wants a client certificate, which is not supported"},
		{40, true, true, FAILED_AGAIN,
		 "the server ended TLS with alert 40 (handshake_failure) after a good handshake; it may want to "
		 "renegotiate, which is not supported"},
		{10, false, false, FAILED_AGAIN, "the server ended TLS with alert 10 (unexpected_message)"},
		{42, false, false, FAILED_AGAIN, "the server ended TLS with alert 42 (bad_certificate)"},
		{70, false, false, FAILED_TRUST,
		 "the server refuses TLS 1.2, which is needed; ask the operator of the server or proxy"},
		{80, true, false, FAILED_AGAIN, "the server ended TLS with alert 80 (internal_error)"},
		{99, false, false, FAILED_AGAIN, "the server ended TLS with alert 99"},
		{110, false, false, FAILED_AGAIN, "the server ended TLS with alert 110 (unsupported_extension)"},
	};
	struct tls *tls = calloc(1, sizeof *tls);
	size_t i;

	for (i = 0; tls && i < countof(cases); i++) {
		struct conn c = {0};
		c.tls = tls;
		c.greeted = cases[i].greeted;
		tls->request.seen = cases[i].asked;
		check(alert_failed(&c, cases[i].number) == STEP_FAILED && c.failure == cases[i].failure, "alert %d: %s",
		      cases[i].number, cases[i].failure == FAILED_AGAIN ? "may go better" : "final");
		check_text(c.why.text, cases[i].text, "and what it says");
	}
	free(tls);
}

/* BearSSL's own codes have words, each once. */
static void test_tls_texts(void)
{
	static const int advised[] = {BR_ERR_UNSUPPORTED_VERSION, BR_ERR_BAD_VERSION, BR_ERR_X509_UNSUPPORTED,
				      BR_ERR_X509_WEAK_PUBLIC_KEY};
	struct http h = {0};
	struct conn c = {0};
	size_t i;
	int code;

	h.origin.family = AF_UNSPEC;
	c.tls = calloc(1, sizeof *c.tls);
	c.opening = TLS_HANDSHAKE;
	for (code = BR_ERR_UNSUPPORTED_VERSION; c.tls && code <= BR_ERR_X509_NOT_TRUSTED; code++) {
		bool unused = code == 11 || code == BR_ERR_NO_CLIENT_AUTH || (code >= 30 && code <= BR_ERR_X509_OK) ||
			      code == 61;
		bool malformed = code > BR_ERR_X509_OK && code < BR_ERR_X509_UNSUPPORTED;
		c.tls->client.eng.err = code;
		if (!unused)
			check(tls_failed(&h, &c) == STEP_FAILED &&
				      (strstr(c.why.text, "BearSSL error") != NULL) == malformed,
			      "code %d: %s", code, c.why.text);
	}
	for (i = 0; i < countof(advised); i++) {
		c.tls->client.eng.err = advised[i];
		tls_failed(&h, &c);
		check(strstr(c.why.text, "; ask the operator of the server or proxy") != NULL,
		      "code %d: the error says what to do: %s", advised[i], c.why.text);
	}
	c.tls->client.eng.err = BR_ERR_SEND_FATAL_ALERT + 10;
	tls_failed(&h, &c);
	check_text(c.why.text, "a fault in the TLS protocol (BearSSL error 522)", "an alert that we sent");
	c.tls->client.eng.err = BR_ERR_BAD_VERSION;
	c.opening = TLS_ALERT;
	tls_failed(&h, &c);
	check_text(c.why.text, "the server ended the TLS handshake with an alert", "an alert of another version");
	c.tls->client.eng.err = BR_ERR_BAD_MAC;
	c.greeted = true;
	tls_failed(&h, &c);
	check(strstr(c.why.text, "altered") || *c.why.text, "a record that was altered: %s", c.why.text);
	for (i = 1; i < countof(tls_texts); i++)
		check(tls_texts[i - 1].code < tls_texts[i].code || tls_texts[i].code == BR_ERR_INVALID_ALGORITHM,
		      "code %d has one text", tls_texts[i].code);
	free(c.tls);
}

/* The dates of a certificate that the made-up clock, 2026-11-24 22:00, finds wrong. */
static void test_tls_dates(void)
{
	static const struct {
		int64_t us;
		unsigned before;
		const char *text;
	} cases[] = {
		{INT64_C(1795557600) * 1000000, 0,
		 "its certificate is not valid before 2026-11-24T23:26:52Z; this machine's clock says "
		 "2026-11-24T22:00:00Z, which may be wrong"},
		{INT64_C(6000000000) * 1000000, 1,
		 "an intermediate certificate of its chain has expired on 2126-10-31T23:26:52Z; this machine's clock "
		 "says 2160-02-18T10:40:00Z; ask the operator of the server or proxy for another certificate, unless "
		 "the clock is wrong"},
		{INT64_C(1800000000) * 1000000, 0,
		 "its certificate chain has expired or is not valid yet; this machine's clock says "
		 "2027-01-15T08:00:00Z; ask the operator of the server or proxy for another certificate, unless the "
		 "clock is wrong"},
	};
	struct tls *tls = calloc(1, sizeof *tls);
	struct trust none = {0};
	unsigned char der[1000];
	size_t i, length = pem_to_der(pem_localhost, der);

	for (i = 0; tls && i < countof(cases); i++) {
		struct conn c = {0};
		const br_x509_class **chain = &tls->chain.vtable;
		net_reset(NULL, 0);
		net.now += cases[i].us / 1000 - INT64_C(1795557600000);
		tls_profile(tls, &none);
		(*chain)->start_chain(chain, "localhost");
		tls->chain.number = cases[i].before;
		(*chain)->start_cert(chain, (uint32_t)length);
		(*chain)->append(chain, der, length / 2);
		(*chain)->append(chain, der + length / 2, length - length / 2);
		(*chain)->end_cert(chain);
		check((*chain)->end_chain(chain) == BR_ERR_X509_NOT_TRUSTED, "the check itself goes on");
		c.tls = tls;
		chain_expired(&c);
		check_text(c.why.text, cases[i].text, "whose dates are wrong");
	}
	for (i = 0; tls && i < length; i++) {
		const br_x509_class **chain = &tls->chain.vtable;
		tls_profile(tls, &none);
		(*chain)->start_chain(chain, "localhost");
		(*chain)->start_cert(chain, (uint32_t)i);
		(*chain)->append(chain, der, i);
		(*chain)->end_cert(chain);
		if ((*chain)->end_chain(chain) == 0)
			break;
	}
	check(i == length, "a certificate that is cut anywhere is never trusted");
	free(tls);
}

/* All that BearSSL reads of a choice, whatever was there before. */
static void test_tls_no_choice(void)
{
	struct certificate_request request = {0};
	br_ssl_client_certificate choice;

	memset(&choice, 0xff, sizeof choice);
	request_choose((const br_ssl_client_certificate_class **)&request.vtable, NULL, 0, &choice);
	check(request.seen && !choice.chain && !choice.chain_len && !choice.hash_id && !choice.auth_type,
	      "no client certificate is chosen");
}

/* BearSSL's server goes away without a word when it gets no client certificate; others say so, which may come too late
 * to be read.  However it ends, it would do so again. */
static void test_tls_client_certificate(void)
{
	static const struct {
		const char *name;
		bool alerts;
		const char *failing, *error;
	} cases[] = {
		{"it goes", false, NULL, "the connection ended in the TLS handshake"},
		{"it says so", true, NULL, "the server ended TLS with alert 40 (handshake_failure)"},
		{"it is gone before it gets none", true, "send",
		 "the connection ended in the TLS handshake: Broken pipe"},
	};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://localhost";
	o.attempts = 2;
	for (i = 0; i < countof(cases); i++) {
		const struct http_response *a;
		char expected[300];
		struct http_request *r;
		struct http *h;
		net_reset(replies, countof(replies));
		net.asks_certificate = true;
		net.alerts = cases[i].alerts;
		net.failing = cases[i].failing;
		net.failure = EPIPE;
		net.fails_from = 1;
		net.fails = SIZE_MAX - 1;
		h = tls_open(&o, pem_ca);
		http_start(h, "/", V1, 1, 0);
		r = http_next(h);
		a = http_response(r);
		check(a->outcome == HTTP_UNTRUSTED && a->attempts == 1 && !net.retries && net.opened == 1,
		      "a server that wants a client certificate is not asked again: %s", cases[i].name);
		snprintf(expected, sizeof expected,
			 "localhost: %s; the server wants a client certificate, which is not supported",
			 cases[i].error);
		check_text(a->error, expected, "and the error says so");
		http_release(h, r);
		net.asks_certificate = net.alerts = false;
		net.failing = NULL;
		net.cut = 3;
		http_start(h, "/", V1, 2, 0);
		check_text(http_response(http_next(h))->error,
			   "localhost: the connection ended in the TLS handshake (2 attempts)",
			   "on the next connection it says so no more, and that may go better");
		http_close(h);
	}
}

/* nginx says it on a page. */
static void test_certificate_page(void)
{
	static const struct {
		const char *body, *error;
	} cases[] = {
		{"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n",
		 "/p: status 400: the server wants a client certificate, which is not supported"},
		{"{\"errors\":[]}", ""},
		{"", ""},
	};
	struct http_options o = test_options();
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		char text[500];
		struct reply reply = {text, STAYS, 0, 0, 0};
		struct http *h;
		answer_text(text, 400, "Content-Type: text/html", cases[i].body);
		net_reset(&reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		check_text(http_response(http_next(h))->error, cases[i].error, "a 400's page");
		http_close(h);
	}
}

/* Only the beginning of a page is looked at. */
static void test_certificate_page_end(void)
{
	static const char phrase[] = "SSL certificate";
	char page[1100];
	struct answer a = {0};
	size_t end;

	a.bytes = page;
	a.length = sizeof page;
	for (end = 1000; end <= 1001; end++) {
		memset(page, '.', sizeof page);
		memcpy(page + end - strlen(phrase), phrase, strlen(phrase));
		check(wants_certificate(&a) == (end == 1000), "a page with the words up to its byte %u", (unsigned)end);
	}
}

/* Records without data come on an idle connection: before it is used again, and while another one is busy.  BearSSL's
 * server takes our refusal to renegotiate for the end. */
static void test_tls_idle(void)
{
	static const char *const names[] = {"an empty record", "a HelloRequest", "close_notify", "data"};
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://localhost";
	for (i = 0; i < 2 * countof(names); i++) {
		bool busy = i >= countof(names), stays = i % countof(names) == 0;
		br_ssl_engine_context *engine;
		struct http *h;
		size_t n;
		net_reset(replies, countof(replies));
		h = tls_open(&o, pem_ca);
		http_release(h, (http_start(h, "/1", V1, 1, 0), http_next(h)));
		engine = &net.peers[0].tls->server.eng;
		switch (i % countof(names)) {
		case 0: br_ssl_engine_flush(engine, 1); break;
		case 1: br_ssl_engine_renegotiate(engine); break;
		case 2: br_ssl_engine_close(engine); break;
		case 3:
			memcpy(br_ssl_engine_sendapp_buf(engine, &n), "x", 1);
			br_ssl_engine_sendapp_ack(engine, 1);
			br_ssl_engine_flush(engine, 0);
			break;
		}
		tls_peer_work(&net.peers[0]);
		check(net.peers[0].tls->wire.n > net.peers[0].taken, "the server sends %s", names[i % countof(names)]);
		if (busy) {
			net.stop_at = net.now + 1;
			wait_and_serve(h);
			net.stop = 0;
			net.stop_at = INT64_MAX;
			check(net.open == stays, "on a polled connection %s is %s", names[i % countof(names)],
			      stays ? "taken" : "its end");
		}
		http_start(h, "/2", V1, 1, 0);
		check(http_response(http_next(h))->status == 200 && net.opened == (stays ? 1u : 2u),
		      "after %s the connection is %s", names[i % countof(names)], stays ? "used again" : "replaced");
		if (i % countof(names) == 1)
			check(br_ssl_engine_last_error(engine) == BR_ERR_RECV_FATAL_ALERT + BR_ALERT_NO_RENEGOTIATION,
			      "a HelloRequest is refused");
		http_close(h);
	}
}

/* ---- Cancelling, stopping, no memory ---- */

static void test_cancel(void)
{
	static const struct reply replies[] = {{NULL, STAYS, 0, 0, 0}, {ok, STAYS, 10, 0, 0}};
	struct http_options o = test_options();
	struct http_request *r, *s;
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	r = http_start(h, "/1", V1, 1, 0);
	http_start(h, "/2", V1, 2, 0);
	s = http_next(h);
	http_release(h, s);
	http_release(h, r);
	check(!http_next(h) && net.open == 1, "a request under way is cancelled with its connection");
	r = http_start(h, "/3", V1, 3, 0);
	http_release(h, r);
	check(!http_next(h) && net.requests == 2, "one that waits is never sent");
	http_release(h, NULL);
	http_start(h, "/4", V1, 4, 0);
	http_close(h);
	check(net.open == 0, "http_close releases the rest");
}

static void test_probe_cancelled(void)
{
	static const struct reply replies[] = {
		{"HTTP/1.1 429 \r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", STAYS, 0, 0, 0},
		{NULL, STAYS, 0, 0, 0},
		{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http_request *probe;
	struct http *h;

	net_reset(replies, countof(replies));
	o.connections = 1;
	h = test_open(&o);
	probe = http_start(h, "/1", V1, 1, 0);
	net.stop_at = 1000000 + 6000;
	check(!http_next(h) && net.requests == 2, "the stop flag ends http_next within 500 ms");
	check(net.now <= net.stop_at + GLANCE_MS, "no later");
	net.stop_at = INT64_MAX;
	net.stop = 0;
	http_release(h, probe);
	http_start(h, "/2", V1, 2, 0);
	check(http_response(http_next(h))->status == 200, "after a cancelled probe another request goes");
	http_close(h);
}

static void test_stop(void)
{
	static const struct reply replies[] = {{ok, STAYS, 5000, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	http_start(h, "/1", V1, 1, 0);
	net.stop_at = 1000000 + 1700;
	check(!http_next(h) && net.now == 1000000 + 2000, "stopped");
	net.stop_at = INT64_MAX;
	net.stop = 0;
	check(http_response(http_next(h))->attempts == 1 && net.now == 1000000 + 5000, "nothing is lost by it");
	http_close(h);
}

/* A poll() that fails for good ends everything; one that fails now and then does no harm. */
static void test_poll_fails(void)
{
	static const struct {
		int error;
		size_t fails;
		enum http_outcome outcome;
		const char *text;
	} cases[] = {
		{EINVAL, SIZE_MAX, HTTP_UNREACHABLE,
		 "/1: this system cannot wait for the network: poll: Invalid argument"},
		{ENOMEM, SIZE_MAX, HTTP_NO_MEMORY, NULL},
		{EINTR, 100, HTTP_DONE, ""},
		{EAGAIN, 2, HTTP_DONE, ""},
		{EAGAIN, 3, HTTP_UNREACHABLE, NULL},
	};
	static const struct reply replies[] = {{ok, STAYS, 5000, 0, 0}};
	struct http_options o = test_options();
	size_t i;

	o.connections = 1;
	for (i = 0; i < countof(cases); i++) {
		const struct http_response *a;
		struct http *h;
		net_reset(replies, countof(replies));
		net.poll_error = cases[i].error;
		net.poll_fails = cases[i].fails;
		h = test_open(&o);
		http_start(h, "/1", V1, 1, 0);
		http_start(h, "/2", V1, 2, 0);
		a = http_response(http_next(h));
		check(a->outcome == cases[i].outcome, "poll fails: %s", strerror(cases[i].error));
		if (cases[i].text)
			check_text(a->error, cases[i].text, "and the error says so");
		a = http_response(http_next(h));
		check(a->outcome == cases[i].outcome && net.polls < 150, "the other request too");
		http_close(h);
		check(net.open == 0, "no socket is left open");
	}
}

/* What is answered stays so. */
static void test_poll_fails_later(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}, {ok, STAYS, 5000, 0, 0}};
	struct http_options o = test_options();
	struct http_request *first, *second, *third, *fourth;
	struct http *h;

	net_reset(replies, countof(replies));
	h = test_open(&o);
	first = http_start(h, "/1", V1, 1, 0);
	check(http_next(h) == first, "an answer before poll fails");
	second = http_start(h, "/2", V1, 2, 0);
	net.poll_error = EINVAL;
	net.poll_fails = SIZE_MAX;
	check(http_next(h) == second && http_response(second)->outcome == HTTP_UNREACHABLE, "and none after it");
	check(http_response(first)->outcome == HTTP_DONE && http_response(first)->status == 200, "the first one stays");
	third = http_start(h, "/3", V1, 3, 0);
	check(http_next(h) == third && http_response(third)->outcome == HTTP_UNREACHABLE, "a later one ends as well");
	net.poll_fails = 0;
	fourth = http_start(h, "/4", V1, 4, 0);
	check(http_next(h) == fourth && http_response(fourth)->outcome == HTTP_DONE, "until poll works again");
	http_close(h);
}

/* The n-th allocation and all after it fail, for every n that matters: in the opening, in a request and in its answer. */
static void test_no_memory(void)
{
	static const struct {
		const char *base_url, *proxy;
		bool hidden, tls;
		struct reply reply;
		enum http_outcome outcome; /* once there is memory enough */
	} ways[] = {
		{"http://127.0.0.1:8080",
		 NULL,
		 false,
		 false,
		 {"HTTP/1.1 200 OK\r\n\r\n", ENDS, 0, 0, 50000},
		 HTTP_DONE},
		{"https://localhost", NULL, false, true, {ok, STAYS, 0, 0, 0}, HTTP_DONE},
		{"https://localhost",
		 "user:word@127.0.0.1",
		 false,
		 false,
		 {"HTTP/1.1 403 No\r\nX: ", STAYS, 0, 0, 70000},
		 HTTP_UNREACHABLE},
		{"https://localhost", NULL, true, false, {ok, STAYS, 0, 0, 0}, HTTP_BROKEN},
	};
	size_t i;
	long n;

	for (i = 0; i < countof(ways); i++) {
		struct http_options o = test_options();
		struct error error = {""};
		bool whole = false, good = true;
		o.base_url = ways[i].base_url;
		o.proxy = ways[i].proxy;
		for (n = 0; !whole && n < 100; n++) {
			struct http *h;
			struct http_request *r;
			net_reset(&ways[i].reply, 1);
			net.hidden = ways[i].hidden ? "/etc/" : NULL;
			net.tls = ways[i].tls;
			allocations_left = n;
			h = http_open(&o, &error);
			if (!h)
				good = good && strstr(error.text, "memory");
			if (h && ways[i].tls) {
				long left = allocations_left;
				allocations_left = -1;
				trust_free(&h->trust);
				trust_from(&h->trust, pem_ca);
				allocations_left = left;
			}
			r = h && !ways[i].hidden ? http_start(h, "/1", V1, 1, 0) : NULL;
			whole = ways[i].hidden ? h != NULL : false;
			if (r && http_next(h) == r) {
				const struct http_response *a = http_response(r);
				whole = a->outcome == ways[i].outcome;
				good = good && (whole || (a->outcome == HTTP_NO_MEMORY && a->length == 0));
			}
			allocations_left = -1;
			http_close(h);
			good = good && net.open == 0;
		}
		check(good && whole && n > 5, "%s%s%s: each of the first %ld allocations may fail", ways[i].base_url,
		      ways[i].proxy ? " by proxy" : "", ways[i].hidden ? ", built-in roots" : "", n);
	}
}

/* ---- Calls of the system that fail ---- */

enum { ONCE = 1, ALWAYS = 1 << 30 };

/* A call that fails so many times, and whether a run gets over that. */
struct failing {
	const char *call;
	int error;
	size_t times;
	bool heals;
};

/* What went wrong with a run in which the n-th such call fails; NULL: nothing. */
static const char *failing_run(const struct failing *f, size_t n, bool tls)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct error error = {""};
	const struct http_response *a;
	const char *wrong = NULL;
	struct http *h;

	net_reset(replies, countof(replies));
	net.failing = f->call;
	net.failure = f->error;
	net.fails_from = n;
	net.fails = f->times;
	net.tls = tls;
	o.base_url = tls ? "https://localhost" : "http://localtest:8080";
	o.ca_file = bundle;
	h = http_open(&o, &error);
	if (!h)
		return f->heals ? "not opened" : *error.text ? NULL : "no error";
	trust_free(&h->trust);
	trust_from(&h->trust, pem_ca);
	http_start(h, "/", V1, 1, 0);
	a = http_response(http_next(h));
	if (a->outcome == HTTP_DONE ? a->status != 200 : f->heals)
		wrong = "no answer";
	else if (a->outcome != HTTP_DONE && a->outcome != HTTP_NO_MEMORY && !*a->error)
		wrong = "no error";
	else if ((f->error == EINTR || f->error == EWOULDBLOCK) && a->attempts > 1)
		wrong = "an attempt is lost";
	http_close(h);
	return net.open ? "a socket is left open" : wrong;
}

/* At each place where it is made, over a plain connection and over TLS. */
static void test_calls_fail(void)
{
	static const struct failing cases[] = {
		{"socket", EMFILE, ONCE, true},
		{"socket", EMFILE, ALWAYS, false},
		{"fcntl", EBADF, ONCE, true},
		{"connect", 0, ALWAYS, true},
		{"connect", EINTR, ONCE, true},
		{"connect", ENETUNREACH, ONCE, true},
		{"connect", ENETUNREACH, ALWAYS, false},
		{"getsockopt", ENOBUFS, ONCE, true},
		{"getsockopt", ENOBUFS, ALWAYS, false},
		{"send", EINTR, ONCE, true},
		{"send", EWOULDBLOCK, ONCE, true},
		{"send", EPIPE, ONCE, true},
		{"send", EPIPE, ALWAYS, false},
		{"recv", EINTR, ONCE, true},
		{"recv", EIO, ONCE, true},
		{"recv", EIO, ALWAYS, false},
		{"getaddrinfo", EAI_AGAIN, ONCE, true},
		{"getaddrinfo", EAI_SYSTEM, ALWAYS, false},
		{"getaddrinfo", EAI_MEMORY, ONCE, false},
		{"getaddrinfo", EAI_MEMORY, ALWAYS, false},
		{"getentropy", ENOSYS, ALWAYS, true},
		{"open", EINTR, ONCE, true},
		{"open", EACCES, ONCE, false},
		{"read", EINTR, ONCE, true},
		{"read", EIO, ONCE, false},
		{"clock_gettime", EINVAL, ONCE, false},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		const char *wrong = NULL;
		size_t met = 0, n, way;
		for (way = 0; way < 2 && !wrong; way++)
			for (n = 0; !wrong; n += 1 + n / 8, met++) {
				wrong = failing_run(&cases[i], n, way == 1);
				if (net.calls <= n)
					break;
			}
		check(!wrong && met, "%s fails %s (error %d): at %lu places%s%s", cases[i].call,
		      cases[i].times == ONCE ? "once" : "from then on", cases[i].error, (unsigned long)met,
		      wrong ? ": " : "", wrong ? wrong : "");
	}
}

/* Neither of the two sources of random bytes: nothing is encrypted with what could be guessed. */
static void test_no_random(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	const struct http_response *a;
	unsigned char bytes[8];
	struct http *h;

	net_reset(replies, countof(replies));
	net.failing = "read";
	net.failure = EIO;
	net.fails = ALWAYS;
	check(!random_device(bytes, sizeof bytes), "a /dev/urandom that cannot be read");
	net.failing = "getentropy";
	net.hidden = "/dev/";
	check(!random_device(bytes, sizeof bytes), "no /dev/urandom");
	o.base_url = "https://localhost";
	h = tls_open(&o, pem_ca);
	http_start(h, "/", V1, 1, 0);
	a = http_response(http_next(h));
	check(a->outcome == HTTP_UNTRUSTED && a->attempts == 1 && !net.peers[0].in.n, "nothing is sent");
	check_text(a->error, "localhost: this system has no source of random bytes; TLS needs /dev/urandom",
		   "and the error says why");
	http_close(h);
}

/* The usual files of trust roots are read where no file is named, else what was built in. */
static void test_default_roots(void)
{
	struct http_options o = test_options();
	struct error error = {""};
	struct trust usual = {0};
	struct http *h;

	net_reset(NULL, 0);
	o.base_url = "https://localhost";
	if (trust_file(&usual, bundle) == 0) {
		h = http_open(&o, &error);
		check(h && h->trust.count == usual.count, "the system's roots are trusted if no file is named");
		http_close(h);
	}
	trust_free(&usual);
	net.hidden = "/";
	h = http_open(&o, &error);
	check(ROOTS_COUNT ? h && h->trust.count == ROOTS_COUNT : !h && strstr(error.text, "none are built in"),
	      "without any of the usual files, the built-in ones");
	http_close(h);
	o.base_url = "http://localhost";
	h = http_open(&o, &error);
	check(h && !h->trust.count, "without TLS none");
	http_close(h);
	net_reset(NULL, 0);
	net.usual = pem_ca;
	o.base_url = "https://localhost";
	h = http_open(&o, &error);
	check(h && h->trust.count == 1, "whatever the system's file holds");
	http_close(h);
	net_reset(NULL, 0);
}

/* ---- Options ---- */

static void test_refused(void)
{
	static const struct {
		const char *base_url, *token, *user_agent, *ca_file, *proxy, *error;
	} cases[] = {
		{NULL, "t", "u", NULL, "", "base_url: must begin with https:// or http://"},
		{"https://", "t", "u", NULL, "", "base_url: has no host"},
		{"https://a:0", "t", "u", NULL, "", "base_url: has a malformed port; 1 to 65535 is expected"},
		{"https://a\n", "t", "u", NULL, "", "base_url: holds a control character or a byte that is not ASCII"},
		{"https://\xc3\xa9", "t", "u", NULL, "",
		 "base_url: holds a control character or a byte that is not ASCII"},
		{"https://u:p@a", "t", "u", NULL, "", "base_url: must not hold a user name or password"},
		{"https://a/?x", "t", "u", NULL, "", "base_url: must not hold a query, fragment or blank"},
		{"https://a/#x", "t", "u", NULL, "", "base_url: must not hold a query, fragment or blank"},
		{"http://10.0.0.1", "t", "u", NULL, "",
		 "base_url: plain http:// is for this machine only; use https://"},
		{"http://[2001:db8::1]", "t", "u", NULL, "",
		 "base_url: plain http:// is for this machine only; use https://"},
		{"http://[::ffff:10.0.0.1]", "t", "u", NULL, "",
		 "base_url: plain http:// is for this machine only; use https://"},
		{"https://a", "t\r\nX: y", "u", NULL, "",
		 "token: holds a control character or a byte that is not ASCII"},
		{"https://a", "t\x7f", "u", NULL, "", "token: holds a control character or a byte that is not ASCII"},
		{"https://a", "t", "u\n", NULL, "",
		 "user_agent: holds a control character or a byte that is not ASCII"},
		{"https://a", "t", "u", NULL, "http://p\t",
		 "proxy: holds a control character or a byte that is not ASCII"},
		{"https://a", "t", "u", NULL, "https://u:secret@p",
		 "proxy: only http:// proxies are supported, not https:// or SOCKS ones"},
		{"https://a", "t", "u", NULL, "socks5://p:1080",
		 "proxy: only http:// proxies are supported, not https:// or SOCKS ones"},
		{"https://a", "t", "u", NULL, "http://u:secret@p:x",
		 "proxy: has a malformed port; 1 to 65535 is expected"},
		{"https://a", "t", "u", NULL, "http://u:secret@", "proxy: has no host"},
		{"https://a", "t", "u", NULL, "http://p/path", "proxy: must end after host and port"},
		{"https://a", "t", "u", NULL, "http://us%3aer:secret@p",
		 "proxy: must not hold a user name with a colon; the proxy would take its end for the password"},
		{"https://a", "t", "u", NULL, "http://us%3Aer@p",
		 "proxy: must not hold a user name with a colon; the proxy would take its end for the password"},
		{"https://a", "t", "u", "/nonexistent", "", "ca_file: /nonexistent: No such file or directory"},
		{"https://a", "t", "u", "/", "", "ca_file: /: Is a directory"},
		{"https://a", "t", "u", "/dev/null", "",
		 "ca_file: /dev/null: no usable certificate among 0; a PEM file is expected"},
		{"http://127.0.0.1", "t", "u", "/nonexistent", "", "ca_file: /nonexistent: No such file or directory"},
	};
	size_t i;

	for (i = 0; i < countof(cases); i++) {
		struct http_options o = test_options();
		struct error error = {""};
		struct http *h;
		o.base_url = cases[i].base_url;
		o.token = cases[i].token;
		o.user_agent = cases[i].user_agent;
		o.ca_file = cases[i].ca_file;
		o.proxy = cases[i].proxy;
		h = http_open(&o, &error);
		check(!h, "refused: %s", cases[i].error);
		check_text(error.text, cases[i].error, "and the error says why");
		http_close(h);
	}
}

static void test_ranges(void)
{
	struct http_options o = test_options();
	struct error error = {""};
	struct http *h;

	o.user_agent = "tap ~!/1 (a b)";
	h = http_open(&o, &error);
	check(h != NULL, "all of printable ASCII may stand in user_agent");
	http_close(h);
	o.connections = 33;
	check(!http_open(&o, &error), "33 connections are refused");
	check_text(error.text, "connections: must be 1 to 32", "and the error says the range");
	o.connections = 4;
	o.attempts = 0;
	check(!http_open(&o, &error), "no attempt is refused");
	o.attempts = 1;
	o.request_timeout_ms = 0;
	check(!http_open(&o, &error), "no time is refused");
	o.request_timeout_ms = 1;
	o.backoff_ms = 0;
	check(!http_open(&o, &error), "no pause is refused");
	o.backoff_ms = 1;
	o.patience_ms = -1;
	check(!http_open(&o, &error), "patience below zero is refused");
	o.patience_ms = INT64_C(3162240000000);
	h = http_open(&o, &error);
	check(h != NULL, "patience of a hundred years is not");
	http_close(h);
	o.patience_ms++;
	check(!http_open(&o, &error), "more is refused");
}

static void test_proxy_options(void)
{
	static const struct {
		const char *proxy, *no_proxy, *tunnel;
	} cases[] = {
		{"http://p:3128", NULL, "p:3128"},
		{"p:3128", "", "p:3128"},
		{"http://[::1]:3128/", NULL, "[::1]:3128"},
		{"http://p:3128", "example.com", NULL},
		{"http://p:3128", "example.org", "p:3128"},
		{"", NULL, NULL},
		{NULL, NULL, NULL},
	};
	struct http_options o = test_options();
	struct error error = {""};
	size_t i;

	o.base_url = "https://api.example.com";
	o.ca_file = bundle;
	for (i = 0; i < countof(cases); i++) {
		struct http *h;
		o.proxy = cases[i].proxy;
		o.no_proxy = cases[i].no_proxy;
		h = http_open(&o, &error);
		check(h && (cases[i].tunnel ? h->tunnel && strcmp(h->proxy.name, cases[i].tunnel) == 0 : !h->tunnel),
		      "proxy %s, no_proxy %s", cases[i].proxy, cases[i].no_proxy);
		http_close(h);
	}
	o.proxy = "socks5://user:secret@p";
	o.proxy_name = "HTTPS_PROXY";
	o.no_proxy = NULL;
	check(!http_open(&o, &error), "a SOCKS proxy is refused");
	check_text(error.text, "HTTPS_PROXY: only http:// proxies are supported, not https:// or SOCKS ones",
		   "and named as it was given, without its password");
	o.proxy = "http://p\x7f:3128";
	check(!http_open(&o, &error), "a control character in a proxy is refused");
	check_text(error.text, "HTTPS_PROXY: holds a control character or a byte that is not ASCII",
		   "and the error says so");
	o.proxy = NULL;
	o.ca_file = "/nonexistent";
	o.ca_file_name = "SSL_CERT_FILE";
	check(!http_open(&o, &error), "a missing file of roots is refused");
	check_text(error.text, "SSL_CERT_FILE: /nonexistent: No such file or directory", "and named as it was given");
}

/* Up to the TLS handshake, which nobody here answers. */
static void test_proxy(void)
{
	static const struct {
		const char *text, *error;
		enum http_outcome outcome;
		int64_t more;
	} cases[] = {
		{"HTTP/1.1 407 Who?\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 407; it does not accept the user and "
		 "password that proxy holds",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: Digest realm=\"Basic\", "
		 "nonce=x, BASIC realm=\"corp\"\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 407; it does not accept the user and "
		 "password that proxy holds",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 407; it wants Negotiate authentication, and "
		 "only Basic is supported",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 401 Who?\r\nWWW-Authenticate: Digest realm=\"x\"\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 401; it wants Digest authentication, and "
		 "only Basic is supported",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 408 Slow\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 408 (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 425 Early\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 425 (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 429 Many\r\n\r\n",
		 "proxy 127.0.0.1:3128: refused the connection with status 429 (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 404 No\r\n\r\n", "proxy 127.0.0.1:3128: refused the connection with status 404",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
		 "proxy 127.0.0.1:3128: refused the connection with status 403", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 502 No\r\n\r\n", "proxy 127.0.0.1:3128: refused the connection with status 502 (2 attempts)",
		 HTTP_UNREACHABLE, 0},
		{"SSH-2.0\r\n", "proxy 127.0.0.1:3128: malformed answer: this is no HTTP answer (2 attempts)",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 200 OK\r\n\r\nx",
		 "proxy 127.0.0.1:3128: sent data before the tunnel was in use (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 200 OK\r\nX: ", "proxy 127.0.0.1:3128: the answer has more than 64 KiB of headers",
		 HTTP_UNREACHABLE, 70000},
		{"", "proxy 127.0.0.1:3128: closed the connection (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 2", "proxy 127.0.0.1:3128: closed the connection: Connection reset by peer (2 attempts)",
		 HTTP_UNREACHABLE, 0},
		{NULL, "proxy 127.0.0.1:3128: no answer to CONNECT in time (2 attempts)", HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 200 OK\r\n\r\n", "api.example.com: the TLS handshake did not end in time (2 attempts)",
		 HTTP_UNREACHABLE, 0},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
		 "api.example.com: the TLS handshake did not end in time (2 attempts)", HTTP_UNREACHABLE, 0},
	};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://api.example.com";
	o.proxy = "http://user:password@127.0.0.1:3128";
	o.ca_file = bundle;
	o.attempts = 2;
	for (i = 0; i < countof(cases); i++) {
		enum ending ending = !cases[i].text || strlen(cases[i].text) > 10 ? STAYS
				     : *cases[i].text                             ? RESETS
										  : ENDS;
		struct reply reply = {cases[i].text, ending, 0, 0, cases[i].more};
		const struct http_response *a;
		struct http *h;
		net_reset(&reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		a = http_response(http_next(h));
		check(a->outcome == cases[i].outcome, "proxy: %s", cases[i].error);
		check_text(a->error, cases[i].error, "and the error says so");
		check(strncmp(net.first, "CONNECT api.example.com:443 HTTP/1.1\r\n", 38) == 0 &&
			      !strstr(net.first, "s3cret"),
		      "the token does not reach the proxy");
		http_close(h);
	}
}

/* How long a connection may take to be there. */
static void test_opening_time(void)
{
	static const struct reply silence = {"HTTP/1.1 200 OK\r\n\r\n", STAYS, 0, 0, 0};
	static const int64_t timeouts[][2] = {{300000, 30000}, {30001, 30000}, {29999, 29999}, {1, 1}};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://api.example.com";
	o.proxy = "127.0.0.1:3128";
	o.ca_file = bundle;
	o.attempts = 1;
	for (i = 0; i < countof(timeouts); i++) {
		int64_t begun;
		struct http *h;
		net_reset(&silence, 1);
		begun = net.now;
		o.request_timeout_ms = timeouts[i][0];
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		http_next(h);
		check(net.now - begun == timeouts[i][1], "a handshake is waited for %ld ms", (long)timeouts[i][1]);
		http_close(h);
	}
}

/* A proxy at which nobody listens. */
static void test_proxy_unreachable(void)
{
	static const struct reply replies[] = {{ok, STAYS, 0, 0, 0}};
	struct http_options o = test_options();
	struct http *h;

	net_reset(replies, countof(replies));
	net.resolves = "2";
	o.base_url = "https://api.example.com";
	o.proxy = "http://corp:3128";
	o.ca_file = bundle;
	o.attempts = 1;
	h = test_open(&o);
	http_start(h, "/p", V1, 1, 0);
	check_text(http_response(http_next(h))->error,
		   "proxy corp:3128: cannot connect to 127.0.0.2: Connection refused; check network, and proxy",
		   "a proxy at which nobody listens");
	http_close(h);
}

/* A proxy that wants a user, and none is given. */
static void test_proxy_without_user(void)
{
	static const int statuses[] = {407, 401};
	struct http_options o = test_options();
	size_t i;

	o.base_url = "https://api.example.com";
	o.proxy = "127.0.0.1:3128";
	o.ca_file = bundle;
	for (i = 0; i < countof(statuses); i++) {
		char text[500], expected[200];
		struct reply reply = {text, STAYS, 0, 0, 0};
		struct http *h;
		answer_text(text, statuses[i], "Proxy-Authenticate: Basic realm=\"corp\"", "login");
		snprintf(expected, sizeof expected,
			 "proxy 127.0.0.1:3128: refused the connection with status %d; it wants a user and password: "
			 "http://user:password@host:port",
			 statuses[i]);
		net_reset(&reply, 1);
		h = test_open(&o);
		http_start(h, "/p", V1, 1, 0);
		http_start(h, "/q", V1, 2, 0);
		check_text(http_response(http_next(h))->error, expected, "a proxy without a user");
		check_text(http_response(http_next(h))->error, expected, "all requests are told");
		http_close(h);
	}
}

int main(void)
{
	fence_make();
	test_framing();
	test_gzip();
	test_gunzip_refused();
	test_body_limit();
	test_chunked_limit();
	test_random_device();
	test_announced();
	test_dates();
	test_urls();
	test_no_proxy();
	test_tunnel();
	test_bundle();
	test_built_in();
	test_der();
	test_rsa();
	test_pem();
	test_pem_labels();
	test_pem_trusted();
	test_certificate_bytes();
	test_der_time();
	test_der_corners();
	test_bad_extensions();
	test_base64();
	test_request();
	test_statuses();
	test_parallel();
	test_equal_ranks();
	test_pieces();
	test_parts();
	test_malformed_request();
	test_cut_without_error();
	test_retries();
	test_miscoded();
	test_recovery();
	test_over();
	test_long_path();
	test_bare();
	test_longest_pause();
	test_timeouts();
	test_waiting();
	test_outside();
	test_left();
	test_left_once();
	test_addresses();
	test_address_order();
	test_many_addresses();
	test_name_unknown();
	test_address_kept();
	test_given_address();
	test_final_dot();
	test_resolver_slow();
	test_socket_options();
	test_outage();
	test_outage_partly();
	test_localhost();
	test_stale();
	test_idle_too_long();
	test_idle_closed();
	test_fresh_close();
	test_no_reuse();
	test_limit_forms();
	test_herd();
	test_probe_fails();
	test_patience();
	test_patience_overflow();
	test_patience_turn();
	test_patience_new();
	test_patience_progress();
	test_patience_others();
	test_patience_rest();
	test_lanes();
	test_lanes_share();
	test_limit_unadvised();
	test_remaining();
	test_remaining_forms();
	test_retry_after();
	test_used_up();
	test_tls();
	test_tls_resumption(false);
	test_tls_resumption(true);
	test_tls_first_alone();
	test_tls_trust();
	test_tls_cut(ok, STAYS, "with a length");
	test_tls_cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", STAYS, "with chunks");
	test_tls_cut("HTTP/1.1 200 OK\r\n\r\nhello", ENDS, "until close_notify");
	test_tls_end();
	test_tls_unwilling();
	test_tls_pieces();
	test_tls_large_request();
	test_tls_idle();
	test_tls_alerts();
	test_tls_texts();
	test_tls_dates();
	test_tls_no_choice();
	test_tls_client_certificate();
	test_certificate_page();
	test_certificate_page_end();
	test_cancel();
	test_probe_cancelled();
	test_stop();
	test_poll_fails();
	test_poll_fails_later();
	test_no_memory();
	test_calls_fail();
	test_no_random();
	test_default_roots();
	test_refused();
	test_ranges();
	test_proxy_options();
	test_proxy();
	test_opening_time();
	test_proxy_unreachable();
	test_proxy_without_user();
	net_reset(NULL, 0);
	return check_done();
}
