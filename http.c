/* http.c - GET from one origin over HTTP/1.1 and TLS 1.2.
 *
 * Contents
 *
 *     Part 1  Pure texts            clock, random bytes, URL, HTTP dates, response head, gzip, framing, trust anchors,
 *                                   proxies' texts
 *     Part 2  One connection        what a client holds, TLS, addresses, the proxy's tunnel, the exchange
 *     Part 3  Queue and interface   retry, lanes, judging attempts, sending, options, waiting, interface
 *
 * Implementation notes
 *
 * One thread, one poll().  A connection is a state machine whose steps never block; a step says whether it waits, has
 * moved to another state, has an answer, or has failed:
 *
 *     CLOSED -> CONNECTING -> [PROXY ->] [HANDSHAKE ->] BUSY -> IDLE -> BUSY ...
 *                   `------------`------------`----------`--------`--> CLOSED
 *
 * A connection is opened for a request and belongs to it until it is IDLE; so whatever goes wrong on the way is a
 * failed attempt of that one request.  A step ends with what the connection waits for next.  Steps know nothing of
 * retry and rate limits; the queue, in part 3, knows nothing of sockets.
 *
 * Time.  h->now is the monotonic clock.  Deadlines are kept on deadline_clock(h), which stands still while the
 * caller is elsewhere and while the resolver blocks; pauses (backoff, rate limit) are kept on h->now, for they pass
 * anyway.
 *
 * Buffers.  What is sent is h->tunnel_text or the request's text; the connection only points there.  What comes in
 * belongs to the request: its struct answer holds the unfinished line and then the body, and survives the connection.
 * A TLS connection has the engine's two buffers as well, allocated when it is first opened and kept until http_close.
 * The contexts of BearSSL point at each other and so never move.
 *
 * The end of a connection.  BearSSL's last error is 0 after a close_notify, after an end of file and while nothing has
 * happened at all; so the step that saw the end reports which one it was:
 *     PUMP_CLOSED  close_notify, or the end of a plain connection: it completes a body that has no other end
 *     PUMP_CUT     end of file without close_notify, or a reset: completes nothing
 *     PUMP_FAILED  the TLS engine gave up
 * On a connection that was kept alive, CLOSED or CUT before the first byte of an answer means only that the server was
 * tired of waiting: the request goes out again on another connection, and no attempt is counted. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <bearssl.h>
#include "http.h"
#include "contrib/roots.h"

/* What POSIX.1-2008 does not have.  getentropy is in POSIX.1-2024, and in these systems since before 2020; it is declared
 * here because their headers hide it from a program that asks for the older standard.  Elsewhere /dev/urandom serves. */
#if defined __GLIBC__ && defined __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 25)
#define HAVE_GETENTROPY
#endif
#elif defined __linux__ || defined __APPLE__ || defined __FreeBSD__ || defined __OpenBSD__
#define HAVE_GETENTROPY
#endif
#ifdef HAVE_GETENTROPY
int getentropy(void *buffer, size_t length);
#endif
#ifndef MSG_NOSIGNAL /* macOS, whose SIGPIPE the program ignores */
#define MSG_NOSIGNAL 0
#endif

#if defined EAI_NODATA /* RFC 2553's code for a name without addresses, which RFC 3493 dropped */
#define EAI_NO_DATA EAI_NODATA
#elif defined __GLIBC__
#define EAI_NO_DATA (-5)
#else
#define EAI_NO_DATA EAI_NONAME
#endif

enum {
	HOST_SIZE = 254,         /* RFC 1035: 253 bytes in text */
	NAME_SIZE = 300,         /* host:port as shown */
	LOCATION_SIZE = 80,      /* of a redirect's target, for the message */
	CERTIFICATE_SIZE = 4096, /* bytes of a server's certificate that are looked at for its dates */
	SCHEME_SIZE = 20,        /* of an authentication scheme, likewise */
	ADDRESSES = 16,
	READ_SIZE = 16 << 10,
	BODY_FIRST = 64 << 10,  /* a body's room doubles up to this, then is what was announced */
	READS = 32,             /* reads of one socket before the others have their turn */
	ENTROPY = 32,           /* bytes */
	ADDRESS_MS = 10 * 1000, /* to connect to one address */
	NEXT_ADDRESS_MS = 250,  /* until the next address is tried beside it (RFC 8305 section 8) */
	DIALS = 8,              /* addresses tried at once */
	REUSE_MS = 60 * 1000,   /* a connection idle for longer is not used: a NAT may have forgotten it */
	OPENING_MS = 30 * 1000, /* to connect, pass the proxy and shake hands */
	OUTSIDE_MS = 10 * 1000, /* an attempt that fails after more than this outside http_next does not count */
	SILENCE_MS = 3000,      /* an attempt of so long is worth a word, */
	TELL_MS = 1000,         /* and one again after so long */
	POLL_FAILURES = 3,
	NAME_ATTEMPTS = 3,       /* to resolve a name that does not exist */
	IDLE_MS = 1000,          /* no server drops a client that is silent for less */
	GLANCE_MS = 500,         /* longest sleep before the stop flag is looked at */
	BACKOFF_MOST = 60,       /* longest pause before a retry, as a multiple of the first */
	DATE_ROUNDING_MS = 1000, /* a date has whole seconds, so its moment may be almost one later */
	TRUST_FILE_LIMIT = 16 << 20,
	RSA_LEAST = 2048 / 8,
	RSA_MOST = 4096 / 8, /* BearSSL's own limit */
	TLS_ALERT = 21,      /* RFC 5246 section 6.2.1: with what the first record of a server begins */
	TLS_HANDSHAKE = 22
};

/* ================================================================================
 * Part 1: pure texts.  Nothing here knows of sockets or of struct http.
 * ================================================================================ */

/* ---- Clock, random bytes, text ---- */

/* Milliseconds of the monotonic clock.  A clock that cannot be read stands still; it never goes back. */
static int64_t clock_ms(int64_t last)
{
	struct timespec t;
	int64_t ms;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		return last;
	ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	return ms > last ? ms : last;
}

/* Microseconds since 1970; 0 if the clock cannot be read. */
static int64_t wall_us(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return 0;
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool random_device(unsigned char *bytes, size_t length)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	size_t got = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	do {
		n = read(fd, bytes + got, length - got);
		if (n > 0)
			got += (size_t)n;
	} while (got < length && (n > 0 || (n < 0 && errno == EINTR)));
	close(fd);
	return got == length;
}

/* Bytes that nobody can guess.  BearSSL 0.6 would look at the processor and at /dev/urandom only. */
static bool random_bytes(unsigned char *bytes, size_t length)
{
#ifdef HAVE_GETENTROPY
	if (getentropy(bytes, length) == 0)
		return true;
#endif
	return random_device(bytes, length);
}

/* SplitMix64: spreads the pauses of several clients, no more. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* A tab is white space. */
static bool holds_control(struct str s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (is_control(s.s[i]) && s.s[i] != '\t')
			return true;
	return false;
}

/* Printable ASCII only: what may stand in a header line or a message. */
static bool is_plain(struct str s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (s.s[i] < 0x20 || s.s[i] > 0x7e)
			return false;
	return true;
}

/* The next item of a list with commas (RFC 9110 section 5.6.1), which may be empty, as the one behind a last comma is.
 * false at the list's end, for which list->s is NULL. */
static bool list_next(struct str *list, struct str *item)
{
	bool last = list->s && (!list->n || !memchr(list->s, ',', list->n));

	if (!list->s)
		return false;
	*item = str_trim(str_cut(list, ','));
	if (last)
		list->s = NULL;
	return true;
}

/* A copy with an ending NUL, NULL without memory. */
static char *copy_text(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = malloc(size);

	if (copy)
		memcpy(copy, s, size);
	return copy;
}

/* ---- URL (RFC 3986) ---- */

struct url {
	bool tls;
	char host[HOST_SIZE]; /* in lower case, without brackets and ending dot */
	bool dot;             /* the host ended with a dot: the resolver tries no search domain */
	int family;           /* AF_INET, AF_INET6, or AF_UNSPEC for a name */
	uint16_t port;
	struct str user;    /* user:password, percent-encoded; s is NULL if there is none */
	const char *prefix; /* the rest, from the path on */
	char name[NAME_SIZE];
};

static const char *url_scheme(const char **text, bool *tls)
{
	const char *end = strstr(*text, "://");
	struct str scheme = {*text, end ? (size_t)(end - *text) : 0};

	*tls = str_is_word(scheme, "https");
	if (!*tls && !str_is_word(scheme, "http"))
		return "must begin with https:// or http://";
	*text = end + 3;
	return NULL;
}

static bool host_is_name(struct str host)
{
	char before = '.', c;

	for (; host.n; str_skip(&host, 1), before = c) {
		c = *host.s;
		if (c == '.' ? before == '.' : !is_digit(c) && !is_alpha(c) && c != '-' && c != '_')
			return false;
	}
	return before != '.';
}

/* brackets: it stood in some, as an IPv6 address does.  One dot at the end of a name belongs to the DNS, not to the
 * certificate. */
static const char *url_host(struct str host, bool brackets, struct url *u)
{
	struct in6_addr address;
	size_t i;

	if (!brackets && host.n > 1 && host.s[host.n - 1] == '.')
		u->dot = true;
	host.n -= u->dot;
	if (!host.n)
		return "has no host";
	if (host.n >= sizeof u->host)
		return "has a host that is too long";
	for (i = 0; i < host.n; i++)
		u->host[i] = to_lower(host.s[i]);
	u->host[host.n] = '\0';
	if (brackets)
		u->family = AF_INET6;
	else
		u->family = inet_pton(AF_INET, u->host, &address) == 1 ? AF_INET : AF_UNSPEC;
	if (brackets ? inet_pton(AF_INET6, u->host, &address) != 1 : !host_is_name(host))
		return "has a malformed host";
	return NULL;
}

static const char *url_port(struct str digits, struct url *u)
{
	unsigned long port = 0;
	size_t i;

	for (i = 0; i < digits.n && is_digit(digits.s[i]) && port <= UINT16_MAX; i++)
		port = port * 10 + (unsigned long)(digits.s[i] - '0');
	if (!digits.n || i < digits.n || port < 1 || port > UINT16_MAX)
		return "has a malformed port; 1 to 65535 is expected";
	u->port = (uint16_t)port;
	return NULL;
}

/* The host as it stands in a Host field: the scheme's own port is left out. */
static void url_name(struct url *u)
{
	bool brackets = u->family == AF_INET6;
	int n = snprintf(u->name, sizeof u->name, "%s%s%s", brackets ? "[" : "", u->host, brackets ? "]" : "");

	if (u->port != (u->tls ? 443 : 80))
		snprintf(u->name + n, sizeof u->name - (size_t)n, ":%u", (unsigned)u->port);
}

/* NULL, or what is wrong, to be put behind the option's name.  The text must outlive *u. */
static const char *url_parse(const char *text, struct url *u)
{
	struct str authority, host;
	const char *wrong, *at, *end;

	memset(u, 0, sizeof *u);
	wrong = url_scheme(&text, &u->tls);
	if (wrong)
		return wrong;
	authority.s = text;
	authority.n = strcspn(text, "/?#");
	u->prefix = text + authority.n;
	for (at = u->prefix; at > text && at[-1] != '@'; at--)
		;
	if (at > text) {
		u->user.s = text;
		u->user.n = (size_t)(at - 1 - text);
		str_skip(&authority, (size_t)(at - text));
	}
	end = authority.n && *authority.s == '[' ? memchr(authority.s, ']', authority.n) : NULL;
	host.s = authority.s + (end != NULL);
	host.n = end ? (size_t)(end - host.s) : strcspn(authority.s, ":/?#");
	str_skip(&authority, host.n + (end ? 2 : 0));
	wrong = url_host(host, end != NULL, u);
	if (wrong)
		return wrong;
	u->port = u->tls ? 443 : 80;
	if (authority.n) {
		if (*authority.s != ':')
			return "has a malformed host";
		str_skip(&authority, 1);
		wrong = url_port(authority, u);
	}
	url_name(u);
	return wrong;
}

/* ---- HTTP dates (RFC 9110 section 5.6.7) ---- */

/* IMF-fixdate, RFC 850 and asctime; and, because servers send them too, RFC 5322 with a numeric zone and JavaScript's
 * "Wed Mar 04 2026 17:20:05 GMT+0000 (Coordinated Universal Time)".  They consist of the same words in another order,
 * so words are read as they come; each may come once. */
struct date {
	int day, month, year; /* month from 0; -1: not seen */
	int64_t clock;        /* second of the day, -1: not seen */
	int64_t east;         /* seconds that the zone is ahead of UTC */
	bool short_year;
};

/* The place, from 0, of a word's first three letters in a text of such triples; -1 if they are not there. */
static int triple(struct str word, const char *triples)
{
	int i;

	for (i = 0; triples[3 * i]; i++)
		if (word.n >= 3 && to_lower(word.s[0]) == triples[3 * i] && to_lower(word.s[1]) == triples[3 * i + 1] &&
		    to_lower(word.s[2]) == triples[3 * i + 2])
			return i;
	return -1;
}

static bool date_word(struct str *s, struct date *d)
{
	struct str word = *s;
	int month;

	word.n = 0;
	while (s->n && is_alpha(*s->s)) {
		word.n++;
		str_skip(s, 1);
	}
	if (d->clock >= 0)
		return str_is_word(word, "gmt") || str_is_word(word, "utc") || str_is_word(word, "ut") ||
		       str_is_word(word, "z");
	month = word.n == 3 ? triple(word, "janfebmaraprmayjunjulaugsepoctnovdec") : -1;
	if (month >= 0 && d->month < 0) {
		d->month = month;
		return true;
	}
	return d->day < 0 && d->month < 0 && triple(word, "sunmontuewedthufrisat") >= 0;
}

/* Exactly two digits, then `after` if that is no NUL. */
static bool date_pair(struct str *s, char after, int *value)
{
	if (s->n < 2 || !is_digit(s->s[0]) || !is_digit(s->s[1]) || (after && (s->n < 3 || s->s[2] != after)))
		return false;
	*value = (s->s[0] - '0') * 10 + (s->s[1] - '0');
	str_skip(s, after ? 3 : 2);
	return true;
}

static bool date_clock(struct str *s, struct date *d)
{
	int hour, minute, second;

	if (d->clock >= 0 || !date_pair(s, ':', &hour) || !date_pair(s, ':', &minute) || !date_pair(s, '\0', &second))
		return false;
	d->clock = ((int64_t)hour * 60 + minute) * 60 + second;
	return hour < 24 && minute < 60 && second <= 60;
}

/* +hhmm or -hhmm */
static bool date_zone(struct str *s, struct date *d)
{
	int hour, minute, sign = *s->s == '-' ? -1 : 1;

	str_skip(s, 1);
	if (!date_pair(s, '\0', &hour) || !date_pair(s, '\0', &minute) || hour > 23 || minute > 59)
		return false;
	d->east = (int64_t)sign * (hour * 60 + minute) * 60;
	return true;
}

static bool date_number(struct str *s, struct date *d)
{
	size_t i, n;
	int value = 0;

	for (n = 0; n < s->n && n < 5 && is_digit(s->s[n]); n++)
		;
	if (n < s->n && s->s[n] == ':')
		return date_clock(s, d);
	if (n > 4)
		return false;
	for (i = 0; i < n; i++)
		value = value * 10 + (s->s[i] - '0');
	str_skip(s, n);
	if (d->day < 0 && n <= 2) {
		d->day = value;
	} else if (d->year < 0 && (n == 4 || n == 2)) {
		d->year = value;
		d->short_year = n == 2;
	} else {
		return false;
	}
	return true;
}

/* A year of two digits is never more than 50 years ahead (RFC 9110 section 5.6.7). */
static int full_year(int year, int64_t now)
{
	int this_year = (int)(1970 + now / 31556952);

	year += this_year / 100 * 100;
	return year > this_year + 50 ? year - 100 : year;
}

static bool date_unix(const struct date *d, int64_t now, int64_t *unix_s)
{
	int year = d->short_year ? full_year(d->year, now) : d->year;
	int64_t days;

	if (d->clock < 0 || !days_since_1970(year, d->month + 1, d->day, &days))
		return false;
	*unix_s = days * 86400 + d->clock - d->east;
	return true;
}

/* Seconds since 1970; now, for years of two digits, likewise. */
static bool date_parse(struct str s, int64_t now, int64_t *unix_s)
{
	struct date d = {-1, -1, -1, -1, 0, false};
	bool good = true;

	while (good && s.n) {
		char c = *s.s;
		if (c == '(' && d.clock >= 0)
			break; /* the zone's name */
		if (c == ' ' || c == ',' || (c == '-' && d.clock < 0))
			str_skip(&s, 1);
		else if (is_alpha(c))
			good = date_word(&s, &d);
		else if (is_digit(c))
			good = date_number(&s, &d);
		else
			good = (c == '+' || c == '-') && date_zone(&s, &d);
	}
	return good && date_unix(&d, now, unix_s);
}

/* ---- Response head (RFC 9112 sections 4 and 5), line by line ---- */

/* A moment or a duration, in seconds. */
struct when {
	bool known, date;
	int64_t seconds;
};

struct head {
	int status;           /* 0 before the status line */
	bool old;             /* HTTP/1.0 */
	bool close, keep;     /* Connection */
	bool sized, too_wide; /* Content-Length was there; it does not fit 64 bits */
	uint64_t length;
	const char *bad_length; /* what is wrong with it, or NULL */
	bool coded;             /* Transfer-Encoding was there */
	bool named, chunked;    /* with a coding; that is "chunked", and nothing else */
	bool gzip, encoded;     /* Content-Encoding: gzip, once; another one, or one more */
	struct when date, retry_after, reset;
	bool counted;       /* X-RateLimit-Remaining was there */
	uint32_t remaining; /* its number */
	char location[LOCATION_SIZE];
	bool basic;               /* Proxy-Authenticate or WWW-Authenticate names the scheme Basic */
	char scheme[SCHEME_SIZE]; /* another one that it names */
};

/* HTTP-version SP status-code [SP reason].  The second space is often forgotten before an empty reason, and nothing can
 * be misread without it; nothing else is forgiven.  NULL, or what is wrong. */
static const char *head_status(struct str line, struct head *h)
{
	if (line.n < 8 || memcmp(line.s, "HTTP/", 5) != 0)
		return "this is no HTTP answer";
	if (line.s[5] != '1' || line.s[6] != '.' || !is_digit(line.s[7]))
		return "the answer's HTTP version is not 1.x";
	if (line.n < 12 || line.s[8] != ' ' || !is_digit(line.s[9]) || !is_digit(line.s[10]) || !is_digit(line.s[11]) ||
	    (line.n > 12 && line.s[12] != ' '))
		return "malformed status line";
	if (holds_control(line))
		return "control character in the status line";
	h->old = line.s[7] == '0';
	h->status = (line.s[9] - '0') * 100 + (line.s[10] - '0') * 10 + (line.s[11] - '0');
	return h->status < 100 || h->status > 599 ? "the status is not between 100 and 599" : NULL;
}

/* A list of equal values counts as one (RFC 9112 section 6.3 allows it), whether in one line or in several. */
static void take_length(struct head *h, struct str list)
{
	struct str item;

	while (list_next(&list, &item)) {
		uint64_t value = 0;
		size_t i;
		bool wide = false;

		for (i = 0; i < item.n && is_digit(item.s[i]); i++) {
			uint64_t digit = (uint64_t)(item.s[i] - '0');
			wide = wide || value > (UINT64_MAX - digit) / 10;
			value = value * 10 + digit;
		}
		if (!item.n || i < item.n)
			h->bad_length = "malformed Content-Length";
		else if (h->sized && (value != h->length || wide != h->too_wide))
			h->bad_length = "Content-Length values that differ";
		h->sized = true;
		h->length = value;
		h->too_wide = wide;
	}
}

/* Empty items of a list are ignored (RFC 9110 section 5.6.1), and lines of none but such; "chunked" must be the only
 * coding, once. */
static void take_transfer(struct head *h, struct str list)
{
	struct str item;

	h->coded = true;
	while (list_next(&list, &item))
		if (item.n) {
			h->chunked = !h->named && str_is_word(item, "chunked");
			h->named = true;
		}
}

/* x-gzip is gzip (RFC 9110 section 8.4.1.3). */
static void take_encoding(struct head *h, struct str list)
{
	struct str item;

	while (list_next(&list, &item)) {
		bool gzip = str_is_word(item, "gzip") || str_is_word(item, "x-gzip");
		if (!item.n || str_is_word(item, "identity"))
			continue;
		h->encoded = h->encoded || h->gzip || !gzip;
		h->gzip = true;
	}
}

static void take_connection(struct head *h, struct str list)
{
	struct str item;

	while (list_next(&list, &item)) {
		h->close = h->close || str_is_word(item, "close");
		h->keep = h->keep || str_is_word(item, "keep-alive");
	}
}

static void take_date(struct when *w, struct str value, int64_t now)
{
	w->date = true;
	w->known = date_parse(value, now, &w->seconds);
}

/* The number at the start of a text; one beyond INT32_MAX is cut to a number that is still beyond it.  False: there
 * is none. */
static bool take_number(struct str *s, int64_t *number)
{
	size_t n = s->n;

	*number = 0;
	for (; s->n && is_digit(*s->s); str_skip(s, 1))
		if (*number < INT32_MAX)
			*number = *number * 10 + (*s->s - '0');
	return s->n < n;
}

/* delay-seconds or a date.  Servers also send fractions, and lists where two of them each added a number: the first
 * number counts, and a fraction is rounded up. */
static void take_retry_after(struct head *h, struct str value, int64_t now)
{
	struct str rest = value;
	int64_t seconds, fraction = 0;
	bool known = take_number(&rest, &seconds);

	if (known && rest.n && *rest.s == '.') {
		str_skip(&rest, 1);
		known = take_number(&rest, &fraction);
	}
	if (!known || (rest.n && *rest.s != ',')) {
		take_date(&h->retry_after, value, now);
		return;
	}
	h->retry_after.known = true;
	h->retry_after.date = false;
	h->retry_after.seconds = seconds + (fraction > 0);
}

static void take_remaining(struct head *h, struct str value)
{
	int64_t number;

	h->counted = take_number(&value, &number) && !value.n;
	h->remaining = number < INT32_MAX ? (uint32_t)number : INT32_MAX;
}

/* For a message only: cut, and only as far as it is printable. */
static void take_location(struct head *h, struct str value)
{
	size_t i;

	for (i = 0; i < value.n && i + 1 < sizeof h->location && value.s[i] > 0x20 && value.s[i] < 0x7f; i++)
		h->location[i] = value.s[i];
	h->location[i] = '\0';
}

static bool is_token(struct str s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (!is_alpha(s.s[i]) && !is_digit(s.s[i]) && (!s.s[i] || !strchr("!#$%&'*+-.^_`|~", s.s[i])))
			return false;
	return s.n > 0;
}

/* Challenges and their parameters stand in one list (RFC 9110 section 11.6.1); a scheme is a word without '='. */
static void take_schemes(struct head *h, struct str list)
{
	struct str item, scheme;

	while (list_next(&list, &item)) {
		scheme = str_cut(&item, ' ');
		if (!is_token(scheme))
			continue;
		if (str_is_word(scheme, "basic"))
			h->basic = true;
		else if (!*h->scheme)
			snprintf(h->scheme, sizeof h->scheme, "%.*s", str_width(scheme, SCHEME_SIZE), scheme.s);
	}
}

static void take_field(struct head *h, struct str name, struct str value, int64_t now)
{
	if (str_is_word(name, "content-length"))
		take_length(h, value);
	else if (str_is_word(name, "transfer-encoding"))
		take_transfer(h, value);
	else if (str_is_word(name, "content-encoding"))
		take_encoding(h, value);
	else if (str_is_word(name, "connection"))
		take_connection(h, value);
	else if (str_is_word(name, "date"))
		take_date(&h->date, value, now);
	else if (str_is_word(name, "retry-after"))
		take_retry_after(h, value, now);
	else if (str_is_word(name, "x-ratelimit-reset"))
		take_date(&h->reset, value, now);
	else if (str_is_word(name, "x-ratelimit-remaining"))
		take_remaining(h, value);
	else if (str_is_word(name, "location"))
		take_location(h, value);
	else if (str_is_word(name, "proxy-authenticate") || str_is_word(name, "www-authenticate"))
		take_schemes(h, value);
}

/* field-name ":" OWS field-value OWS.  NULL, or what is wrong. */
static const char *field_split(struct str line, struct str *name, struct str *value)
{
	const char *colon = memchr(line.s, ':', line.n);

	if (*line.s == ' ' || *line.s == '\t')
		return "folded header line";
	if (!colon)
		return "header line without a colon";
	name->s = line.s;
	name->n = (size_t)(colon - line.s);
	if (name->n && (colon[-1] == ' ' || colon[-1] == '\t'))
		return "white space before the colon of a header line";
	if (!is_token(*name))
		return "malformed header name";
	str_skip(&line, name->n + 1);
	if (holds_control(line))
		return "control character in a header line";
	*value = str_trim(line);
	return NULL;
}

/* How long from the answer until the moment, in milliseconds; -1 if it is not known.  A date is compared with the clock
 * of the server that made it, as far as that is known. */
static int64_t when_ms(const struct when *w, const struct when *date, int64_t now)
{
	int64_t from = date->known ? date->seconds : now;

	if (!w->known)
		return -1;
	if (!w->date)
		return w->seconds * 1000;
	return (w->seconds > from ? w->seconds - from : 0) * 1000 + DATE_ROUNDING_MS;
}

/* ---- Gzip (RFC 1952) and the deflate in it (RFC 1951): from whole input to growing output ---- */

/* What is known of an answer; of a body in gzip likewise. */
enum verdict {
	ANSWER_MORE, /* so far nothing is wrong */
	ANSWER_WHOLE,
	ANSWER_BAD,  /* malformed or cut off; why says it */
	ANSWER_OVER, /* over a limit of ours: it would be so the next time too */
	ANSWER_NO_MEMORY
};

enum {
	CODE_BITS = 15, /* of the longest code */
	LITERALS = 288, /* symbols of each of the three codes */
	DISTANCES = 32,
	LENGTHS = 19,
	LITERAL_BITS = 11, /* codes of so many bits need one look at the table, longer ones a second */
	DISTANCE_BITS = 8,
	LENGTH_BITS = 7,
	LITERAL_ENTRIES = 2342, /* the most that any code needs, by examples/enough.c in zlib's sources */
	DISTANCE_ENTRIES = 402,
	LENGTH_ENTRIES = 1 << LENGTH_BITS,
	MATCH_MOST = 258,
	COPY = 16,                         /* bytes of a match that are moved at once */
	SLACK = 3 + MATCH_MOST + 2 * COPY, /* what one round of the loop may write: literals, a match, too much */
	EXPANSION_MOST = 1032              /* two bits of deflate make no more than 258 bytes */
};

/* An entry of a table tells what the next bits mean.
 *   bits 0 to 5    how many bits it is about: its code and the extra bits behind
 *   bits 8 to 12   how many of them are the code; in a LINK: how many bits the second look needs
 *   bits 13 to 15  LITERAL, LINK, OTHER; none of them: a length or a distance
 *   bits 16 to 31  the byte; the least length or distance; where the linked table begins; 0 for the end of a block, 1
 *                  for what has no meaning */
enum { LITERAL = 1 << 13, LINK = 1 << 14, OTHER = 1 << 15, MEANINGLESS = OTHER | 1 << 16 };

/* The lowest bits of `held` come first.  Those above count are 0, or they are what comes next. */
struct bits {
	const unsigned char *in, *end;
	uint64_t held;
	unsigned count;
	unsigned beyond; /* bytes that were taken after the end, as if there were zeros */
};

struct inflate {
	struct bits bits;
	unsigned char *out;
	size_t length, capacity, limit;
	size_t member; /* where its bytes begin: no distance reaches further back */
	const char *why;
	uint32_t literals[LITERAL_ENTRIES], distances[DISTANCE_ENTRIES], lengths[LENGTH_ENTRIES];
};

static inline uint32_t load32(const unsigned char *s)
{
	return (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
}

/* Compilers make one instruction of it. */
static inline uint64_t load64(const unsigned char *s)
{
	return (uint64_t)s[0] | (uint64_t)s[1] << 8 | (uint64_t)s[2] << 16 | (uint64_t)s[3] << 24 |
	       (uint64_t)s[4] << 32 | (uint64_t)s[5] << 40 | (uint64_t)s[6] << 48 | (uint64_t)s[7] << 56;
}

/* Makes count at least 56.  Bits above count may be or'ed in twice, for they stay the same. */
static inline void bits_refill(struct bits *b)
{
	if (b->end - b->in >= 8) {
		b->held |= load64(b->in) << b->count;
		b->in += (63 - b->count) >> 3;
		b->count |= 56;
		return;
	}
	for (; b->count < 56; b->count += 8) {
		if (b->in < b->end)
			b->held |= (uint64_t)*b->in++ << b->count;
		else
			b->beyond++;
	}
}

static inline void bits_drop(struct bits *b, unsigned n)
{
	b->held >>= n;
	b->count -= n;
}

static inline unsigned bits_low(uint64_t bits, unsigned n)
{
	return (unsigned)(bits & ((UINT64_C(1) << n) - 1));
}

static unsigned bits_take(struct bits *b, unsigned n)
{
	unsigned value;

	bits_refill(b);
	value = bits_low(b->held, n);
	bits_drop(b, n);
	return value;
}

/* Has something been used that is not there? */
static bool bits_short(const struct bits *b)
{
	return b->beyond * 8 > b->count;
}

/* Drops the rest of a begun byte, and gives whole ones back. */
static void bits_align(struct bits *b)
{
	b->in -= b->count / 8 - b->beyond;
	b->held = 0;
	b->count = b->beyond = 0;
}

/* The meaning of the next bits.  The code of a LINK is dropped, that of the entry is not. */
static inline uint32_t bits_look(struct bits *b, const uint32_t *table, unsigned bits)
{
	uint32_t entry = table[bits_low(b->held, bits)];

	if (entry & LINK) {
		bits_drop(b, entry & 63);
		entry = table[(entry >> 16) + bits_low(b->held, entry >> 8 & 31)];
	}
	return entry;
}

/* Drops an entry's bits; the least length or distance plus what its extra bits say. */
static inline size_t bits_value(struct bits *b, uint32_t entry)
{
	unsigned all = bits_low(b->held, entry & 63);

	bits_drop(b, entry & 63);
	return (entry >> 16) + (all >> (entry >> 8 & 31));
}

/* RFC 1951 section 3.2.5, here and in distance_entry; without the code's length. */
static uint32_t literal_entry(unsigned symbol)
{
	unsigned extra = symbol < 265 || symbol == 285 ? 0 : (symbol - 261) / 4;

	if (symbol < 256)
		return (uint32_t)symbol << 16 | LITERAL;
	if (symbol == 256)
		return OTHER;
	if (symbol > 285)
		return MEANINGLESS;
	if (symbol == 285)
		return (uint32_t)MATCH_MOST << 16;
	return (uint32_t)(3 + (extra ? (4 + (symbol - 261) % 4) << extra : symbol - 257)) << 16 | extra;
}

static uint32_t distance_entry(unsigned symbol)
{
	unsigned extra = symbol < 4 ? 0 : symbol / 2 - 1;

	if (symbol > 29)
		return MEANINGLESS;
	return (uint32_t)(1 + (extra ? (2 + symbol % 2) << extra : symbol)) << 16 | extra;
}

static uint32_t length_entry(unsigned symbol)
{
	return (uint32_t)symbol << 16;
}

/* A Huffman code, given by the length of each symbol's, 0 for none (RFC 1951 section 3.2.2), and its table. */
struct code {
	const unsigned char *lengths;
	unsigned symbols, bits; /* bits of the first look */
	bool lone;              /* it may consist of one code of one bit, or of none */
	uint32_t (*entry)(unsigned symbol);
};

/* Counts the codes of each length, and puts their symbols in order.  NULL, or what is wrong. */
static const char *code_sort(const struct code *c, unsigned counts[CODE_BITS + 1], uint16_t sorted[LITERALS])
{
	unsigned next[CODE_BITS + 2] = {0}, i;
	int left = 1;

	memset(counts, 0, (CODE_BITS + 1) * sizeof *counts);
	for (i = 0; i < c->symbols; i++)
		counts[c->lengths[i]]++;
	for (i = 1; i <= CODE_BITS; i++) {
		left = left * 2 - (int)counts[i];
		if (left < 0)
			return "gzip with an over-subscribed code";
		next[i + 1] = next[i] + counts[i];
	}
	if (left > 0 && !(c->lone && next[CODE_BITS + 1] == counts[1]))
		return "gzip with an incomplete code";
	for (i = 0; i < c->symbols; i++)
		if (c->lengths[i])
			sorted[next[c->lengths[i]]++] = (uint16_t)i;
	return NULL;
}

/* The code after this one, their first bit the lowest. */
static unsigned code_next(unsigned code, unsigned length)
{
	unsigned bit = 1u << (length - 1);

	while (code & bit)
		bit >>= 1;
	return bit ? (code & (bit - 1)) | bit : 0;
}

/* How many bits the second look needs where the first code that is not told by the first one has this length. */
static unsigned code_more(const unsigned counts[CODE_BITS + 1], unsigned bits, unsigned length)
{
	unsigned more = length - bits;
	int left = 1 << more;

	for (; (left -= (int)counts[length]) > 0; length++, more++)
		left *= 2;
	return more;
}

/* counts loses what has been entered; so it is what code_more needs.  NULL, or what is wrong. */
static const char *code_table(const struct code *c, uint32_t *table)
{
	unsigned counts[CODE_BITS + 1], size = 1u << c->bits, used = size, begin = size, more = 0, code = 0, length, i;
	uint16_t sorted[LITERALS], *symbol = sorted;
	const char *why = code_sort(c, counts, sorted);
	uint32_t *linked = table;

	if (why)
		return why;
	for (i = 0; i < size; i++)
		table[i] = MEANINGLESS; /* a lone code leaves some of them so */
	for (length = 1; length <= CODE_BITS; length++) {
		for (; counts[length]; counts[length]--, code = code_next(code, length)) {
			uint32_t entry = c->entry(*symbol++) + length * 0x101u;
			if (length <= c->bits) {
				for (i = code; i < size; i += 1u << length)
					table[i] = entry;
				continue;
			}
			if ((code & (size - 1)) != begin) {
				begin = code & (size - 1);
				more = code_more(counts, c->bits, length);
				linked = table + used;
				table[begin] = (uint32_t)used << 16 | LINK | more << 8 | c->bits;
				used += 1u << more;
			}
			for (i = code >> c->bits; i < 1u << more; i += 1u << (length - c->bits))
				linked[i] = entry - c->bits * 0x101u;
		}
	}
	return NULL;
}

static const char cut_off[] = "gzip that is cut off";

/* What the zeros after the end seem to be is no fault of its own. */
static enum verdict inflate_bad(struct inflate *s, const char *why)
{
	s->why = bits_short(&s->bits) ? cut_off : why;
	return ANSWER_BAD;
}

/* Room for n bytes that are known to come, and SLACK. */
static enum verdict inflate_reserve(struct inflate *s, size_t n)
{
	size_t need = s->length + n + SLACK, size = s->capacity * 2;
	unsigned char *out;

	if (bits_short(&s->bits))
		return inflate_bad(s, cut_off);
	if (s->length > s->limit || n > s->limit - s->length) {
		s->why = "a body of more than 64 MiB in gzip";
		return ANSWER_OVER;
	}
	if (need <= s->capacity)
		return ANSWER_MORE;
	if (size < need)
		size = need;
	if (size > s->limit + SLACK)
		size = s->limit + SLACK;
	out = realloc(s->out, size);
	if (!out)
		return ANSWER_NO_MEMORY;
	s->out = out;
	s->capacity = size;
	return ANSWER_MORE;
}

/* Copies what stands so far back; may write 2 * COPY - 1 bytes too much. */
static inline void copy_match(unsigned char *to, size_t distance, size_t length)
{
	const unsigned char *from = to - distance;
	unsigned char *end = to + length;

	if (distance >= COPY) {
		do {
			memcpy(to, from, COPY);
			memcpy(to + COPY, from + COPY, COPY);
			to += 2 * COPY;
			from += 2 * COPY;
		} while (to < end);
	} else if (distance >= 8) {
		for (; to < end; to += 8, from += 8)
			memcpy(to, from, 8);
	} else if (distance == 1) {
		memset(to, *from, length);
	} else {
		while (to < end)
			*to++ = *from++;
	}
}

/* A block's symbols up to its end.  56 bits are enough for three literals, or for a length and a distance. */
static enum verdict inflate_symbols(struct inflate *s)
{
	struct bits b = s->bits;
	unsigned char *to = s->out + s->length, *last = s->out + s->capacity - SLACK;
	uint32_t entry;
	size_t length, distance;
	enum verdict v;

	for (;;) {
		bits_refill(&b);
		if (to > last || b.beyond) {
			s->bits = b;
			s->length = (size_t)(to - s->out);
			v = inflate_reserve(s, 0);
			if (v != ANSWER_MORE)
				return v;
			to = s->out + s->length;
			last = s->out + s->capacity - SLACK;
		}
		entry = bits_look(&b, s->literals, LITERAL_BITS);
		if (entry & LITERAL) {
			bits_drop(&b, entry & 63);
			*to++ = (unsigned char)(entry >> 16);
			entry = bits_look(&b, s->literals, LITERAL_BITS);
			if (entry & LITERAL) {
				bits_drop(&b, entry & 63);
				*to++ = (unsigned char)(entry >> 16);
				entry = bits_look(&b, s->literals, LITERAL_BITS);
				if (entry & LITERAL) {
					bits_drop(&b, entry & 63);
					*to++ = (unsigned char)(entry >> 16);
					continue;
				}
			}
			bits_refill(&b);
		}
		length = bits_value(&b, entry);
		if (entry & OTHER)
			break;
		entry = bits_look(&b, s->distances, DISTANCE_BITS);
		distance = bits_value(&b, entry);
		if (entry & OTHER || distance > (size_t)(to - s->out) - s->member)
			break;
		copy_match(to, distance, length);
		to += length;
	}
	s->bits = b;
	s->length = (size_t)(to - s->out);
	if (!(entry & OTHER))
		return inflate_bad(s, "gzip with a distance that is too far back");
	return entry >> 16 || bits_short(&b) ? inflate_bad(s, "gzip with a code that means nothing") : ANSWER_MORE;
}

static enum verdict inflate_stored(struct inflate *s)
{
	struct bits *b = &s->bits;
	size_t length;
	uint32_t lengths;
	enum verdict v;

	if (bits_short(b))
		return inflate_bad(s, cut_off);
	bits_align(b);
	if (b->end - b->in < 4)
		return inflate_bad(s, cut_off);
	lengths = load32(b->in);
	b->in += 4;
	length = lengths & 0xffff;
	if ((lengths >> 16 ^ length) != 0xffff)
		return inflate_bad(s, "gzip with a stored block whose two lengths differ");
	if (length > (size_t)(b->end - b->in))
		return inflate_bad(s, cut_off);
	v = inflate_reserve(s, length);
	if (v != ANSWER_MORE)
		return v;
	memcpy(s->out + s->length, b->in, length);
	s->length += length;
	b->in += length;
	return ANSWER_MORE;
}

/* The lengths of the codes for literals, then those for distances. */
static enum verdict inflate_coded(struct inflate *s, const unsigned char *lengths, unsigned literals,
				  unsigned distances)
{
	const struct code literal = {lengths, literals, LITERAL_BITS, true, literal_entry};
	const struct code distance = {lengths + literals, distances, DISTANCE_BITS, true, distance_entry};
	const char *why = code_table(&literal, s->literals);

	if (!why)
		why = code_table(&distance, s->distances);
	return why ? inflate_bad(s, why) : inflate_symbols(s);
}

/* RFC 1951 section 3.2.6 */
static enum verdict inflate_fixed(struct inflate *s)
{
	unsigned char lengths[LITERALS + DISTANCES];

	memset(lengths, 8, 144);
	memset(lengths + 144, 9, 112);
	memset(lengths + 256, 7, 24);
	memset(lengths + 280, 8, 8);
	memset(lengths + LITERALS, 5, DISTANCES);
	return inflate_coded(s, lengths, LITERALS, DISTANCES);
}

/* Runs of lengths: 16 repeats the last one, 17 and 18 stand for zeros. */
static enum verdict inflate_lengths(struct inflate *s, unsigned char *lengths, unsigned count)
{
	static const unsigned char extra[] = {2, 3, 7}, least[] = {3, 3, 11};
	unsigned i = 0, n, symbol;
	uint32_t entry;

	while (i < count) {
		bits_refill(&s->bits);
		entry = bits_look(&s->bits, s->lengths, LENGTH_BITS);
		symbol = (unsigned)bits_value(&s->bits, entry);
		n = symbol < 16 ? 1 : least[symbol - 16] + bits_take(&s->bits, extra[symbol - 16]);
		if (n > count - i || (symbol == 16 && i == 0) || bits_short(&s->bits))
			return inflate_bad(s, "gzip with a repeated code length out of place");
		memset(lengths + i, symbol < 16 ? (int)symbol : symbol == 16 ? lengths[i - 1] : 0, n);
		i += n;
	}
	return ANSWER_MORE;
}

/* RFC 1951 section 3.2.7 */
static enum verdict inflate_dynamic(struct inflate *s)
{
	static const unsigned char order[LENGTHS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
	unsigned char lengths[LITERALS + DISTANCES], of_lengths[LENGTHS] = {0};
	const struct code code = {of_lengths, LENGTHS, LENGTH_BITS, false, length_entry};
	unsigned literals = 257 + bits_take(&s->bits, 5), distances = 1 + bits_take(&s->bits, 5);
	unsigned count = 4 + bits_take(&s->bits, 4), i;
	const char *why;
	enum verdict v;

	if (literals > 286 || distances > 30)
		return inflate_bad(s, "gzip with more codes than there are symbols");
	for (i = 0; i < count; i++)
		of_lengths[order[i]] = (unsigned char)bits_take(&s->bits, 3);
	why = code_table(&code, s->lengths);
	if (why)
		return inflate_bad(s, why);
	v = inflate_lengths(s, lengths, literals + distances);
	if (v != ANSWER_MORE)
		return v;
	if (!lengths[256])
		return inflate_bad(s, "gzip with a block that has no code for its end");
	return inflate_coded(s, lengths, literals, distances);
}

static enum verdict inflate_blocks(struct inflate *s)
{
	enum verdict v;
	unsigned last;

	do {
		last = bits_take(&s->bits, 1);
		switch (bits_take(&s->bits, 2)) {
		case 0: v = inflate_stored(s); break;
		case 1: v = inflate_fixed(s); break;
		case 2: v = inflate_dynamic(s); break;
		default: v = inflate_bad(s, "gzip with a block of no known type"); break;
		}
	} while (v == ANSWER_MORE && !last);
	if (v == ANSWER_MORE)
		bits_align(&s->bits);
	return v;
}

/* CRC-32 (RFC 1952 section 8).  x^300 + x^155 + x^117 + x^89 + 1 is a multiple of its polynomial; so a bit may leave the
 * text if it is added to those that come 145, 183, 211 and 300 later.  a to e are what is to be added to the next five
 * words; only the last bytes need a table. */
static uint32_t crc32_of(const unsigned char *s, size_t n)
{
	static const uint32_t table[16] = {
		UINT32_C(0x00000000), UINT32_C(0x1db71064), UINT32_C(0x3b6e20c8), UINT32_C(0x26d930ac),
		UINT32_C(0x76dc4190), UINT32_C(0x6b6b51f4), UINT32_C(0x4db26158), UINT32_C(0x5005713c),
		UINT32_C(0xedb88320), UINT32_C(0xf00f9344), UINT32_C(0xd6d6a3e8), UINT32_C(0xcb61b38c),
		UINT32_C(0x9b64c2b0), UINT32_C(0x86d3d2d4), UINT32_C(0xa00ae278), UINT32_C(0xbdbdf21c)};
	uint64_t a = UINT32_MAX, b = 0, c = 0, d = 0, e = 0, x;
	unsigned char rest[48];
	uint32_t crc = n < sizeof rest ? UINT32_MAX : 0;
	size_t i;

	if (n >= sizeof rest) {
		for (; n >= sizeof rest; s += 8, n -= 8) {
			x = load64(s) ^ a;
			a = b;
			b = c ^ x << 17 ^ x << 55;
			c = d ^ x >> 47 ^ x >> 9 ^ x << 19;
			d = e ^ x >> 45 ^ x << 44;
			e = x >> 20;
		}
		memcpy(rest, s, n);
		for (i = 0; i < 40; i++) {
			x = i < 8 ? a : i < 16 ? b : i < 24 ? c : i < 32 ? d : e;
			rest[i] ^= (unsigned char)(x >> i % 8 * 8);
		}
		s = rest;
	}
	for (i = 0; i < n; i++) {
		crc = crc >> 4 ^ table[(crc ^ s[i]) & 15];
		crc = crc >> 4 ^ table[(crc ^ (unsigned)s[i] >> 4) & 15];
	}
	return ~crc;
}

/* RFC 1952 section 2.3 */
static enum verdict gzip_header(struct inflate *s)
{
	enum { CRC = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xe0 };
	const unsigned char *begin = s->bits.in, *at, *end = s->bits.end;
	unsigned flags, texts;

	if (begin < end && (begin[0] != 0x1f || (end - begin > 1 && begin[1] != 0x8b)))
		return inflate_bad(s, "something that is no gzip, or more than that");
	if (end - begin < 10)
		return inflate_bad(s, cut_off);
	at = begin + 10;
	flags = begin[3];
	if (begin[2] != 8 || flags & RESERVED)
		return inflate_bad(s, "gzip with a method or a flag of no known meaning");
	if (flags & EXTRA) {
		if (end - at < 2 || end - at - 2 < (at[0] | at[1] << 8))
			return inflate_bad(s, cut_off);
		at += 2 + (at[0] | at[1] << 8);
	}
	for (texts = (flags & NAME) / NAME + (flags & COMMENT) / COMMENT; texts; texts--) {
		at = memchr(at, '\0', (size_t)(end - at));
		if (!at)
			return inflate_bad(s, cut_off);
		at++;
	}
	if (flags & CRC) {
		if (end - at < 2)
			return inflate_bad(s, cut_off);
		if ((crc32_of(begin, (size_t)(at - begin)) & 0xffff) != ((unsigned)at[0] | (unsigned)at[1] << 8))
			return inflate_bad(s, "gzip with a wrong CRC-16 of its header");
		at += 2;
	}
	s->bits.in = at;
	return ANSWER_MORE;
}

static enum verdict gzip_member(struct inflate *s)
{
	struct bits *b = &s->bits;
	enum verdict v = gzip_header(s);

	if (v != ANSWER_MORE)
		return v;
	s->member = s->length;
	v = inflate_blocks(s);
	if (v != ANSWER_MORE)
		return v;
	if (b->end - b->in < 8)
		return inflate_bad(s, cut_off);
	if (load32(b->in) != crc32_of(s->out + s->member, s->length - s->member))
		return inflate_bad(s, "gzip with a wrong CRC-32");
	if (load32(b->in + 4) != (uint32_t)(s->length - s->member))
		return inflate_bad(s, "gzip with a wrong length");
	b->in += 8;
	return ANSWER_MORE;
}

/* The first room is what the last member says of its length, if that can be; so one member's output never moves. */
static enum verdict gzip_open(struct inflate *s, const unsigned char *in, size_t n, size_t limit)
{
	size_t size = n < 4 ? 0 : load32(in + n - 4);

	memset(s, 0, offsetof(struct inflate, literals));
	s->bits.in = in;
	s->bits.end = in + n;
	s->limit = limit;
	if (size / EXPANSION_MOST > n)
		size = n;
	return inflate_reserve(s, size < limit ? size : limit);
}

/* ANSWER_WHOLE: *out is what all members say, *length bytes in memory of `malloc`.  limit: of that length; it and SLACK
 * together fit a size_t.  ANSWER_BAD, ANSWER_OVER: *why says it. */
static enum verdict gunzip(const char *in, size_t n, size_t limit, char **out, size_t *length, const char **why)
{
	struct inflate s;
	enum verdict v = gzip_open(&s, (const unsigned char *)in, n, limit);

	do
		v = v == ANSWER_MORE ? gzip_member(&s) : v;
	while (v == ANSWER_MORE && s.bits.in < s.bits.end);
	if (v == ANSWER_MORE)
		v = inflate_reserve(&s, 0); /* the last symbol may have passed the limit */
	*why = s.why;
	*out = NULL;
	*length = 0;
	if (v != ANSWER_MORE) {
		free(s.out);
		return v;
	}
	*out = (char *)s.out;
	*length = s.length;
	return ANSWER_WHOLE;
}

char *http_gunzip(const void *gzip, size_t length, size_t limit, size_t *text_length)
{
	const char *why;
	char *text;

	return gunzip(gzip, length, limit, &text, text_length, &why) == ANSWER_WHOLE ? text : NULL;
}

/* ---- Answer: framing (RFC 9112 sections 6 and 7), fed with any pieces ---- */

/* All that is no body comes in lines, the chunk sizes too; so there is one way to collect a line, and each stage says
 * what a whole line means.  An unfinished line stands behind the body in the same buffer. */
enum stage { AT_STATUS, AT_FIELDS, AT_LENGTH, AT_CLOSE, AT_CHUNK, AT_CHUNK_DATA, AT_CHUNK_END, AT_TRAILERS, AT_END };

/* Starts as {0} with now set; ends with answer_free. */
struct answer {
	enum stage stage;
	bool tunnel;                   /* the answer to a CONNECT: its head is all */
	bool heard;                    /* a byte has come */
	int64_t now;                   /* seconds since 1970, for the dates */
	char *bytes;                   /* body so far, then the unfinished line */
	size_t length, line, capacity; /* of body, line, buffer */
	size_t overhead;               /* bytes of heads, trailers, chunk extensions */
	uint64_t left;                 /* of the body or of the chunk */
	struct head head;
	const char *why;
	bool miscoded; /* what is bad is the body's coding: another one may do */
};

static void answer_free(struct answer *a)
{
	free(a->bytes);
	a->bytes = NULL;
	a->length = a->line = a->capacity = 0;
}

static enum verdict answer_bad(struct answer *a, const char *why)
{
	a->why = why;
	return ANSWER_BAD;
}

static enum verdict answer_over(struct answer *a, const char *why)
{
	a->why = why;
	return ANSWER_OVER;
}

/* Room for `more` bytes behind body and line.  It doubles, so that an announced length costs nothing until it comes;
 * but once some of it came, there is room for the rest at once, and no large body is ever there twice. */
static bool answer_reserve(struct answer *a, size_t more)
{
	size_t need = a->length + a->line + more;
	size_t size = a->capacity < 2048 ? 4096 : a->capacity * 2;
	char *bytes;

	if (need <= a->capacity)
		return true;
	if (a->stage == AT_LENGTH && (size > BODY_FIRST || size > a->length + a->left))
		size = a->length + (size_t)a->left;
	bytes = realloc(a->bytes, size > need ? size : need);
	if (!bytes)
		return false;
	a->bytes = bytes;
	a->capacity = size > need ? size : need;
	assert(a->length + a->line + more <= a->capacity);
	return true;
}

/* What is wrong with a line may show in its first n bytes, and then its end may never come. */
static enum verdict answer_early(struct answer *a, size_t n)
{
	const char *line = a->bytes + a->length;

	if (a->stage == AT_STATUS && memcmp(line, "HTTP/", n < 5 ? n : 5) != 0)
		return answer_bad(a, "this is no HTTP answer");
	if (a->stage == AT_CHUNK_END && n && (n > 1 || line[0] != '\r'))
		return answer_bad(a, "a chunk longer than its size");
	return ANSWER_MORE;
}

/* Adds to the line what comes up to the next line feed, which is included.  ANSWER_WHOLE: the line is.  In whatever
 * pieces it comes, the same fault is found first. */
static enum verdict answer_line(struct answer *a, struct str *in)
{
	size_t left = HTTP_HEAD_LIMIT - a->overhead - a->line, most = in->n < left ? in->n : left;
	const char *end = memchr(in->s, '\n', most);
	size_t n = end ? (size_t)(end + 1 - in->s) : most;
	enum verdict v;

	if (!answer_reserve(a, n))
		return ANSWER_NO_MEMORY;
	memcpy(a->bytes + a->length + a->line, in->s, n);
	a->line += n;
	v = answer_early(a, end ? a->line - 1 : a->line);
	if (v != ANSWER_MORE)
		return v;
	if (!end && n < in->n)
		return answer_over(a, "more than 64 KiB of headers");
	str_skip(in, n);
	return end ? ANSWER_WHOLE : ANSWER_MORE;
}

static enum verdict answer_data(struct answer *a, struct str *in, uint64_t most)
{
	size_t n = in->n < most ? in->n : (size_t)most;

	if (n > HTTP_BODY_LIMIT - a->length)
		return answer_over(a, "a body of more than 64 MiB");
	if (!answer_reserve(a, n))
		return ANSWER_NO_MEMORY;
	memcpy(a->bytes + a->length, in->s, n);
	a->length += n;
	str_skip(in, n);
	return ANSWER_MORE;
}

static enum verdict answer_miscoded(struct answer *a, const char *why)
{
	a->miscoded = true;
	return answer_bad(a, why);
}

/* Gives back what doubling took too much. */
static void answer_trim(struct answer *a)
{
	char *bytes = a->length && a->length < a->capacity ? realloc(a->bytes, a->length) : NULL;

	if (bytes) {
		a->bytes = bytes;
		a->capacity = a->length;
	}
}

/* Puts what the body says in its place. */
static enum verdict answer_gunzip(struct answer *a)
{
	char *bytes;
	size_t length;
	enum verdict v;

	answer_trim(a);
	v = gunzip(a->bytes, a->length, HTTP_BODY_LIMIT, &bytes, &length, &a->why);
	if (v == ANSWER_BAD)
		return answer_miscoded(a, a->why);
	if (v == ANSWER_WHOLE) {
		free(a->bytes);
		a->bytes = bytes;
		a->length = a->capacity = length;
	}
	return v;
}

/* A body in another coding than gzip cannot be read; its status can.  Nothing is no gzip, but only a 200 needs a body. */
static enum verdict answer_whole(struct answer *a)
{
	a->stage = AT_END;
	if (a->head.encoded)
		a->length = 0;
	if (a->head.gzip && (a->length || (a->head.status == 200 && !a->tunnel)))
		return answer_gunzip(a);
	answer_trim(a);
	return ANSWER_WHOLE;
}

static enum verdict answer_sized(struct answer *a)
{
	const struct head *h = &a->head;

	if (h->bad_length)
		return answer_bad(a, h->bad_length);
	if (h->too_wide || h->length > HTTP_BODY_LIMIT)
		return answer_over(a, "an announced body of more than 64 MiB");
	a->stage = AT_LENGTH;
	a->left = h->length;
	return a->left ? ANSWER_MORE : answer_whole(a);
}

/* RFC 9112 section 6.3.  The head is whole: what follows it? */
static enum verdict answer_body(struct answer *a)
{
	const struct head *h = &a->head;
	static const struct head none;

	if (h->status == 101)
		return answer_bad(a, "a change of protocol that was not asked for");
	if (h->status < 200) {
		a->head = none;
		a->stage = AT_STATUS;
		return ANSWER_MORE;
	}
	if (a->tunnel || h->status == 204 || h->status == 304)
		return answer_whole(a);
	if (h->encoded && h->status / 100 == 2)
		return answer_miscoded(a, "a Content-Encoding that was not asked for");
	if (h->coded && h->sized)
		return answer_bad(a, "both Transfer-Encoding and Content-Length");
	if (h->coded && (!h->chunked || h->old))
		return answer_bad(a,
				  h->old ? "Transfer-Encoding in HTTP/1.0" : "a Transfer-Encoding other than chunked");
	if (h->sized)
		return answer_sized(a);
	a->stage = h->coded ? AT_CHUNK : AT_CLOSE;
	return ANSWER_MORE;
}

/* chunk-size [chunk-ext] CRLF, the CRLF cut off.  An extension means nothing to us; but a quoted string in it must end,
 * or its writer and we would not agree on where the chunk begins. */
static const char *chunk_extension(struct str s)
{
	bool quoted = false;
	size_t i;

	if (holds_control(s))
		return "control character in a chunk line";
	s = str_trim(s);
	if (s.n && *s.s != ';')
		return "malformed chunk size";
	for (i = 0; i < s.n; i++)
		if (s.s[i] == '"')
			quoted = !quoted;
		else if (s.s[i] == '\\' && quoted && i + 1 < s.n)
			i++;
	return quoted ? "chunk extension with an open quotation" : NULL;
}

static enum verdict answer_chunk(struct answer *a, struct str line)
{
	enum { USUAL = 16 + 2 }; /* bytes of the widest size without padding */
	const char *wrong;
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < line.n && hex_value(line.s[i]) >= 0; i++) {
		if (size > UINT64_MAX >> 4)
			return answer_over(a, "a chunk size beyond 64 bits");
		size = size << 4 | (uint64_t)hex_value(line.s[i]);
	}
	if (!i || (i < line.n && str_trim(line).n != line.n))
		return answer_bad(a, "malformed chunk size");
	a->overhead += line.n > USUAL ? line.n - USUAL : 0;
	str_skip(&line, i);
	wrong = chunk_extension(line);
	if (wrong)
		return answer_bad(a, wrong);
	if (size > HTTP_BODY_LIMIT - a->length)
		return answer_over(a, "a body of more than 64 MiB");
	a->left = size;
	a->stage = size ? AT_CHUNK_DATA : AT_TRAILERS;
	return ANSWER_MORE;
}

/* Trailers are checked like headers, and then forgotten: they must not change what the head said. */
static enum verdict answer_field(struct answer *a, struct str line)
{
	struct str name, value;
	const char *wrong;

	if (!line.n)
		return a->stage == AT_TRAILERS ? answer_whole(a) : answer_body(a);
	wrong = field_split(line, &name, &value);
	if (wrong)
		return answer_bad(a, wrong);
	if (a->stage == AT_FIELDS)
		take_field(&a->head, name, value, a->now);
	return ANSWER_MORE;
}

/* A whole line has come.  A head's lines may end with a bare LF (RFC 9112 section 2.2); those of the chunked coding may
 * not. */
static enum verdict answer_take_line(struct answer *a)
{
	struct str line = {a->bytes + a->length, a->line - 1};
	bool head = a->stage == AT_STATUS || a->stage == AT_FIELDS;
	size_t length = a->line;

	a->line = 0;
	if (line.n && line.s[line.n - 1] == '\r')
		line.n--;
	else if (!head)
		return answer_bad(a, "a line of the chunked coding that does not end with CR LF");
	if (a->stage == AT_CHUNK)
		return answer_chunk(a, line);
	if (a->stage == AT_CHUNK_END) {
		a->stage = AT_CHUNK;
		return line.n ? answer_bad(a, "a chunk longer than its size") : ANSWER_MORE;
	}
	a->overhead += length;
	if (a->stage != AT_STATUS)
		return answer_field(a, line);
	a->why = head_status(line, &a->head);
	a->stage = AT_FIELDS;
	return a->why ? ANSWER_BAD : ANSWER_MORE;
}

static enum verdict answer_step(struct answer *a, struct str *in)
{
	enum verdict v;

	switch (a->stage) {
	case AT_STATUS:
	case AT_FIELDS:
	case AT_CHUNK:
	case AT_CHUNK_END:
	case AT_TRAILERS:
		v = answer_line(a, in);
		if (v == ANSWER_WHOLE)
			v = answer_take_line(a);
		return v;
	case AT_LENGTH:
	case AT_CHUNK_DATA: {
		size_t before = in->n;
		v = answer_data(a, in, a->left);
		a->left -= before - in->n;
		if (v != ANSWER_MORE || a->left)
			return v;
		if (a->stage == AT_LENGTH)
			return answer_whole(a);
		a->stage = AT_CHUNK_END;
		return ANSWER_MORE;
	}
	case AT_CLOSE: return answer_data(a, in, in->n);
	case AT_END: break;
	}
	return ANSWER_WHOLE;
}

/* Takes bytes in until the answer is decided or there are no more.  *used is less than the length only if it is. */
static enum verdict answer_feed(struct answer *a, const char *bytes, size_t length, size_t *used)
{
	struct str in = {bytes, length};
	enum verdict v = ANSWER_MORE;

	a->heard = a->heard || length;
	while (v == ANSWER_MORE && in.n)
		v = answer_step(a, &in);
	*used = length - in.n;
	return v;
}

/* The connection ended.  clean: by the peer's will, not cut off. */
static enum verdict answer_end(struct answer *a, bool clean)
{
	switch (a->stage) {
	case AT_STATUS:
		return answer_bad(a, a->heard ? "cut off in its head" : "the connection closed before an answer");
	case AT_FIELDS: return answer_bad(a, "cut off in its head");
	case AT_LENGTH: return answer_bad(a, "cut off: the body is shorter than its Content-Length");
	case AT_CHUNK:
	case AT_CHUNK_DATA:
	case AT_CHUNK_END: return answer_bad(a, "cut off: the last chunk is missing");
	case AT_TRAILERS: return answer_bad(a, "cut off in its trailers");
	case AT_CLOSE: return clean ? answer_whole(a) : answer_bad(a, "cut off in a body without Content-Length");
	case AT_END: break;
	}
	return ANSWER_WHOLE;
}

/* May the connection carry another request?  (RFC 9112 section 9.3) */
static bool answer_keeps(const struct answer *a)
{
	const struct head *h = &a->head;
	bool framed = h->coded || h->sized || h->status == 204 || h->status == 304;

	return framed && !h->close && (!h->old || h->keep);
}

/* ---- Trust anchors: PEM (RFC 7468), base64 and just enough DER (X.690) ---- */

/* A trust anchor is a name and a key (RFC 5280 section 6.1.1), so a root's own signature and dates need no look. */
struct trust {
	br_x509_trust_anchor *anchors;
	size_t count, left_out;
	char *file; /* its bytes, decoded: the anchors point into it */
};

struct der {
	const unsigned char *s;
	size_t n;
};

/* Takes the next element off `in`.  whole: with its tag and length. */
static bool der_next(struct der *in, unsigned tag, struct der *whole, struct der *content)
{
	size_t head = 2, n;

	if (in->n < 2 || in->s[0] != tag)
		return false;
	n = in->s[1];
	if (n >= 0x80) {
		size_t count = n - 0x80;
		if (count < 1 || count > 4 || in->n < 2 + count)
			return false;
		for (n = 0; head < 2 + count; head++)
			n = n << 8 | in->s[head];
	}
	if (n > in->n - head)
		return false;
	whole->s = in->s;
	whole->n = head + n;
	content->s = in->s + head;
	content->n = n;
	in->s += whole->n;
	in->n -= whole->n;
	return true;
}

static bool der_take(struct der *in, unsigned tag, struct der *content)
{
	struct der whole;

	return der_next(in, tag, &whole, content);
}

static bool der_is(struct der d, const char *bytes, size_t length)
{
	return d.n == length && memcmp(d.s, bytes, length) == 0;
}

enum { DER_BOOLEAN = 1, DER_INTEGER, DER_BITS, DER_OCTETS, DER_OID = 6, DER_SEQUENCE = 0x30, DER_CONTEXT = 0xa0 };

/* A positive INTEGER as BearSSL wants it, without leading zeros. */
static bool der_unsigned(struct der *in, struct der *number)
{
	if (!der_take(in, DER_INTEGER, number) || !number->n || number->s[0] & 0x80)
		return false;
	for (; number->n && !number->s[0]; number->n--)
		number->s++;
	return number->n > 0;
}

/* A BIT STRING of whole bytes. */
static bool der_bits(struct der *in, struct der *bytes)
{
	if (!der_take(in, DER_BITS, bytes) || !bytes->n || bytes->s[0])
		return false;
	bytes->s++;
	bytes->n--;
	return true;
}

/* BearSSL's structures want pointers to bytes that may be written, and does not write. */
static unsigned char *der_bytes(struct der d)
{
	return (unsigned char *)(uintptr_t)d.s;
}

static bool anchor_rsa(struct der bits, br_rsa_public_key *rsa)
{
	struct der numbers, n, e;

	if (!der_take(&bits, DER_SEQUENCE, &numbers) || !der_unsigned(&numbers, &n) || !der_unsigned(&numbers, &e))
		return false;
	rsa->n = der_bytes(n);
	rsa->nlen = n.n;
	rsa->e = der_bytes(e);
	rsa->elen = e.n;
	return n.n >= RSA_LEAST && n.n <= RSA_MOST;
}

static bool anchor_ec(struct der curve, struct der point, br_ec_public_key *ec)
{
	if (der_is(curve, "\x2a\x86\x48\xce\x3d\x03\x01\x07", 8))
		ec->curve = BR_EC_secp256r1;
	else if (der_is(curve, "\x2b\x81\x04\x00\x22", 5))
		ec->curve = BR_EC_secp384r1;
	else if (der_is(curve, "\x2b\x81\x04\x00\x23", 5))
		ec->curve = BR_EC_secp521r1;
	else
		return false;
	ec->q = der_bytes(point);
	ec->qlen = point.n;
	return point.n > 0;
}

/* From a subject and a subjectPublicKeyInfo; false if the key is of no use to us. */
static bool anchor_set(br_x509_trust_anchor *anchor, struct der subject, struct der key, bool ca)
{
	struct der info, algorithm, oid, bits, curve;

	memset(anchor, 0, sizeof *anchor);
	anchor->dn.data = der_bytes(subject);
	anchor->dn.len = subject.n;
	anchor->flags = ca ? BR_X509_TA_CA : 0;
	if (!der_take(&key, DER_SEQUENCE, &info) || !der_take(&info, DER_SEQUENCE, &algorithm) ||
	    !der_take(&algorithm, DER_OID, &oid) || !der_bits(&info, &bits))
		return false;
	if (der_is(oid, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9)) {
		anchor->pkey.key_type = BR_KEYTYPE_RSA;
		return anchor_rsa(bits, &anchor->pkey.key.rsa);
	}
	anchor->pkey.key_type = BR_KEYTYPE_EC;
	return der_is(oid, "\x2a\x86\x48\xce\x3d\x02\x01", 7) && der_take(&algorithm, DER_OID, &curve) &&
	       anchor_ec(curve, bits, &anchor->pkey.key.ec);
}

/* basicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, ... }.  Without the extension, as in the first version of
 * certificates, the user's word that it is a root has to do. */
static bool certificate_extensions(struct der tbs, bool *ca)
{
	struct der all, list, extension, oid, skipped, value, constraints, flag;

	*ca = true;
	while (tbs.n && tbs.s[0] != DER_CONTEXT + 3)
		if (!der_take(&tbs, tbs.s[0], &skipped))
			return false;
	if (!tbs.n)
		return true;
	if (!der_take(&tbs, DER_CONTEXT + 3, &all) || !der_take(&all, DER_SEQUENCE, &list))
		return false;
	while (list.n) {
		if (!der_take(&list, DER_SEQUENCE, &extension) || !der_take(&extension, DER_OID, &oid))
			return false;
		der_take(&extension, DER_BOOLEAN, &skipped);
		if (!der_is(oid, "\x55\x1d\x13", 3))
			continue;
		if (!der_take(&extension, DER_OCTETS, &value) || !der_take(&value, DER_SEQUENCE, &constraints))
			return false;
		*ca = der_take(&constraints, DER_BOOLEAN, &flag) && flag.n == 1 && flag.s[0];
	}
	return true;
}

static bool certificate_parse(struct der certificate, br_x509_trust_anchor *anchor)
{
	static const unsigned before_subject[] = {DER_INTEGER, DER_SEQUENCE, DER_SEQUENCE, DER_SEQUENCE};
	struct der body, tbs, skipped, subject, key;
	bool ca;
	size_t i;

	if (!der_take(&certificate, DER_SEQUENCE, &body) || certificate.n || !der_take(&body, DER_SEQUENCE, &tbs))
		return false;
	der_take(&tbs, DER_CONTEXT, &skipped); /* the version, where there is one */
	for (i = 0; i < countof(before_subject); i++)
		if (!der_take(&tbs, before_subject[i], &skipped))
			return false;
	return der_next(&tbs, DER_SEQUENCE, &subject, &skipped) && der_next(&tbs, DER_SEQUENCE, &key, &skipped) &&
	       certificate_extensions(tbs, &ca) && anchor_set(anchor, subject, key, ca);
}

/* What OpenSSL puts behind a trusted certificate is cut off. */
static bool certificate_first(struct der *certificate)
{
	struct der whole, content;

	if (!der_next(certificate, DER_SEQUENCE, &whole, &content))
		return false;
	*certificate = whole;
	return true;
}

/* UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 has them: digits down to the second, then Z. */
static bool der_time(struct der *in, int64_t *us)
{
	enum { UTC_TIME = 0x17, GENERALIZED_TIME = 0x18 };
	bool utc = in->n && in->s[0] == UTC_TIME;
	const char *s;
	struct der content;
	char text[TIME_SIZE];
	size_t year = utc ? 2 : 4;

	if (!der_take(in, utc ? UTC_TIME : GENERALIZED_TIME, &content) || content.n != year + 11)
		return false;
	s = (const char *)content.s;
	snprintf(text, sizeof text, "%s%.*s-%.2s-%.2sT%.2s:%.2s:%.3s",
		 !utc       ? ""
		 : *s < '5' ? "20"
			    : "19",
		 (int)year, s, s + year, s + year + 2, s + year + 4, s + year + 6, s + year + 8);
	return time_parse(str_of(text), us);
}

/* From when until when a certificate is valid, microseconds since 1970. */
static bool certificate_dates(struct der certificate, int64_t *from, int64_t *until)
{
	static const unsigned before_dates[] = {DER_INTEGER, DER_SEQUENCE, DER_SEQUENCE};
	struct der body, tbs, skipped, dates;
	size_t i;

	if (!der_take(&certificate, DER_SEQUENCE, &body) || !der_take(&body, DER_SEQUENCE, &tbs))
		return false;
	der_take(&tbs, DER_CONTEXT, &skipped);
	for (i = 0; i < countof(before_dates); i++)
		if (!der_take(&tbs, before_dates[i], &skipped))
			return false;
	return der_take(&tbs, DER_SEQUENCE, &dates) && der_time(&dates, from) && der_time(&dates, until);
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { BASE64_BLANK = 64, BASE64_PADDING, BASE64_END, BASE64_BAD };

/* What each byte means: a digit's value, or one of the above.  Looking it up costs a fifth of comparing. */
static void base64_values(unsigned char values[256])
{
	unsigned i;

	memset(values, BASE64_BAD, 256);
	for (i = 0; i < 64; i++)
		values[(unsigned char)base64_alphabet[i]] = (unsigned char)i;
	values['\n'] = values['\r'] = values[' '] = values['\t'] = BASE64_BLANK;
	values['='] = BASE64_PADDING;
	values['-'] = BASE64_END;
}

/* Decodes in place up to the first '-', where s then points. */
static bool base64_decode(struct str *s, const unsigned char values[256], struct der *out)
{
	const unsigned char *from = (const unsigned char *)s->s, *end = from + s->n;
	unsigned char *to = (unsigned char *)(uintptr_t)s->s;
	uint32_t bits = 0;
	unsigned have = 0, padding = 0, value = BASE64_BLANK;

	out->s = to;
	for (; from < end && (value = values[*from]) < BASE64_END; from++) {
		if (value < 64 && !padding) {
			bits = bits << 6 | value;
			have += 6;
			if (have >= 8) {
				have -= 8;
				*to++ = (unsigned char)(bits >> have);
			}
		} else if (value != BASE64_BLANK && (value != BASE64_PADDING || ++padding > 2)) {
			value = BASE64_BAD;
			break;
		}
	}
	out->n = (size_t)(to - out->s);
	str_skip(s, (size_t)(from - (const unsigned char *)s->s));
	return value == BASE64_END && have < 6;
}

/* What follows the next `mark`, or false if there is none. */
static bool str_find(struct str *s, const char *mark)
{
	size_t n = strlen(mark);

	while (s->n >= n) {
		const char *at = memchr(s->s, *mark, s->n - n + 1);
		if (!at)
			return false;
		str_skip(s, (size_t)(at - s->s));
		if (memcmp(s->s, mark, n) == 0) {
			str_skip(s, n);
			return true;
		}
		str_skip(s, 1);
	}
	return false;
}

/* RFC 7468 section 5, and two older names: OpenSSL's for a certificate with its trust behind it, and X.509's. */
static bool pem_label(struct str text, struct str *label)
{
	static const char *const labels[] = {"CERTIFICATE-----", "TRUSTED CERTIFICATE-----", "X509 CERTIFICATE-----"};
	size_t i;

	for (i = 0; i < countof(labels); i++) {
		*label = str_of(labels[i]);
		if (text.n >= label->n && memcmp(text.s, label->s, label->n) == 0)
			return true;
	}
	return false;
}

static const char pem_begin[] = "-----BEGIN ", pem_end[] = "-----END ";

/* Goes to what follows the next line that begins a certificate. */
static bool pem_next(struct str *text, struct str *label)
{
	while (str_find(text, pem_begin))
		if (pem_label(*text, label)) {
			str_skip(text, label->n);
			return true;
		}
	return false;
}

static bool pem_ends(struct str text, struct str label)
{
	size_t n = sizeof pem_end - 1;

	return text.n >= n + label.n && memcmp(text.s, pem_end, n) == 0 && memcmp(text.s + n, label.s, label.n) == 0;
}

/* Fills t from t->file, whose text is decoded in place; false without memory.  What cannot be used is counted. */
static bool trust_pem(struct trust *t, size_t length)
{
	struct str text = {t->file, length}, counting = text, label;
	unsigned char values[256];
	struct der certificate;
	size_t most = 0;

	base64_values(values);
	while (pem_next(&counting, &label))
		most++;
	t->anchors = most ? calloc(most, sizeof *t->anchors) : NULL;
	if (most && !t->anchors)
		return false;
	while (pem_next(&text, &label)) {
		bool good = base64_decode(&text, values, &certificate) && pem_ends(text, label) &&
			    (*label.s == 'T' ? certificate_first(&certificate) : true) &&
			    certificate_parse(certificate, &t->anchors[t->count]);
		assert(t->count < most);
		if (good)
			t->count++;
		else
			t->left_out++;
	}
	return true;
}

/* The roots that were built in: for each a subject and a key. */
static bool trust_built_in(struct trust *t)
{
	struct der in = {NULL, 0}, subject, key, skipped;

	t->anchors = calloc(ROOTS_COUNT + 1, sizeof *t->anchors);
	t->file = http_gunzip(roots_gzip, sizeof roots_gzip, ROOTS_LENGTH, &in.n);
	if (!t->anchors || !t->file)
		return false;
	in.s = (const unsigned char *)t->file;
	while (t->count != ROOTS_COUNT && der_next(&in, DER_SEQUENCE, &subject, &skipped) &&
	       der_next(&in, DER_SEQUENCE, &key, &skipped)) {
		if (anchor_set(&t->anchors[t->count], subject, key, true))
			t->count++;
	}
	return true;
}

int file_read(const char *name, size_t limit, struct json_out *bytes)
{
	char chunk[READ_SIZE];
	int fd, error = 0;
	ssize_t n;

	do
		fd = name ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return errno;
	do {
		n = read(fd, chunk, sizeof chunk);
		if (n > 0)
			json_put(bytes, (struct str){chunk, (size_t)n});
		if (n < 0 && errno != EINTR)
			error = errno;
		else if (bytes->failed)
			error = ENOMEM;
		else if (bytes->length > limit)
			error = EFBIG;
	} while (n && !error);
	if (name)
		close(fd);
	return error;
}

static void trust_free(struct trust *t)
{
	free(t->anchors);
	free(t->file);
	memset(t, 0, sizeof *t);
}

/* 0, or the errno why the file gives no anchors; EINVAL: it holds none. */
static int trust_file(struct trust *t, const char *path)
{
	struct json_out bytes = {0};
	int error = file_read(path, TRUST_FILE_LIMIT, &bytes);

	t->file = bytes.bytes;
	if (!error && !trust_pem(t, bytes.length))
		error = ENOMEM;
	if (!error && !t->count)
		error = EINVAL;
	if (error) {
		size_t left_out = t->left_out;
		trust_free(t);
		t->left_out = left_out;
	}
	return error;
}

/* A file that the user named must be good; it is named by the option or variable that holds it. */
static bool trust_named(struct trust *t, const char *option, const char *path, struct error *error)
{
	int number = trust_file(t, path);

	if (number == EINVAL)
		fail(error, "%s: %.150s: no usable certificate among %lu; a PEM file is expected", option, path,
		     (unsigned long)t->left_out);
	else if (number)
		fail(error, "%s: %.150s: %s", option, path, strerror(number));
	return number == 0;
}

static bool trust_default(struct trust *t, struct error *error)
{
	static const char *const usual[] = {
		"/etc/ssl/certs/ca-certificates.crt",     /* Debian, Arch, Alpine */
		"/etc/pki/tls/certs/ca-bundle.crt",       /* Fedora, RHEL */
		"/etc/ssl/ca-bundle.pem",                 /* SUSE */
		"/etc/ssl/cert.pem",                      /* OpenBSD, macOS, Alpine */
		"/usr/local/share/certs/ca-root-nss.crt", /* FreeBSD */
	};
	int number = ENOENT;
	size_t i;

	for (i = 0; i < countof(usual) && number && number != ENOMEM; i++)
		number = trust_file(t, usual[i]);
	if (number && number != ENOMEM)
		number = trust_built_in(t) ? 0 : ENOMEM;
	if (number)
		fail(error, "no memory for the trust roots");
	else if (!t->count)
		fail(error, "ca_file: this system has no usual file of trust roots, and none are built in; "
			    "name a PEM file");
	return !number && t->count;
}

/* A named file is looked at even if no TLS follows, because the user named it. */
static bool trust_open(struct trust *t, const struct http_options *o, bool tls, struct error *error)
{
	if (o->ca_file && *o->ca_file)
		return trust_named(t, o->ca_file_name ? o->ca_file_name : "ca_file", o->ca_file, error);
	return !tls || trust_default(t, error);
}

/* ---- Proxies: whom they are not for, and what they are asked ---- */

/* Is the host this domain of no_proxy, or within it?  The domain may begin with "." or "*." and end with a dot. */
static bool host_within(const struct url *u, struct str domain)
{
	size_t n = strlen(u->host);

	if (domain.n > 1 && domain.s[0] == '*' && domain.s[1] == '.')
		str_skip(&domain, 1);
	if (domain.n && *domain.s == '.')
		str_skip(&domain, 1);
	if (domain.n > 1 && domain.s[domain.n - 1] == '.')
		domain.n--;
	if (!domain.n || domain.n > n || !str_is_word(domain, u->host + n - domain.n))
		return false;
	return domain.n == n || (u->family == AF_UNSPEC && u->host[n - domain.n - 1] == '.');
}

/* The bytes of a numeric address; the length, or 0 if it is none of the family. */
static size_t address_bytes(int family, struct str text, unsigned char bytes[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (family == AF_UNSPEC || text.n >= sizeof copy)
		return 0;
	memcpy(copy, text.s, text.n);
	copy[text.n] = '\0';
	if (inet_pton(family, copy, bytes) != 1)
		return 0;
	return family == AF_INET ? 4 : 16;
}

/* Is a numeric host in this network, ADDRESS/BITS (RFC 4632 section 3.1)? */
static bool host_in_network(const struct url *u, struct str address, struct str bits_text)
{
	unsigned char host[16], network[16];
	size_t length = address_bytes(u->family, address, network), bits = 0, i;
	int64_t number;

	if (!length || !address_bytes(u->family, str_of(u->host), host) || !take_number(&bits_text, &number) ||
	    bits_text.n || number > (int64_t)length * 8)
		return false;
	bits = (size_t)number;
	for (i = 0; i < bits; i++)
		if ((host[i / 8] ^ network[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

/* An IPv6 address may stand in brackets, and spelt in another way; a port may follow whatever is no bare one. */
static bool host_matches(const struct url *u, struct str entry)
{
	struct str address = entry, port = {NULL, 0};
	unsigned char a[16], b[16];
	size_t length;
	int64_t number;

	if (memchr(entry.s, '/', entry.n)) {
		address = str_cut(&entry, '/');
		return host_in_network(u, address, entry);
	}
	if (*entry.s == '[') {
		str_skip(&entry, 1);
		address = str_cut(&entry, ']');
		port = entry;
		str_cut(&port, ':');
	} else if (!address_bytes(AF_INET6, entry, a)) {
		port = entry;
		address = str_cut(&port, ':');
	}
	if (port.n && (!take_number(&port, &number) || port.n || number != u->port))
		return false;
	length = address_bytes(u->family, address, a);
	if (length)
		return address_bytes(u->family, str_of(u->host), b) && memcmp(a, b, length) == 0;
	return host_within(u, address);
}

/* Entries are separated by commas or blanks. */
static bool proxy_exempt(const struct url *u, const char *list)
{
	struct str entry;

	for (; list && *list; list += strspn(list, ", \t")) {
		entry.s = list;
		entry.n = strcspn(list, ", \t");
		if (entry.n && (str_is_word(entry, "*") || host_matches(u, entry)))
			return true;
		list += entry.n;
	}
	return false;
}

static char *base64_encode(char *to, const unsigned char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i += 3) {
		uint32_t bits =
			(uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
		*to++ = base64_alphabet[bits >> 18];
		*to++ = base64_alphabet[bits >> 12 & 63];
		*to++ = i + 1 < n ? base64_alphabet[bits >> 6 & 63] : '=';
		*to++ = i + 2 < n ? base64_alphabet[bits & 63] : '=';
	}
	return to;
}

/* Writes what percent-encoded text means; returns its length. */
static size_t percent_decode(unsigned char *to, struct str s)
{
	size_t n = 0;

	for (; s.n; str_skip(&s, 1)) {
		if (*s.s == '%' && s.n > 2 && hex_value(s.s[1]) >= 0 && hex_value(s.s[2]) >= 0) {
			to[n++] = (unsigned char)(hex_value(s.s[1]) << 4 | hex_value(s.s[2]));
			str_skip(&s, 2);
		} else {
			to[n++] = (unsigned char)*s.s;
		}
	}
	return n;
}

/* A user's name with a colon would end there (RFC 7617 section 2). */
static bool user_has_colon(struct str user)
{
	for (; user.n && *user.s != ':'; str_skip(&user, 1))
		if (user.n > 2 && user.s[0] == '%' && user.s[1] == '3' && to_lower(user.s[2]) == 'a')
			return true;
	return false;
}

/* user-id ":" password, without percent-encoding; the colon is there even if the password is not.  `to` has room for
 * one byte more than the text. */
static size_t user_pass(unsigned char *to, struct str user)
{
	size_t n = percent_decode(to, user);

	if (!user.n || !memchr(user.s, ':', user.n))
		to[n++] = ':';
	return n;
}

/* The CONNECT request (RFC 9110 section 9.3.6), with the proxy's own credentials (RFC 7617) and never the token. */
static char *tunnel_text(const struct url *origin, struct str user)
{
	bool brackets = origin->family == AF_INET6;
	size_t size = 2 * NAME_SIZE + 100 + user.n * 2, n;
	unsigned char *plain = malloc(user.n + 1);
	char *text = malloc(size), authority[NAME_SIZE];

	if (plain && text) {
		snprintf(authority, sizeof authority, "%s%s%s:%u", brackets ? "[" : "", origin->host,
			 brackets ? "]" : "", (unsigned)origin->port);
		n = (size_t)snprintf(text, size, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority);
		if (user.s) {
			n += (size_t)snprintf(text + n, size - n, "Proxy-Authorization: Basic ");
			n = (size_t)(base64_encode(text + n, plain, user_pass(plain, user)) - text);
			n += (size_t)snprintf(text + n, size - n, "\r\n");
		}
		snprintf(text + n, size - n, "\r\n");
	} else {
		free(text);
		text = NULL;
	}
	free(plain);
	return text;
}

/* ================================================================================
 * Part 2: one connection.
 * ================================================================================ */

/* ---- What a client holds ---- */

/* In the order in which they are passed: below BUSY a connection is not open yet. */
enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_PROXY, CONN_HANDSHAKE, CONN_BUSY, CONN_IDLE };

enum failure {
	FAILED_AGAIN, /* may go better next time */
	FAILED_STALE, /* a kept-alive connection that the server had closed: no attempt */
	FAILED_OVER,  /* an answer over a limit: HTTP_TOO_LARGE */
	FAILED_HOST,  /* no connection, and none to be had: HTTP_UNREACHABLE */
	FAILED_TRUST, /* HTTP_UNTRUSTED */
	FAILED_NO_MEMORY
};

/* Stands between the engine and BearSSL's check of a certificate chain, and remembers whose dates are wrong. */
struct chain_watch {
	const br_x509_class *vtable;
	br_x509_minimal_context x509;
	unsigned char certificate[CERTIFICATE_SIZE]; /* as much as there is room for */
	size_t length;
	unsigned number; /* of certificates seen */
	unsigned wrong;  /* the number of the first one with wrong dates, 0: none */
	int64_t from, until;
};

/* Notes that the server asks for a client certificate, and has none. */
struct certificate_request {
	const br_ssl_client_certificate_class *vtable;
	bool seen;
};

struct tls {
	br_ssl_client_context client;
	struct chain_watch chain;
	struct certificate_request request;
	unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
};

struct address {
	struct sockaddr_storage name;
	socklen_t length;
};

/* An address that is being connected to. */
struct dial {
	int fd;
	size_t address; /* its place among h->addresses */
	int64_t deadline;
	bool ready;
};

struct conn {
	enum conn_state state;
	int fd; /* -1 when closed or CONNECTING */
	short events;
	bool secure;           /* TLS is spoken from HANDSHAKE on */
	bool reused;           /* has carried an answer before */
	bool greeted;          /* the handshake is done */
	bool received;         /* a byte has come */
	unsigned char opening; /* the first one: the type of a TLS record */
	bool surplus;          /* bytes came after the answer */
	struct http_request *request;
	struct tls *tls;
	int64_t deadline, open_by; /* on the clock deadline_clock() */
	int64_t idle_since;        /* on the clock h->now */
	struct dial dials[DIALS];  /* of CONNECTING */
	unsigned dial_count;
	int64_t dial_at;       /* when the next address is due, on the clock deadline_clock() */
	size_t first, tried;   /* addresses: the first one, how many were begun */
	size_t place;          /* of the one that connected, or was begun last */
	struct address failed; /* the last one that failed */
	unsigned outage;       /* h->outage when it was begun */
	bool no_name;          /* the host's name does not exist */
	const char *out;       /* what is to be sent, and how much of it has been */
	size_t out_length, out_sent;
	int error; /* errno of the socket; 0: end of file */
	uint64_t bytes;
	enum verdict verdict;
	enum failure failure;
	struct error why;
};

enum request_state { WAITING, ACTIVE, FINISHED, RETURNED };

struct http_request {
	struct http_request *next; /* oldest first */
	enum request_state state;
	uint64_t rank, finished; /* finished: its place among the finished */
	char *text, *path;       /* the request as sent; its path for messages */
	size_t length;
	struct lane *lane;
	unsigned window;        /* the lane's, when it was sent */
	int64_t ready_at;       /* not to be sent before */
	int64_t held_before;    /* the lane's held_ms when the request was first sent */
	int64_t waited_ms;      /* pauses that the server asked for in answers to this request */
	int64_t began, outside; /* deadline_clock() and h->outside at the attempt's start */
	unsigned attempts;
	bool sent;  /* in some attempt */
	bool plain; /* no coding is asked for */
	struct answer answer;
	struct http_response response;
	struct error error;
};

/* What the server counts together.  Nothing is sent before hold_until.  A window lies between two holds; `allowed` is
 * how many requests of the present window may be under way at once, and grows with each that is answered, so that a
 * limit is found by few requests. */
struct lane {
	int64_t hold_until, announced_until;
	int64_t held_ms;         /* sum of all holds, the present one to its end */
	int64_t held_at_answer;  /* how much of that had passed when a request was last answered */
	const char *hold_reason; /* of the present hold */
	unsigned window;         /* its number */
	unsigned active;         /* requests of this window under way */
	unsigned allowed;
	unsigned answered, last_answered; /* in this window; in the one before */
	unsigned refusals;                /* windows in a row that a 429 ended without an answer */
};

enum session_state { SESSION_UNKNOWN, SESSION_KEPT, SESSION_NONE };

struct http {
	struct http_options options; /* the numbers and hooks; its strings are NULL */
	struct url origin, proxy;
	bool tunnel;                /* through the proxy */
	char *base_url, *proxy_url; /* what origin and proxy point into */
	char *fields, *tunnel_text; /* the header fields of every request; the CONNECT request */
	struct trust trust;
	struct address addresses[ADDRESSES];
	size_t address_count, address_first;       /* where the next connection begins */
	int64_t now, left_at, stopped_ms, outside; /* milliseconds; see the notes above */
	struct http_request *requests, **last;
	uint64_t finished;
	unsigned poll_failures; /* in a row */
	int64_t tell_at;        /* on h->now: no HTTP_WAITING before */
	struct lane lanes[HTTP_LANES];
	int64_t limited_until; /* the end of all holds that the statistics know */
	/* While no connection can be opened, one request tries and the others wait. */
	unsigned failed_openings; /* in a row */
	unsigned outage;          /* grows with each of them */
	int64_t open_at;          /* no connection is begun before */
	enum session_state session_state;
	br_ssl_session_parameters session;
	struct http_stats stats;
	uint64_t random;
	struct conn conns[HTTP_CONNECTIONS];
};

/* The clock of the deadlines: it runs only while http_next can work. */
static int64_t deadline_clock(const struct http *h)
{
	return h->now - h->stopped_ms;
}

/* How a step of a connection ends. */
enum step {
	STEP_MOVED, /* to another state: go on */
	STEP_ANSWERED,
	STEP_FAILED, /* c->failure and c->why say how */
	STEP_READS,  /* the connection waits until its socket can be read, */
	STEP_WRITES, /* or written, */
	STEP_BOTH    /* or either */
};

static bool step_waits(enum step step)
{
	return step >= STEP_READS;
}

/* The one place that says what a connection's socket is polled for. */
static void conn_wait(struct conn *c, enum step step)
{
	assert(step_waits(step));
	c->events = (short)((step != STEP_WRITES ? POLLIN : 0) | (step != STEP_READS ? POLLOUT : 0));
}

static enum step conn_failed(struct conn *, enum failure, const char *format, ...) PRINTF_LIKE(3, 4);

static enum step conn_failed(struct conn *c, enum failure failure, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->why.text, sizeof c->why.text, format, args);
	va_end(args);
	c->failure = failure;
	return STEP_FAILED;
}

/* ---- TLS profile (RFC 5246, 5288, 7905) and the engine's step ---- */

/* BearSSL hands each function the address of the vtable pointer, which stands first. */
static struct chain_watch *chain_of(const br_x509_class **context)
{
	return (struct chain_watch *)(void *)context;
}

static void chain_start(const br_x509_class **context, const char *server_name)
{
	struct chain_watch *w = chain_of(context);

	w->number = w->wrong = 0;
	w->x509.vtable->start_chain(&w->x509.vtable, server_name);
}

static void chain_certificate(const br_x509_class **context, uint32_t length)
{
	struct chain_watch *w = chain_of(context);

	w->length = 0;
	w->number++;
	w->x509.vtable->start_cert(&w->x509.vtable, length);
}

static void chain_append(const br_x509_class **context, const unsigned char *bytes, size_t length)
{
	struct chain_watch *w = chain_of(context);
	size_t room = sizeof w->certificate - w->length, n = length < room ? length : room;

	memcpy(w->certificate + w->length, bytes, n);
	w->length += n;
	w->x509.vtable->append(&w->x509.vtable, bytes, length);
}

static void chain_certificate_end(const br_x509_class **context)
{
	struct chain_watch *w = chain_of(context);
	struct der certificate = {w->certificate, w->length};
	int64_t from, until, now = wall_us();

	if (!w->wrong && certificate_dates(certificate, &from, &until) && (now < from || now > until)) {
		w->wrong = w->number;
		w->from = from;
		w->until = until;
	}
	w->x509.vtable->end_cert(&w->x509.vtable);
}

static unsigned chain_end(const br_x509_class **context)
{
	struct chain_watch *w = chain_of(context);

	return w->x509.vtable->end_chain(&w->x509.vtable);
}

static const br_x509_pkey *chain_key(const br_x509_class *const *context, unsigned *usages)
{
	const struct chain_watch *w = (const struct chain_watch *)(const void *)context;

	return w->x509.vtable->get_pkey(&w->x509.vtable, usages);
}

static const br_x509_class chain_class = {sizeof(struct chain_watch), chain_start, chain_certificate, chain_append,
					  chain_certificate_end,      chain_end,   chain_key};

static void request_names(const br_ssl_client_certificate_class **context)
{
	(void)context;
}

static void request_name(const br_ssl_client_certificate_class **context, size_t length)
{
	(void)context;
	(void)length;
}

static void request_name_bytes(const br_ssl_client_certificate_class **context, const unsigned char *bytes,
			       size_t length)
{
	(void)context;
	(void)bytes;
	(void)length;
}

/* No chain: the client sends an empty certificate, and the server decides whether it goes on.  BearSSL reads the rest of
 * the choice all the same, and a hash of 0xff would mean static ECDH. */
static void request_choose(const br_ssl_client_certificate_class **context, const br_ssl_client_context *client,
			   uint32_t types, br_ssl_client_certificate *choices)
{
	(void)client;
	(void)types;
	((struct certificate_request *)(void *)context)->seen = true;
	choices->auth_type = 0;
	choices->hash_id = 0;
	choices->chain = NULL;
	choices->chain_len = 0;
}

static uint32_t request_key(const br_ssl_client_certificate_class **context, unsigned char *bytes, size_t *length)
{
	(void)context;
	(void)bytes;
	(void)length;
	return 0;
}

static size_t request_sign(const br_ssl_client_certificate_class **context, int hash, size_t hash_length,
			   unsigned char *bytes, size_t length)
{
	(void)context;
	(void)hash;
	(void)hash_length;
	(void)bytes;
	(void)length;
	return 0;
}

static const br_ssl_client_certificate_class request_class = {sizeof(struct certificate_request),
							      request_names,
							      request_name,
							      request_name_bytes,
							      request_names,
							      request_names,
							      request_choose,
							      request_key,
							      request_sign};

static bool aes_is_fast(void)
{
	return (br_aes_x86ni_ctr_get_vtable() && br_ghash_pclmul_get()) ||
	       (br_aes_pwr8_ctr_get_vtable() && br_ghash_pwr8_get());
}

static void tls_suites(br_ssl_engine_context *engine)
{
	/* ChaCha20 stands at both ends: without the first two AES comes first, without the last two it does not. */
	static const uint16_t suites[] = {
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,       BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,       BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	};

	br_ssl_engine_set_suites(engine, suites + (aes_is_fast() ? 2 : 0), countof(suites) - 2);
}

/* By hand what br_ssl_client_init_full does, without what we refuse: older versions, CBC, RSA key exchange, MD5,
 * SHA-1. */
static void tls_profile(struct tls *t, const struct trust *trust)
{
	static const struct {
		int id;
		const br_hash_class *hash;
	} hashes[] = {{br_sha256_ID, &br_sha256_vtable},
		      {br_sha384_ID, &br_sha384_vtable},
		      {br_sha512_ID, &br_sha512_vtable}};
	br_ssl_engine_context *engine = &t->client.eng;
	size_t i;

	br_ssl_client_zero(&t->client);
	br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_all_flags(engine, BR_OPT_NO_RENEGOTIATION);
	tls_suites(engine);
	br_ssl_engine_set_default_rsavrfy(engine);
	br_ssl_engine_set_default_ecdsa(engine);
	t->chain.vtable = &chain_class;
	t->request.vtable = &request_class;
	t->request.seen = false;
	br_ssl_client_set_client_certificate(&t->client, &t->request.vtable);
	br_x509_minimal_init(&t->chain.x509, &br_sha256_vtable, trust->anchors, trust->count);
	br_x509_minimal_set_rsa(&t->chain.x509, br_ssl_engine_get_rsavrfy(engine));
	br_x509_minimal_set_ecdsa(&t->chain.x509, br_ssl_engine_get_ec(engine), br_ssl_engine_get_ecdsa(engine));
	br_x509_minimal_set_minrsa(&t->chain.x509, RSA_LEAST);
	for (i = 0; i < countof(hashes); i++) {
		br_ssl_engine_set_hash(engine, hashes[i].id, hashes[i].hash);
		br_x509_minimal_set_hash(&t->chain.x509, hashes[i].id, hashes[i].hash);
	}
	br_ssl_engine_set_x509(engine, &t->chain.vtable);
	br_ssl_engine_set_prf_sha256(engine, &br_tls12_sha256_prf);
	br_ssl_engine_set_prf_sha384(engine, &br_tls12_sha384_prf);
	br_ssl_engine_set_default_aes_gcm(engine);
	br_ssl_engine_set_default_chapol(engine);
}

/* The buffer must be set before the reset, the session too.  The host is never empty: url_parse saw to it, because an
 * empty one would turn the check of the name off. */
static enum step tls_start(struct http *h, struct conn *c)
{
	unsigned char seed[ENTROPY];
	br_ssl_engine_context *engine;
	bool resume = h->session_state == SESSION_KEPT;

	if (!c->tls)
		c->tls = malloc(sizeof *c->tls);
	if (!c->tls)
		return conn_failed(c, FAILED_NO_MEMORY, "no memory");
	c->state = CONN_HANDSHAKE;
	tls_profile(c->tls, &h->trust);
	engine = &c->tls->client.eng;
	if (!random_bytes(seed, sizeof seed))
		return conn_failed(c, FAILED_TRUST,
				   "this system has no source of random bytes; TLS needs /dev/urandom");
	br_ssl_engine_inject_entropy(engine, seed, sizeof seed);
	br_ssl_engine_set_buffer(engine, c->tls->buffer, sizeof c->tls->buffer, 1);
	if (resume)
		br_ssl_engine_set_session_parameters(engine, &h->session);
	if (!br_ssl_client_reset(&c->tls->client, h->origin.host, resume))
		return conn_failed(c, FAILED_TRUST, "TLS cannot start (error %d)", br_ssl_engine_last_error(engine));
	c->secure = true;
	return STEP_MOVED;
}

/* The handshake is done: its session serves the connections to come.  A server that keeps none sends an empty id. */
static void tls_keep_session(struct http *h, struct conn *c)
{
	br_ssl_session_parameters now;

	br_ssl_engine_get_session_parameters(&c->tls->client.eng, &now);
	if (h->session_state != SESSION_KEPT || !now.session_id_len ||
	    now.session_id_len != h->session.session_id_len ||
	    memcmp(now.session_id, h->session.session_id, now.session_id_len) != 0)
		h->stats.handshakes++;
	h->session = now;
	h->session_state = now.session_id_len ? SESSION_KEPT : SESSION_NONE;
}

/* What only others can mend. */
#define ASK   "; ask the operator of the server or proxy"
#define RENEW ASK " for another certificate"

/* BearSSL's codes in words, and whether another attempt could go better. */
static const struct tls_text {
	int code;
	enum failure failure;
	const char *text;
} tls_texts[] = {
	{BR_ERR_UNSUPPORTED_VERSION, FAILED_TRUST, "the server does not speak TLS 1.2, which is needed" ASK},
	{BR_ERR_BAD_VERSION, FAILED_TRUST, "the server does not speak TLS 1.2, which is needed" ASK},
	{BR_ERR_BAD_LENGTH, FAILED_AGAIN, "a TLS record of a wrong length"},
	{BR_ERR_TOO_LARGE, FAILED_AGAIN, "a TLS record that is too large"},
	{BR_ERR_BAD_MAC, FAILED_AGAIN, "a TLS record that was changed on its way"},
	{BR_ERR_NO_RANDOM, FAILED_TRUST, "this system has no source of random bytes; TLS needs /dev/urandom"},
	{BR_ERR_UNKNOWN_TYPE, FAILED_AGAIN, "a TLS record of an unknown type"},
	{BR_ERR_UNEXPECTED, FAILED_AGAIN, "a TLS message that was not due"},
	{BR_ERR_BAD_CCS, FAILED_AGAIN, "a malformed TLS message (ChangeCipherSpec)"},
	{BR_ERR_BAD_ALERT, FAILED_AGAIN, "a malformed TLS alert"},
	{BR_ERR_BAD_HANDSHAKE, FAILED_AGAIN, "a malformed TLS handshake message"},
	{BR_ERR_OVERSIZED_ID, FAILED_AGAIN, "a TLS session identifier that is too long"},
	{BR_ERR_BAD_CIPHER_SUITE, FAILED_TRUST, "the server chose a TLS cipher suite that was not offered"},
	{BR_ERR_BAD_COMPRESSION, FAILED_TRUST, "the server chose a TLS compression that was not offered"},
	{BR_ERR_BAD_FRAGLEN, FAILED_TRUST, "the server chose a TLS fragment length that was not offered"},
	{BR_ERR_BAD_SECRENEG, FAILED_TRUST, "the server's answer on TLS renegotiation is wrong"},
	{BR_ERR_EXTRA_EXTENSION, FAILED_TRUST, "the server sent a TLS extension that was not asked for"},
	{BR_ERR_BAD_SNI, FAILED_TRUST, "the server's answer on the TLS server name is wrong"},
	{BR_ERR_BAD_HELLO_DONE, FAILED_AGAIN, "a malformed TLS handshake message (ServerHelloDone)"},
	{BR_ERR_LIMIT_EXCEEDED, FAILED_TRUST, "the server's key is too large"},
	{BR_ERR_BAD_FINISHED, FAILED_AGAIN, "the TLS handshake was changed on its way"},
	{BR_ERR_RESUME_MISMATCH, FAILED_AGAIN, "the server resumed a TLS session in another way than it was made"},
	{BR_ERR_BAD_SIGNATURE, FAILED_TRUST, "the server's TLS signature is wrong"},
	{BR_ERR_WRONG_KEY_USAGE, FAILED_TRUST, "its certificate's key is not meant for this use"},
	{BR_ERR_INVALID_ALGORITHM, FAILED_TRUST,
	 "the server signs the TLS handshake with an algorithm or curve that is not supported"},
	{BR_ERR_X509_UNSUPPORTED, FAILED_TRUST,
	 "its certificate has a signature or key that is not accepted (SHA-1, RSA-PSS, Ed25519)" RENEW},
	{BR_ERR_X509_LIMIT_EXCEEDED, FAILED_TRUST, "its certificate has a key or name that is too large"},
	{BR_ERR_X509_WRONG_KEY_TYPE, FAILED_TRUST, "its certificate's key is of another kind than the TLS suite needs"},
	{BR_ERR_X509_BAD_SIGNATURE, FAILED_TRUST, "a signature in its certificate chain is wrong"},
	{BR_ERR_X509_TIME_UNKNOWN, FAILED_TRUST, "this system's clock cannot be read, and certificates have dates"},
	{BR_ERR_X509_DN_MISMATCH, FAILED_TRUST,
	 "its certificates come in the wrong order; the server must send its own first, and each issuer once"},
	{BR_ERR_X509_CRITICAL_EXTENSION, FAILED_TRUST,
	 "its certificate chain has a critical extension that is not supported (name constraints, say)"},
	{BR_ERR_X509_NOT_CA, FAILED_TRUST, "its certificate was signed by one that is no authority"},
	{BR_ERR_X509_FORBIDDEN_KEY_USAGE, FAILED_TRUST, "its certificate is not meant for this use"},
	{BR_ERR_X509_WEAK_PUBLIC_KEY, FAILED_TRUST, "its certificate chain has an RSA key below 2048 bits" RENEW},
};

/* Alerts (RFC 5246 section 7.2; 112: RFC 6066, 116 and 120: their TLS 1.3 and ALPN names).  refusal: how it reads if it
 * ends a handshake, and would do so again. */
static const struct alert {
	int number;
	const char *name, *refusal;
} alerts[] = {
	{10, "unexpected_message", NULL},
	{20, "bad_record_mac", NULL},
	{22, "record_overflow", NULL},
	{40, "handshake_failure",
	 "the server has no cipher suite in common with us; TLS 1.2 with ECDHE and AES-GCM or ChaCha20 is needed"},
	{42, "bad_certificate", NULL},
	{43, "unsupported_certificate", NULL},
	{44, "certificate_revoked", NULL},
	{45, "certificate_expired", NULL},
	{46, "certificate_unknown", NULL},
	{47, "illegal_parameter", NULL},
	{48, "unknown_ca", NULL},
	{49, "access_denied", NULL},
	{50, "decode_error", NULL},
	{51, "decrypt_error", NULL},
	{70, "protocol_version", "the server refuses TLS 1.2, which is needed" ASK},
	{71, "insufficient_security",
	 "the server wants stronger cipher suites than TLS 1.2 with ECDHE and AES-GCM or ChaCha20"},
	{80, "internal_error", NULL},
	{90, "user_canceled", NULL},
	{100, "no_renegotiation", NULL},
	{110, "unsupported_extension", NULL},
	{112, "unrecognized_name", "the server does not know this name; check base_url"},
	{116, "certificate_required", "the server wants a client certificate, which is not supported"},
	{120, "no_application_protocol", NULL},
};

/* An alert after the request for a client certificate means nothing but that.  After a good handshake, OpenSSL's servers
 * answer a refused renegotiation with handshake_failure. */
static enum step alert_failed(struct conn *c, int number)
{
	const struct alert *a = NULL;
	size_t i;

	for (i = 0; i < countof(alerts); i++)
		if (alerts[i].number == number)
			a = &alerts[i];
	if (!c->greeted && !c->tls->request.seen && a && a->refusal)
		return conn_failed(c, FAILED_TRUST, "%s", a->refusal);
	return conn_failed(c, FAILED_AGAIN, "the server ended TLS with alert %d%s%s%s%s", number, a ? " (" : "",
			   a ? a->name : "", a ? ")" : "",
			   c->greeted && number == BR_ALERT_HANDSHAKE_FAILURE
				   ? " after a good handshake; it may want to renegotiate, which is not supported"
				   : "");
}

/* Whose dates are wrong, what they are, and what this machine's clock says. */
static enum step chain_expired(struct conn *c)
{
	static const char renew[] = RENEW ", unless the clock is wrong";
	const struct chain_watch *w = &c->tls->chain;
	char now[TIME_SIZE], date[TIME_SIZE] = "";
	bool early = wall_us() < w->from;

	time_format(wall_us(), now);
	if (!w->wrong)
		return conn_failed(c, FAILED_TRUST,
				   "its certificate chain has expired or is not valid yet; this machine's clock says "
				   "%.19sZ%s",
				   now, renew);
	time_format(early ? w->from : w->until, date);
	return conn_failed(c, FAILED_TRUST, "%s %s %.19sZ; this machine's clock says %.19sZ%s",
			   w->wrong == 1 ? "its certificate" : "an intermediate certificate of its chain",
			   early ? "is not valid before" : "has expired on", date, now,
			   early ? ", which may be wrong" : renew);
}

/* The root may be one of those that could not be read. */
static enum step tls_no_root(const struct http *h, struct conn *c)
{
	unsigned long n = h->trust.left_out;
	char note[80] = "";

	if (n)
		snprintf(note, sizeof note, " (%lu certificate%s of the trust file could not be used)", n,
			 n > 1 ? "s" : "");
	return conn_failed(c, FAILED_TRUST,
			   "its certificate leads to no known root, or an intermediate one is missing; name the root's "
			   "PEM file in ca_file%s",
			   note);
}

static enum step tls_failed(const struct http *h, struct conn *c)
{
	int code = br_ssl_engine_last_error(&c->tls->client.eng);
	size_t i;

	if (!c->greeted && c->received && c->opening != TLS_HANDSHAKE && c->opening != TLS_ALERT)
		return conn_failed(c, FAILED_TRUST,
				   "this port does not speak TLS; check base_url and its port, and the proxy");
	/* BearSSL's own server, for one, writes 0.0 into an alert that comes before its choice of a version. */
	if (!c->greeted && c->opening == TLS_ALERT &&
	    (code == BR_ERR_UNSUPPORTED_VERSION || code == BR_ERR_BAD_VERSION))
		return conn_failed(c, FAILED_AGAIN, "the server ended the TLS handshake with an alert");
	if (code == BR_ERR_X509_NOT_TRUSTED)
		return tls_no_root(h, c);
	if (code == BR_ERR_X509_BAD_SERVER_NAME)
		return conn_failed(c, FAILED_TRUST, "its certificate is for another name; %s",
				   h->origin.family == AF_UNSPEC
					   ? "check base_url, and the proxy"
					   : "a numeric host must stand in it as a DNS name or the common name");
	if (code == BR_ERR_X509_EXPIRED)
		return chain_expired(c);
	if (code >= BR_ERR_RECV_FATAL_ALERT && code < BR_ERR_SEND_FATAL_ALERT)
		return alert_failed(c, code - BR_ERR_RECV_FATAL_ALERT);
	for (i = 0; i < countof(tls_texts); i++)
		if (tls_texts[i].code == code)
			return conn_failed(c, c->greeted ? FAILED_AGAIN : tls_texts[i].failure, "%s",
					   tls_texts[i].text);
	if (code > BR_ERR_X509_OK && code <= BR_ERR_X509_NOT_TRUSTED)
		return conn_failed(c, FAILED_TRUST, "its certificate chain is malformed (BearSSL error %d)", code);
	return conn_failed(c, FAILED_AGAIN, "a fault in the TLS protocol (BearSSL error %d)", code);
}

/* How moving bytes ends; the last three as in enum step. */
enum pump {
	PUMP_GOES_ON,
	PUMP_GREETED,
	PUMP_ANSWERED,
	PUMP_CLOSED,
	PUMP_CUT,
	PUMP_FAILED,
	PUMP_READS,
	PUMP_WRITES,
	PUMP_BOTH
};

static enum step pump_step(enum pump pump)
{
	return pump == PUMP_READS ? STEP_READS : pump == PUMP_WRITES ? STEP_WRITES : STEP_BOTH;
}

/* What a socket will not do for now. */
struct flow {
	bool send_blocked, receive_blocked;
	unsigned reads;
};

static bool would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK;
}

static ssize_t socket_send(struct conn *c, const void *bytes, size_t length, struct flow *f)
{
	ssize_t n;

	do
		n = send(c->fd, bytes, length, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	f->send_blocked = n == 0 || (n < 0 && would_block(errno));
	c->error = n < 0 && !f->send_blocked ? errno : 0;
	return n;
}

static ssize_t socket_receive(struct conn *c, void *bytes, size_t length, struct flow *f)
{
	ssize_t n;

	do
		n = recv(c->fd, bytes, length, 0);
	while (n < 0 && errno == EINTR);
	f->receive_blocked = (n < 0 && would_block(errno)) || ++f->reads >= READS;
	c->error = n < 0 && !would_block(errno) ? errno : 0;
	return n;
}

/* Nothing may come on an idle connection. */
static enum pump conn_feed(struct conn *c, const char *bytes, size_t length)
{
	size_t used;

	c->bytes += length;
	if (!c->request)
		return PUMP_CUT;
	c->verdict = answer_feed(&c->request->answer, bytes, length, &used);
	c->surplus = used < length;
	return c->verdict == ANSWER_MORE ? PUMP_GOES_ON : PUMP_ANSWERED;
}

/* After its handshake an engine that only sends is answering a close_notify; whether that arrives is all the same. */
static enum pump tls_send_record(struct conn *c, unsigned state, struct flow *f)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	size_t length;
	unsigned char *bytes = br_ssl_engine_sendrec_buf(engine, &length);
	ssize_t n = socket_send(c, bytes, length, f);

	if (n > 0)
		br_ssl_engine_sendrec_ack(engine, (size_t)n);
	if (n > 0 || f->send_blocked)
		return PUMP_GOES_ON;
	return c->greeted && state == BR_SSL_SENDREC ? PUMP_CLOSED : PUMP_CUT;
}

static enum pump tls_receive_record(struct conn *c, struct flow *f)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	size_t length;
	unsigned char *bytes = br_ssl_engine_recvrec_buf(engine, &length);
	ssize_t n = socket_receive(c, bytes, length, f);

	if (n < 0)
		return f->receive_blocked && !c->error ? PUMP_GOES_ON : PUMP_CUT;
	if (n == 0)
		return PUMP_CUT;
	if (!c->received)
		c->opening = bytes[0];
	c->received = true;
	br_ssl_engine_recvrec_ack(engine, (size_t)n);
	return PUMP_GOES_ON;
}

static enum pump tls_receive_data(struct conn *c)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	size_t length;
	const unsigned char *bytes = br_ssl_engine_recvapp_buf(engine, &length);
	enum pump result = conn_feed(c, (const char *)bytes, length);

	br_ssl_engine_recvapp_ack(engine, length);
	return result;
}

/* Without the flush a short request would stay in the engine. */
static enum pump tls_send_data(struct conn *c)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	size_t room, n = c->out_length - c->out_sent;
	unsigned char *to = br_ssl_engine_sendapp_buf(engine, &room);

	if (n > room)
		n = room;
	memcpy(to, c->out + c->out_sent, n);
	br_ssl_engine_sendapp_ack(engine, n);
	c->out_sent += n;
	if (c->out_sent == c->out_length)
		br_ssl_engine_flush(engine, 0);
	return PUMP_GOES_ON;
}

/* Nothing more can be done now. */
static enum pump tls_wait(struct conn *c, unsigned state)
{
	if (c->greeted && state == BR_SSL_SENDREC)
		return PUMP_CLOSED;
	if (!(state & (BR_SSL_SENDREC | BR_SSL_RECVREC)))
		return PUMP_FAILED;
	return !(state & BR_SSL_SENDREC) ? PUMP_READS : state & BR_SSL_RECVREC ? PUMP_BOTH : PUMP_WRITES;
}

/* Moves what can be moved between socket, engine and answer.  The state is asked for afresh each time, and one thing is
 * done: what must go out first, then what came in, because nothing is received before that is taken. */
static enum pump tls_pump(struct conn *c)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	struct flow f = {false, false, 0};
	enum pump result = PUMP_GOES_ON;

	while (result == PUMP_GOES_ON) {
		unsigned state = br_ssl_engine_current_state(engine);

		if (state & BR_SSL_CLOSED) {
			result = br_ssl_engine_last_error(engine) ? PUMP_FAILED : PUMP_CLOSED;
		} else if (state & BR_SSL_SENDREC && !f.send_blocked) {
			result = tls_send_record(c, state, &f);
		} else if (state & BR_SSL_RECVAPP) {
			result = tls_receive_data(c);
		} else if (state & BR_SSL_SENDAPP && !c->greeted) {
			c->greeted = true;
			result = PUMP_GREETED;
		} else if (state & BR_SSL_SENDAPP && c->out_sent < c->out_length) {
			result = tls_send_data(c);
		} else if (state & BR_SSL_RECVREC && !f.receive_blocked) {
			result = tls_receive_record(c, &f);
		} else {
			result = tls_wait(c, state);
		}
	}
	return result;
}

/* Says good-bye and does not wait for the reply.  Data not taken would keep a BearSSL 0.6 engine from closing. */
static void tls_close(struct conn *c)
{
	br_ssl_engine_context *engine = &c->tls->client.eng;
	struct flow f = {false, false, 0};
	size_t length;

	if (br_ssl_engine_recvapp_buf(engine, &length))
		br_ssl_engine_recvapp_ack(engine, length);
	br_ssl_engine_close(engine);
	if (br_ssl_engine_current_state(engine) & BR_SSL_SENDREC)
		tls_send_record(c, 0, &f);
}

/* The same for a connection without TLS: to a proxy before the tunnel stands, or to this machine. */
static enum pump plain_pump(struct conn *c)
{
	struct flow f = {false, false, 0};
	char bytes[READ_SIZE];
	enum pump result = PUMP_GOES_ON;
	ssize_t n;

	while (c->out_sent < c->out_length && !f.send_blocked) {
		n = socket_send(c, c->out + c->out_sent, c->out_length - c->out_sent, &f);
		if (n < 0 && !f.send_blocked)
			return PUMP_CUT;
		if (n > 0)
			c->out_sent += (size_t)n;
	}
	while (result == PUMP_GOES_ON && !f.receive_blocked) {
		n = socket_receive(c, bytes, sizeof bytes, &f);
		if (n > 0)
			result = conn_feed(c, bytes, (size_t)n);
		else if (n == 0)
			result = PUMP_CLOSED;
		else if (c->error)
			result = PUMP_CUT;
	}
	if (result != PUMP_GOES_ON)
		return result;
	return c->out_sent < c->out_length ? PUMP_BOTH : PUMP_READS;
}

/* ---- Addresses: resolve and connect ---- */

/* Where sockets lead: to the proxy if there is one. */
static const struct url *connect_url(const struct http *h)
{
	return h->tunnel ? &h->proxy : &h->origin;
}

/* The last of the list takes its place. */
static void dial_remove(struct conn *c, unsigned i)
{
	assert(i < c->dial_count);
	c->dials[i] = c->dials[--c->dial_count];
}

static void conn_drop(struct conn *c)
{
	while (c->dial_count)
		close(c->dials[--c->dial_count].fd);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CONN_CLOSED;
	c->request = NULL;
}

static void conn_close(struct conn *c)
{
	if (c->state >= CONN_BUSY && c->secure)
		tls_close(c);
	conn_drop(c);
}

/* From digits. */
static struct address address_of(int family, const char *text, uint16_t port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct address a;

	memset(&v4, 0, sizeof v4);
	memset(&v6, 0, sizeof v6);
	memset(&a, 0, sizeof a);
	v4.sin_family = AF_INET;
	v4.sin_port = htons(port);
	v6.sin6_family = AF_INET6;
	v6.sin6_port = htons(port);
	inet_pton(family, text, family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr);
	a.length = family == AF_INET ? sizeof v4 : sizeof v6;
	memcpy(&a.name, family == AF_INET ? (void *)&v4 : (void *)&v6, a.length);
	return a;
}

static bool address_is_local(const struct address *a)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (a->name.ss_family == AF_INET) {
		memcpy(&v4, &a->name, sizeof v4);
		return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
	}
	memcpy(&v6, &a->name, sizeof v6);
	return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static bool host_is_local(const struct url *u)
{
	struct address a = address_of(u->family, u->host, u->port);

	return address_is_local(&a);
}

/* Adds the addresses of one family, or with AF_UNSPEC of both.  0 or an EAI_ code, and errno for EAI_SYSTEM. */
static int resolver_ask(struct http *h, const struct url *u, int family)
{
	struct addrinfo hints, *list = NULL, *a;
	char name[HOST_SIZE + 1], port[8];
	int error;

	memset(&hints, 0, sizeof hints);
	hints.ai_family = family;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_NUMERICSERV;
	snprintf(name, sizeof name, "%s%s", u->host, u->dot ? "." : "");
	snprintf(port, sizeof port, "%u", (unsigned)u->port);
	error = getaddrinfo(name, port, &hints, &list);
	if (error)
		return error;
	for (a = list; a && h->address_count < ADDRESSES; a = a->ai_next) {
		struct address *to = &h->addresses[h->address_count];
		if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || a->ai_addrlen > sizeof to->name)
			continue;
		memcpy(&to->name, a->ai_addr, a->ai_addrlen);
		to->length = a->ai_addrlen;
		h->address_count++;
	}
	freeaddrinfo(list);
	return h->address_count ? 0 : EAI_NONAME;
}

static bool is_no_name(int error)
{
	return error == EAI_NONAME || error == EAI_NO_DATA;
}

/* A resolver that is asked for both families may fail because of one that has no good answer (musl does so); then each
 * is asked by itself.  A name does not exist only if that is all that was said. */
static int resolver_ask_all(struct http *h, const struct url *u)
{
	static const int families[] = {AF_INET6, AF_INET};
	int error = resolver_ask(h, u, AF_UNSPEC), other;
	size_t i;

	for (i = 0; i < countof(families) && error && error != EAI_MEMORY; i++) {
		other = resolver_ask(h, u, families[i]);
		if (other == EAI_MEMORY || (is_no_name(error) && other))
			error = other;
	}
	return h->address_count ? 0 : error;
}

/* Families in turn, from that of the first address on (RFC 8305 section 4). */
static void addresses_alternate(struct http *h)
{
	struct address by_family[2][ADDRESSES];
	size_t count[2] = {0, 0}, taken[2] = {0, 0}, i, family = 0;

	for (i = 0; i < h->address_count; i++) {
		family = h->addresses[i].name.ss_family != h->addresses[0].name.ss_family;
		by_family[family][count[family]++] = h->addresses[i];
	}
	for (i = 0, family = 0; i < h->address_count; i++, family = !family) {
		if (taken[family] == count[family])
			family = !family;
		h->addresses[i] = by_family[family][taken[family]++];
	}
}

/* The resolver blocks, and nothing moves in that time; so it counts against no deadline. */
static int addresses_find(struct http *h, const struct url *u)
{
	int64_t before = h->now;
	int error = resolver_ask_all(h, u);

	h->now = clock_ms(h->now);
	h->stopped_ms += h->now - before;
	addresses_alternate(h);
	return error;
}

/* localhost needs no resolver (RFC 6761 section 6.3), and an empty root has no hosts file. */
static enum step conn_resolve(struct http *h, struct conn *c)
{
	const struct url *u = connect_url(h);
	int error = 0;
	size_t i;

	if (h->address_count)
		return STEP_MOVED;
	h->address_first = 0;
	if (u->family != AF_UNSPEC) {
		h->addresses[h->address_count++] = address_of(u->family, u->host, u->port);
	} else if (strcmp(u->host, "localhost") == 0) {
		h->addresses[h->address_count++] = address_of(AF_INET, "127.0.0.1", u->port);
		h->addresses[h->address_count++] = address_of(AF_INET6, "::1", u->port);
	} else {
		error = addresses_find(h, u);
	}
	if (error == EAI_MEMORY)
		return conn_failed(c, FAILED_NO_MEMORY, "no memory to resolve the name");
	c->no_name = is_no_name(error);
	if (error)
		return conn_failed(
			c, FAILED_AGAIN, "cannot resolve the name: %s; check %s, this machine's network and DNS",
			error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error), h->tunnel ? "proxy" : "base_url");
	for (i = 0; i < h->address_count && !h->origin.tls; i++)
		if (!address_is_local(&h->addresses[i])) {
			h->address_count = 0;
			return conn_failed(c, FAILED_TRUST,
					   "plain http:// is for this machine only, and the name leads elsewhere; "
					   "use https://");
		}
	return STEP_MOVED;
}

/* Small writes are not held back.  A connection that has died silently is noticed within a minute: by three probes
 * after 20 s where nothing is under way, by the age of what is. */
static void socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
#if defined TCP_KEEPIDLE
		{IPPROTO_TCP, TCP_KEEPIDLE, 20},
#elif defined TCP_KEEPALIVE /* macOS's name for it */
		{IPPROTO_TCP, TCP_KEEPALIVE, 20},
#endif
#if defined TCP_KEEPINTVL && defined TCP_KEEPCNT
		{IPPROTO_TCP, TCP_KEEPINTVL, 10},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
#endif
#ifdef TCP_USER_TIMEOUT
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 50000}, /* milliseconds */
#endif
	};
	size_t i;

	for (i = 0; i < countof(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

/* A socket that never blocks and is not inherited.  -1 and errno if there is none. */
static int socket_open(int family)
{
	int fd = socket(family, SOCK_STREAM, 0), flags, error;

	if (fd < 0)
		return -1;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) {
		socket_options(fd);
		return fd;
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void address_text(const struct address *a, char text[INET6_ADDRSTRLEN])
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memcpy(&v4, &a->name, sizeof v4);
	memcpy(&v6, &a->name, sizeof v6);
	if (!inet_ntop(a->name.ss_family, a->name.ss_family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr,
		       text, INET6_ADDRSTRLEN))
		text[0] = '\0';
}

/* All addresses failed: the next attempt asks the resolver again. */
static enum step conn_unreachable(struct http *h, struct conn *c)
{
	char text[INET6_ADDRSTRLEN];

	h->address_count = 0;
	address_text(&c->failed, text);
	return conn_failed(c, FAILED_AGAIN, "cannot connect to %s%s: %s; check network, %s", text,
			   c->tried > 1 ? " (the last of several addresses)" : "", strerror(c->error),
			   h->tunnel ? "and proxy" : "base_url and proxy");
}

static void dial_failed(struct conn *c, const struct address *a, int error)
{
	c->error = error;
	c->failed = *a;
}

/* Begins to connect to the next address that lets us; the others go on. */
static void dial_next(struct http *h, struct conn *c)
{
	while (c->tried < h->address_count && c->dial_count < DIALS) {
		struct dial *d = &c->dials[c->dial_count];
		const struct address *a;

		d->address = c->place = (c->first + c->tried++) % h->address_count;
		d->ready = false;
		d->deadline = deadline_clock(h) + ADDRESS_MS;
		a = &h->addresses[d->address];
		d->fd = socket_open(a->name.ss_family);
		if (d->fd >= 0 && (connect(d->fd, (const struct sockaddr *)&a->name, a->length) == 0 ||
				   errno == EINPROGRESS || errno == EINTR)) {
			c->dial_count++;
			c->dial_at = deadline_clock(h) + NEXT_ADDRESS_MS;
			return;
		}
		dial_failed(c, a, errno);
		if (d->fd >= 0)
			close(d->fd);
	}
}

/* How a connect() ended: 0, an errno, or EINPROGRESS. */
static int dial_error(const struct http *h, const struct dial *d)
{
	int error;
	socklen_t size = sizeof error;

	if (!d->ready)
		return deadline_clock(h) >= d->deadline ? ETIMEDOUT : EINPROGRESS;
	return getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/* When the connection needs a look though no socket is ready: an address is due, or has had its time. */
static int64_t dial_deadline(const struct http *h, const struct conn *c)
{
	int64_t deadline = c->open_by;
	unsigned i;

	if (c->tried < h->address_count && c->dial_count < DIALS && c->dial_at < deadline)
		deadline = c->dial_at;
	for (i = 0; i < c->dial_count; i++)
		if (c->dials[i].deadline < deadline)
			deadline = c->dials[i].deadline;
	return deadline;
}

static int64_t opening_ms(const struct http *h)
{
	return h->options.request_timeout_ms < OPENING_MS ? h->options.request_timeout_ms : OPENING_MS;
}

/* Opens a connection for a request.  The TLS part stays from one use to the next. */
static enum step conn_open(struct http *h, struct conn *c, struct http_request *r)
{
	struct tls *tls = c->tls;
	uint64_t bytes = c->bytes;
	enum step step;

	memset(c, 0, sizeof *c);
	c->tls = tls;
	c->bytes = bytes;
	c->fd = -1;
	c->state = CONN_CONNECTING;
	c->outage = h->outage;
	c->request = r;
	step = conn_resolve(h, c);
	if (step != STEP_MOVED)
		return step;
	c->first = h->address_first;
	c->open_by = deadline_clock(h) + opening_ms(h);
	return STEP_MOVED;
}

/* The request goes out on an open connection. */
static enum step conn_request(struct http *h, struct conn *c)
{
	struct http_request *r = c->request;

	if (c->state != CONN_IDLE)
		h->failed_openings = 0;
	assert(c->fd >= 0 && r && r->state == ACTIVE && !c->dial_count);
	c->state = CONN_BUSY;
	c->out = r->text;
	c->out_length = r->length;
	c->out_sent = 0;
	c->surplus = false;
	c->deadline = deadline_clock(h) + h->options.request_timeout_ms;
	answer_free(&r->answer);
	memset(&r->answer, 0, sizeof r->answer);
	r->answer.now = wall_us() / 1000000;
	r->sent = true;
	h->stats.requests++;
	return STEP_MOVED;
}

static enum step conn_tunnel(struct http *h, struct conn *c)
{
	struct answer *a = &c->request->answer;

	c->state = CONN_PROXY;
	c->out = h->tunnel_text;
	c->out_length = strlen(h->tunnel_text);
	c->out_sent = 0;
	answer_free(a);
	memset(a, 0, sizeof *a);
	a->tunnel = true;
	return STEP_MOVED;
}

/* The first address that connects is used now, and first the next time. */
static enum step conn_connected(struct http *h, struct conn *c, unsigned dial)
{
	c->fd = c->dials[dial].fd;
	c->place = c->dials[dial].address;
	if (c->place < h->address_count)
		h->address_first = c->place;
	dial_remove(c, dial);
	while (c->dial_count)
		close(c->dials[--c->dial_count].fd);
	c->error = 0;
	c->deadline = c->open_by;
	if (h->tunnel)
		return conn_tunnel(h, c);
	return h->origin.tls ? tls_start(h, c) : conn_request(h, c);
}

static enum step connecting_step(struct http *h, struct conn *c)
{
	unsigned i;

	for (i = c->dial_count; i-- > 0;) {
		int error = dial_error(h, &c->dials[i]);
		if (!error)
			return conn_connected(h, c, i);
		if (error == EINPROGRESS)
			continue;
		if (c->dials[i].address < h->address_count)
			dial_failed(c, &h->addresses[c->dials[i].address], error);
		close(c->dials[i].fd);
		dial_remove(c, i);
		c->dial_at = deadline_clock(h);
	}
	if (deadline_clock(h) >= c->open_by)
		return conn_failed(c, FAILED_AGAIN, "cannot connect: no reply in time");
	if (!c->dial_count || deadline_clock(h) >= c->dial_at)
		dial_next(h, c);
	if (!c->dial_count)
		return conn_unreachable(h, c);
	c->deadline = dial_deadline(h, c);
	return STEP_WRITES;
}

/* ---- Proxy: the tunnel ---- */

/* A 4xx is the proxy's decision, and would be so again. */
static enum step proxy_refused(const struct http *h, struct conn *c, const struct head *a)
{
	int status = a->status;
	bool again = status / 100 != 4 || status == 408 || status == 425 || status == 429;

	conn_failed(c, again ? FAILED_AGAIN : FAILED_HOST, "refused the connection with status %d", status);
	if (status != 407 && status != 401)
		return STEP_FAILED;
	if (!a->basic && *a->scheme)
		error_add(&c->why, "; it wants %s authentication, and only Basic is supported", a->scheme);
	else if (h->proxy.user.s)
		error_add(&c->why, "; it does not accept the user and password that proxy holds");
	else
		error_add(&c->why, "; it wants a user and password: http://user:password@host:port");
	return STEP_FAILED;
}

static enum step proxy_step(struct http *h, struct conn *c)
{
	const struct answer *a = &c->request->answer;
	enum pump pump = plain_pump(c);

	if (pump >= PUMP_READS)
		return pump_step(pump);
	if (pump != PUMP_ANSWERED)
		return conn_failed(c, FAILED_AGAIN, "closed the connection%s%s", c->error ? ": " : "",
				   c->error ? strerror(c->error) : "");
	if (c->verdict == ANSWER_NO_MEMORY)
		return conn_failed(c, FAILED_NO_MEMORY, "no memory");
	if (c->verdict == ANSWER_OVER)
		return conn_failed(c, FAILED_HOST, "the answer has %s", a->why);
	if (c->verdict != ANSWER_WHOLE)
		return conn_failed(c, FAILED_AGAIN, "malformed answer: %s", a->why);
	if (a->head.status / 100 != 2)
		return proxy_refused(h, c, &a->head);
	if (c->surplus) /* in TLS the client speaks first */
		return conn_failed(c, FAILED_AGAIN, "sent data before the tunnel was in use");
	return tls_start(h, c);
}

/* ---- Exchange ---- */

/* A kept-alive connection still serves if there is nothing to read on it, not even its end.  TLS has records without
 * data, which the engine takes and answers. */
static bool conn_alive(struct conn *c)
{
	struct flow f = {false, false, 0};
	enum pump pump;
	char byte;

	if (!c->secure)
		return socket_receive(c, &byte, 1, &f) < 0 && !c->error;
	pump = tls_pump(c);
	if (pump < PUMP_READS)
		return false;
	conn_wait(c, pump_step(pump));
	return true;
}

static enum step exchange_verdict(struct conn *c)
{
	const struct answer *a = &c->request->answer;

	switch (c->verdict) {
	case ANSWER_WHOLE: return STEP_ANSWERED;
	case ANSWER_OVER: return conn_failed(c, FAILED_OVER, "the answer has %s", a->why);
	case ANSWER_NO_MEMORY: return conn_failed(c, FAILED_NO_MEMORY, "no memory for the answer");
	case ANSWER_MORE:
	case ANSWER_BAD: break;
	}
	return conn_failed(c, FAILED_AGAIN, "malformed answer: %s", a->why);
}

/* The connection ended before the answer's own end. */
static enum step exchange_end(struct conn *c, bool clean)
{
	struct answer *a;

	if (c->state == CONN_HANDSHAKE)
		return conn_failed(c, FAILED_AGAIN, "the connection ended in the TLS handshake%s%s",
				   c->error ? ": " : "", c->error ? strerror(c->error) : "");
	a = &c->request->answer;
	if (c->reused && !a->heard)
		return conn_failed(c, FAILED_STALE, "the kept-alive connection was closed");
	c->verdict = answer_end(a, clean);
	if (a->stage == AT_END)
		return exchange_verdict(c);
	return conn_failed(c, FAILED_AGAIN, "%s%s%s", a->why, c->error ? ": " : "", c->error ? strerror(c->error) : "");
}

static enum step exchange_step(struct http *h, struct conn *c)
{
	enum pump pump = c->secure ? tls_pump(c) : plain_pump(c);

	switch (pump) {
	case PUMP_READS:
	case PUMP_WRITES:
	case PUMP_BOTH: return pump_step(pump);
	case PUMP_GREETED: tls_keep_session(h, c); return conn_request(h, c);
	case PUMP_ANSWERED: return exchange_verdict(c);
	case PUMP_CLOSED: return exchange_end(c, true);
	case PUMP_CUT: return exchange_end(c, false);
	case PUMP_GOES_ON:
	case PUMP_FAILED: break;
	}
	h->session_state = SESSION_UNKNOWN;
	return tls_failed(h, c);
}

/* A server that asked for a client certificate and got none may end the handshake in any way, and would do so again:
 * which way is seen may depend on chance, for a write may fail before its alert is read. */
static enum step handshake_step(struct http *h, struct conn *c)
{
	enum step step = exchange_step(h, c);

	if (step == STEP_FAILED && c->tls->request.seen && c->failure == FAILED_AGAIN) {
		c->failure = FAILED_TRUST;
		error_add(&c->why, "; the server wants a client certificate, which is not supported");
	}
	return step;
}

/* Goes on as far as the socket allows. */
static enum step conn_step(struct http *h, struct conn *c)
{
	enum step step = STEP_MOVED;

	while (step == STEP_MOVED) {
		assert(c->request);
		switch (c->state) {
		case CONN_CONNECTING: step = connecting_step(h, c); break;
		case CONN_PROXY: step = proxy_step(h, c); break;
		case CONN_HANDSHAKE: step = handshake_step(h, c); break;
		case CONN_BUSY: step = exchange_step(h, c); break;
		case CONN_CLOSED:
		case CONN_IDLE: return STEP_READS;
		}
	}
	return step;
}

static enum step conn_timeout(struct http *h, struct conn *c)
{
	switch (c->state) {
	case CONN_CONNECTING: return connecting_step(h, c);
	case CONN_PROXY: return conn_failed(c, FAILED_AGAIN, "no answer to CONNECT in time");
	case CONN_HANDSHAKE: return conn_failed(c, FAILED_AGAIN, "the TLS handshake did not end in time");
	case CONN_BUSY:
	case CONN_CLOSED:
	case CONN_IDLE: break;
	}
	return conn_failed(c, FAILED_AGAIN, "no whole answer within request_timeout (%ld s)",
			   (long)((h->options.request_timeout_ms + 999) / 1000));
}

/* ================================================================================
 * Part 3: queue and interface.
 * ================================================================================ */

/* ---- Retry ---- */

static void notify(struct http *h, enum http_event event, const struct http_request *r, unsigned attempt,
		   const char *reason, int64_t wait)
{
	struct http_notice notice;

	if (!h->options.notice)
		return;
	notice.event = event;
	notice.lane = (unsigned)(r->lane - h->lanes);
	notice.path = r->path;
	notice.reason = reason;
	notice.attempt = attempt;
	notice.wait_ms = wait;
	h->options.notice(h->options.ctx, &notice);
}

static void request_finish(struct http *h, struct http_request *r, enum http_outcome outcome)
{
	struct http_response *response = &r->response;

	assert(r->state == WAITING || r->state == ACTIVE);
	r->state = FINISHED;
	r->finished = ++h->finished;
	if (outcome != HTTP_DONE)
		answer_free(&r->answer);
	response->outcome = outcome;
	response->status = outcome == HTTP_DONE ? r->answer.head.status : 0;
	response->body = r->answer.length ? r->answer.bytes : "";
	response->length = r->answer.length;
	response->received_us = wall_us();
	response->elapsed_ms = deadline_clock(h) - r->began;
	response->attempts = r->attempts;
	response->error = r->error.text;
}

/* first, 2 x first, 4 x first ... : the pause after the n-th failure, half of it by chance. */
static int64_t backoff_ms(struct http *h, unsigned n)
{
	int64_t most = h->options.backoff_ms * BACKOFF_MOST, pause = h->options.backoff_ms;

	for (; n > 1 && pause < most; n--)
		pause *= 2;
	if (pause > most)
		pause = most;
	return pause / 2 + (int64_t)(random_next(&h->random) % (uint64_t)(pause - pause / 2 + 1));
}

/* least_ms: what the server asked for. */
static void request_retry(struct http *h, struct http_request *r, const char *reason, int64_t least_ms)
{
	int64_t wait = backoff_ms(h, r->attempts);

	if (wait < least_ms)
		wait = least_ms;
	r->state = WAITING;
	r->ready_at = h->now + wait;
	h->stats.retries++;
	notify(h, HTTP_RETRY, r, r->attempts, reason, wait);
}

/* At once, as if it had not been tried. */
static void request_repeat(struct http *h, struct http_request *r)
{
	r->state = WAITING;
	r->ready_at = h->now;
	r->attempts--;
}

/* What failed is named by the host as long as the host is the matter, then by the path.  Returns the reason as a notice
 * gives it, which has the path already. */
static const char *failure_text(const struct http *h, struct http_request *r, const struct conn *c)
{
	size_t subject;

	if (c->state == CONN_BUSY)
		fail(&r->error, "%.400s: ", r->path);
	else if (c->state == CONN_HANDSHAKE || !h->tunnel)
		fail(&r->error, "%.100s: ", h->origin.name);
	else
		fail(&r->error, "proxy %.100s: ", h->proxy.name);
	subject = strlen(r->error.text);
	error_add(&r->error, "%s", c->why.text);
	return c->state == CONN_BUSY ? r->error.text + subject : r->error.text;
}

/* How a request's text ends, and how after an answer whose coding was broken. */
static const char gzip_end[] = "gzip\r\n\r\n", plain_end[] = "identity\r\n\r\n";

static void request_plain(struct http_request *r)
{
	if (r->plain)
		return;
	r->plain = true;
	memcpy(r->text + r->length - (sizeof gzip_end - 1), plain_end, sizeof plain_end);
	r->length += sizeof plain_end - sizeof gzip_end;
}

/* Did the attempt fail because nobody was there?  The caller was away for long; or for most of the time, so that the
 * server may have dropped a new connection before it served it.  The next attempt must find such a time of its own. */
static bool attempt_is_excused(const struct http *h, const struct http_request *r, const struct conn *c)
{
	int64_t away = h->outside - r->outside;
	bool heard = c->state == CONN_BUSY && r->answer.heard;

	return away > OUTSIDE_MS || (!heard && away >= IDLE_MS && away > deadline_clock(h) - r->began);
}

/* No request that waits would fare better than this one, whose error says why. */
static void requests_unreachable(struct http *h, struct http_request *tried)
{
	struct http_request *r;

	tried->attempts = h->failed_openings ? h->failed_openings : 1;
	request_finish(h, tried, HTTP_UNREACHABLE);
	for (r = h->requests; r; r = r->next) {
		if (r->state != WAITING)
			continue;
		r->error = tried->error;
		r->attempts = tried->attempts;
		request_finish(h, r, HTTP_UNREACHABLE);
	}
}

static bool any_connection_open(const struct http *h)
{
	unsigned i;

	for (i = 0; i < h->options.connections; i++)
		if (h->conns[i].state >= CONN_BUSY)
			return true;
	return false;
}

/* A connection could not be opened.  Those that were begun before the last such failure tell nothing new.  A host that
 * still answers on another connection is not given up.  After the last attempt requests that come later have one more
 * each. */
static void opening_failed(struct http *h, struct http_request *r, const struct conn *c, const char *reason)
{
	unsigned most = h->options.attempts;
	int64_t wait;

	request_repeat(h, r);
	if (c->outage != h->outage)
		return;
	h->outage++;
	h->failed_openings++;
	if (c->no_name && most > NAME_ATTEMPTS)
		most = NAME_ATTEMPTS;
	if (h->failed_openings < most || any_connection_open(h)) {
		wait = backoff_ms(h, h->failed_openings);
		h->open_at = h->now + wait;
		h->stats.retries++;
		notify(h, HTTP_RETRY, r, h->failed_openings, reason, wait);
		return;
	}
	if (h->failed_openings > 1)
		error_add(&r->error, " (%u attempts)", h->failed_openings);
	requests_unreachable(h, r);
	h->failed_openings--;
	h->open_at = h->now;
}

static void attempt_failed(struct http *h, struct http_request *r, const struct conn *c)
{
	const char *reason = failure_text(h, r, c);

	if (c->state == CONN_BUSY && r->answer.miscoded)
		request_plain(r);
	switch (c->failure) {
	case FAILED_STALE: request_repeat(h, r); return;
	case FAILED_OVER: request_finish(h, r, HTTP_TOO_LARGE); return;
	case FAILED_HOST: requests_unreachable(h, r); return;
	case FAILED_TRUST: request_finish(h, r, HTTP_UNTRUSTED); return;
	case FAILED_NO_MEMORY: request_finish(h, r, HTTP_NO_MEMORY); return;
	case FAILED_AGAIN: break;
	}
	if (attempt_is_excused(h, r, c)) {
		request_repeat(h, r);
	} else if (c->state != CONN_BUSY) {
		opening_failed(h, r, c, reason);
	} else if (r->attempts < h->options.attempts) {
		request_retry(h, r, reason, 0);
	} else {
		if (r->attempts > 1)
			error_add(&r->error, " (%u attempts)", r->attempts);
		request_finish(h, r, HTTP_BROKEN);
	}
}

/* ---- Lanes ---- */

static bool lane_is_held(const struct http *h, const struct lane *l)
{
	return h->now < l->hold_until;
}

/* By how much a hold of `wait` from now on moves the end of the present hold. */
static int64_t lane_extension(const struct http *h, const struct lane *l, int64_t wait)
{
	int64_t from = lane_is_held(h, l) ? l->hold_until : h->now;

	return h->now + wait > from ? h->now + wait - from : 0;
}

/* Requests that were sent before a hold began say nothing about the window after it. */
static void lane_hold(const struct http *h, struct lane *l, int64_t wait, const char *reason)
{
	int64_t more = lane_extension(h, l, wait);

	if (!lane_is_held(h, l)) {
		l->window++;
		l->active = 0;
		l->allowed = 1;
		l->last_answered = l->answered;
		l->answered = 0;
	}
	if (more) {
		l->held_ms += more;
		l->hold_until = h->now + wait;
		l->hold_reason = reason;
	}
}

static void lane_start(struct http_request *r)
{
	struct lane *l = r->lane;

	r->window = l->window;
	if (!r->sent)
		r->held_before = l->held_ms;
	l->active++;
}

/* After an answer of this window one more may be under way; but the limit is expected to come where it came the last
 * time, and there one goes alone. */
static void lane_grow(struct lane *l)
{
	unsigned expected;

	l->answered++;
	l->allowed += l->allowed < HTTP_CONNECTIONS;
	if (l->answered > l->last_answered)
		return;
	expected = l->last_answered - l->answered;
	if (l->allowed > expected)
		l->allowed = expected ? expected : 1;
}

/* A request is under way no more.  answered: with an answer that is not tried again. */
static void lane_end(const struct http *h, const struct http_request *r, bool answered)
{
	struct lane *l = r->lane;

	assert(r->window != l->window || l->active);
	if (r->window == l->window)
		l->active--;
	if (!answered)
		return;
	l->refusals = 0;
	l->held_at_answer = l->held_ms - (lane_is_held(h, l) ? l->hold_until - h->now : 0);
	if (r->window == l->window)
		lane_grow(l);
	else
		l->last_answered++;
	if (r->answer.head.counted && r->answer.head.remaining && r->answer.head.remaining < l->allowed)
		l->allowed = r->answer.head.remaining;
}

static bool lane_allows(const struct http *h, const struct lane *l)
{
	return !lane_is_held(h, l) && l->active < l->allowed;
}

/* A hold is told of when it first keeps a request back, and again only if it grew by more than the scatter of several
 * answers to the same limit. */
static void lane_announce(struct http *h, struct lane *l, const struct http_request *r)
{
	enum { SCATTER_MS = 1000 };
	bool news = l->announced_until < h->now || l->hold_until > l->announced_until + SCATTER_MS;
	int64_t from = h->limited_until > h->now ? h->limited_until : h->now;

	if (l->hold_until > from) {
		h->stats.rate_limit_ms += l->hold_until - from;
		h->limited_until = l->hold_until;
	}
	l->announced_until = l->hold_until;
	if (news)
		notify(h, HTTP_RATE_LIMIT, r, r->attempts, l->hold_reason, l->hold_until - h->now);
}

static bool request_is_ready(const struct http *h, const struct http_request *r)
{
	return r->state == WAITING && r->ready_at <= h->now;
}

static void lanes_announce(struct http *h)
{
	struct http_request *first[HTTP_LANES] = {NULL}, *r;
	size_t i;

	for (r = h->requests; r; r = r->next) {
		i = (size_t)(r->lane - h->lanes);
		if (request_is_ready(h, r) && lane_is_held(h, r->lane) &&
		    r->lane->hold_until > r->lane->announced_until && (!first[i] || r->rank < first[i]->rank))
			first[i] = r;
	}
	for (i = 0; i < HTTP_LANES; i++)
		if (first[i])
			lane_announce(h, &h->lanes[i], first[i]);
}

/* ---- Judging attempts ---- */

/* What a 429 asks for, in the order of trust; -1: for nothing.  Never next to nothing, or a server could keep us running
 * in a circle. */
static int64_t limit_asks(const struct http *h, const struct http_request *r)
{
	const struct answer *a = &r->answer;
	int64_t wait = when_ms(&a->head.retry_after, &a->head.date, a->now);

	if (wait < 0 && h->options.pause_ms)
		wait = h->options.pause_ms(a->length ? a->bytes : "", a->length);
	if (wait < 0)
		wait = when_ms(&a->head.reset, &a->head.date, a->now);
	return wait >= 0 && wait < h->options.backoff_ms ? h->options.backoff_ms : wait;
}

/* How long a request has waited for its lane; holds between which others of the lane were answered do not count. */
static int64_t request_held(const struct http_request *r)
{
	const struct lane *l = r->lane;

	return l->held_ms - (r->held_before > l->held_at_answer ? r->held_before : l->held_at_answer);
}

/* An answer is the last one because there is no time for another.  asked: -1, the server did not say. */
static void patience_ends(struct http_request *r, const char *what, int64_t waited, int64_t asked)
{
	fail(&r->error, "%.400s: %s: after %ld s of waiting the server ", r->path, what, (long)(waited / 1000));
	if (asked < 0)
		error_add(&r->error, "still refuses, and does not say for how long");
	else
		error_add(&r->error, "asks for %ld s more", (long)(asked / 1000));
}

/* A 429 is no attempt; but there is an end to the waiting of one request. */
static void request_limited(struct http *h, struct http_request *r)
{
	int64_t patience = h->options.patience_ms, held = request_held(r), asked = limit_asks(h, r), wait;

	if (!lane_is_held(h, r->lane))
		r->lane->refusals++;
	wait = asked < 0 ? backoff_ms(h, r->lane->refusals) : asked;
	if (wait > patience - r->waited_ms || held + lane_extension(h, r->lane, wait) > patience) {
		patience_ends(r, "rate limit", held > r->waited_ms ? held : r->waited_ms, asked);
		request_finish(h, r, HTTP_BROKEN);
		return;
	}
	r->waited_ms += wait;
	lane_hold(h, r->lane, wait, "429, the rate limit is reached");
	request_repeat(h, r);
}

/* nginx shakes hands without the client certificate that it wants, and then says on a page that it is missing. */
static bool wants_certificate(const struct answer *a)
{
	enum { PAGE = 1000 };
	struct str page = {a->bytes, a->length < PAGE ? a->length : PAGE};

	return str_find(&page, "SSL certificate");
}

static void request_done(struct http *h, struct http_request *r)
{
	const struct answer *a = &r->answer;
	int64_t wait = when_ms(&a->head.reset, &a->head.date, a->now);

	if (a->head.status / 100 == 2 && a->head.counted && !a->head.remaining && wait >= 0 &&
	    wait <= h->options.patience_ms)
		lane_hold(h, r->lane, wait, "the rate limit is used up");
	if (a->head.status == 304)
		fail(&r->error, "%.400s: status 304 answers a condition, but none was sent; check base_url and proxy",
		     r->path);
	else if (a->head.status / 100 == 3)
		fail(&r->error, "%.400s: status %d leads to %s, which is not followed; check base_url", r->path,
		     a->head.status, *a->head.location ? a->head.location : "an unnamed place");
	else if (a->head.status == 400 && wants_certificate(a))
		fail(&r->error, "%.400s: status 400: the server wants a client certificate, which is not supported",
		     r->path);
	request_finish(h, r, HTTP_DONE);
}

/* A whole answer: is it the last word? */
static void attempt_answered(struct http *h, struct http_request *r)
{
	const struct head *head = &r->answer.head;
	int status = head->status;
	bool again = status == 408 || status == 425 || status >= 500;
	int64_t asked = when_ms(&head->retry_after, &head->date, r->answer.now);
	char reason[32];

	lane_end(h, r, status != 429 && !again);
	r->error.text[0] = '\0';
	snprintf(reason, sizeof reason, "status %d", status);
	if (status == 429) {
		request_limited(h, r);
	} else if (!again || r->attempts >= h->options.attempts) {
		request_done(h, r);
	} else if (asked > h->options.patience_ms - r->waited_ms) {
		patience_ends(r, reason, r->waited_ms, asked);
		request_done(h, r);
	} else {
		r->waited_ms += asked > 0 ? asked : 0;
		request_retry(h, r, reason, asked);
	}
}

/* A step came to an end: the connection is kept or closed, the request judged. */
static void attempt_end(struct http *h, struct conn *c, enum step step)
{
	struct http_request *r = c->request;

	if (step == STEP_ANSWERED) {
		h->stats.decoded += r->answer.length;
		c->request = NULL;
		c->reused = true;
		if (c->surplus || c->out_sent < c->out_length || !answer_keeps(&r->answer)) {
			conn_close(c);
		} else {
			c->state = CONN_IDLE;
			c->idle_since = h->now;
			conn_wait(c, STEP_READS);
		}
		attempt_answered(h, r);
		return;
	}
	if (c->state == CONN_HANDSHAKE)
		h->session_state = SESSION_UNKNOWN;
	if (c->state != CONN_BUSY && h->address_count) /* another address may do better */
		h->address_first = (c->place + 1) % h->address_count;
	lane_end(h, r, false);
	attempt_failed(h, r, c);
	conn_drop(c);
}

/* ---- Sending ---- */

/* Of those that may be sent now, the one of the lowest rank, the oldest of equals. */
static struct http_request *queue_first(const struct http *h)
{
	struct http_request *r, *first = NULL;

	for (r = h->requests; r; r = r->next)
		if (request_is_ready(h, r) && lane_allows(h, r->lane) && (!first || r->rank < first->rank))
			first = r;
	return first;
}

/* One connection alone: the first with TLS, so that the others can resume its session; and while none can be opened. */
static bool may_open(const struct http *h)
{
	bool alone = h->failed_openings || (h->origin.tls && h->session_state == SESSION_UNKNOWN);
	unsigned i;

	if (!alone)
		return true;
	if (h->failed_openings && h->now < h->open_at)
		return false;
	for (i = 0; i < h->options.connections; i++)
		if (h->conns[i].state != CONN_CLOSED && h->conns[i].state < CONN_BUSY)
			return false;
	return true;
}

/* An idle connection that still lives, else a closed one to be opened, else NULL. */
static struct conn *conn_pick(struct http *h)
{
	struct conn *closed = NULL;
	unsigned i;

	for (i = 0; i < h->options.connections; i++) {
		struct conn *c = &h->conns[i];
		if (c->state == CONN_IDLE && h->now - c->idle_since <= REUSE_MS && conn_alive(c))
			return c;
		if (c->state == CONN_IDLE)
			conn_close(c);
		if (c->state == CONN_CLOSED && !closed)
			closed = c;
	}
	return closed && may_open(h) ? closed : NULL;
}

/* After one step of a connection: the others, until it waits or its attempt is over. */
static void conn_continue(struct http *h, struct conn *c, enum step step)
{
	if (step == STEP_MOVED)
		step = conn_step(h, c);
	if (step_waits(step))
		conn_wait(c, step);
	else
		attempt_end(h, c, step);
}

static void attempt_start(struct http *h, struct conn *c, struct http_request *r)
{
	enum step step;

	assert(r->state == WAITING && !c->request);
	r->state = ACTIVE;
	r->attempts++;
	r->began = deadline_clock(h);
	r->outside = h->outside;
	lane_start(r);
	if (c->state == CONN_IDLE) {
		c->request = r;
		step = conn_request(h, c);
	} else {
		step = conn_open(h, c, r);
	}
	conn_continue(h, c, step);
}

static void dispatch(struct http *h)
{
	struct http_request *r;
	struct conn *c;

	while ((r = queue_first(h)) != NULL && (c = conn_pick(h)) != NULL)
		attempt_start(h, c, r);
	lanes_announce(h);
}

/* ---- Options ---- */

/* The value is not shown: it may hold a secret. */
static bool option_text(const char *name, const char *value, struct error *error)
{
	if (!value || is_plain(str_of(value)))
		return true;
	return fail(error, "%s: holds a control character or a byte that is not ASCII", name);
}

static bool option_range(const char *name, int64_t value, int64_t least, int64_t most, struct error *error)
{
	if (value >= least && value <= most)
		return true;
	return fail(error, "%s: must be %lld to %lld", name, (long long)least, (long long)most);
}

static const char *proxy_name(const struct http_options *o)
{
	return o->proxy_name ? o->proxy_name : "proxy";
}

static bool options_check(const struct http_options *o, struct error *error)
{
	const int64_t century_ms = INT64_C(100) * 366 * 86400 * 1000;

	return option_text("base_url", o->base_url, error) && option_text("token", o->token, error) &&
	       option_text("user_agent", o->user_agent, error) && option_text(proxy_name(o), o->proxy, error) &&
	       option_range("connections", o->connections, 1, HTTP_CONNECTIONS, error) &&
	       option_range("attempts", o->attempts, 1, INT_MAX, error) &&
	       option_range("request_timeout_ms", o->request_timeout_ms, 1, century_ms, error) &&
	       option_range("backoff_ms", o->backoff_ms, 1, century_ms / BACKOFF_MOST, error) &&
	       option_range("patience_ms", o->patience_ms, 0, century_ms, error);
}

static bool origin_open(struct http *h, const char *base_url, struct error *error)
{
	const char *wrong;
	char *prefix, *end;

	h->base_url = copy_text(base_url ? base_url : "");
	if (!h->base_url)
		return fail(error, "no memory");
	wrong = url_parse(h->base_url, &h->origin);
	if (!wrong && h->origin.user.s)
		wrong = "must not hold a user name or password";
	if (!wrong && strpbrk(h->origin.prefix, "?# "))
		wrong = "must not hold a query, fragment or blank";
	if (!wrong && !h->origin.tls && h->origin.family != AF_UNSPEC && !host_is_local(&h->origin))
		wrong = "plain http:// is for this machine only; use https://";
	if (wrong)
		return fail(error, "base_url: %s", wrong);
	prefix = h->base_url + (h->origin.prefix - h->base_url);
	for (end = prefix + strlen(prefix); end > prefix && end[-1] == '/'; end--)
		end[-1] = '\0';
	return true;
}

/* `option` names where the proxy comes from; its value may hold a password and is not shown. */
static bool proxy_set(struct http *h, const char *option, const char *value, struct error *error)
{
	const char *scheme = strstr(value, "://") ? "" : "http://", *wrong;
	size_t size = strlen(scheme) + strlen(value) + 1;

	h->proxy_url = malloc(size);
	if (!h->proxy_url)
		return fail(error, "no memory");
	snprintf(h->proxy_url, size, "%s%s", scheme, value);
	wrong = url_parse(h->proxy_url, &h->proxy);
	if (!str_is_word((struct str){h->proxy_url, strcspn(h->proxy_url, ":")}, "http"))
		wrong = "only http:// proxies are supported, not https:// or SOCKS ones";
	else if (!wrong && *h->proxy.prefix && strcmp(h->proxy.prefix, "/") != 0)
		wrong = "must end after host and port";
	else if (!wrong && user_has_colon(h->proxy.user))
		wrong = "must not hold a user name with a colon; the proxy would take its end for the password";
	if (wrong)
		return fail(error, "%s: %s", option, wrong);
	h->tunnel_text = tunnel_text(&h->origin, h->proxy.user);
	h->tunnel = true;
	if (!h->tunnel_text)
		fail(error, "no memory");
	return h->tunnel_text;
}

/* Plain http:// leads to this machine only, and so past every proxy. */
static bool proxy_open(struct http *h, const struct http_options *o, struct error *error)
{
	if (!h->origin.tls || !o->proxy || !*o->proxy || proxy_exempt(&h->origin, o->no_proxy))
		return true;
	return proxy_set(h, proxy_name(o), o->proxy, error);
}

/* The header fields that are the same in every request. */
static bool fields_open(struct http *h, const struct http_options *o, struct error *error)
{
	static const char format[] = "Host: %s\r\n%s%s%s%s%s%s";
	const char *agent = o->user_agent ? o->user_agent : "", *token = o->token ? o->token : "";
	size_t size = sizeof format + sizeof "User-Agent: \r\nAuthorization: Bearer \r\n" + NAME_SIZE + strlen(agent) +
		      strlen(token);

	h->fields = malloc(size);
	if (!h->fields)
		return fail(error, "no memory");
	snprintf(h->fields, size, format, h->origin.name, *agent ? "User-Agent: " : "", agent, *agent ? "\r\n" : "",
		 *token ? "Authorization: Bearer " : "", token, *token ? "\r\n" : "");
	return true;
}

/* ---- Waiting ---- */

/* How long poll may sleep: to the next deadline, the end of a pause, or the next glance at the stop flag. */
static int wait_ms(const struct http *h)
{
	const struct http_request *r;
	int64_t until = h->now + GLANCE_MS;
	unsigned i;

	for (i = 0; i < h->options.connections; i++) {
		const struct conn *c = &h->conns[i];
		if (c->request && c->deadline + h->stopped_ms < until)
			until = c->deadline + h->stopped_ms;
	}
	for (r = h->requests; r; r = r->next) {
		int64_t from = r->lane->hold_until > r->ready_at ? r->lane->hold_until : r->ready_at;
		if (r->state == WAITING && from > h->now && from < until)
			until = from;
	}
	if (h->failed_openings && h->open_at > h->now && h->open_at < until)
		until = h->open_at;
	return until > h->now ? (int)(until - h->now) : 0;
}

static void conn_serve(struct http *h, struct conn *c, bool ready)
{
	if (c->state == CONN_CLOSED)
		return;
	if (c->state != CONN_IDLE) {
		if (deadline_clock(h) >= c->deadline)
			conn_continue(h, c, conn_timeout(h, c));
		else if (ready)
			conn_continue(h, c, STEP_MOVED);
	} else if (ready && !conn_alive(c)) {
		conn_close(c);
	}
}

static nfds_t poll_add(struct pollfd *fds, nfds_t count, int fd, short events)
{
	fds[count].fd = fd;
	fds[count].events = events;
	fds[count].revents = 0;
	return count + 1;
}

/* Did poll see something on this connection's sockets, of which *fds is the first?  *fds moves behind them. */
static bool poll_result(struct conn *c, const struct pollfd **fds)
{
	bool ready = false;
	unsigned i;

	for (i = 0; i < c->dial_count; i++, (*fds)++) {
		c->dials[i].ready = (*fds)->revents != 0;
		ready = ready || c->dials[i].ready;
	}
	if (c->fd >= 0)
		ready = (*fds)++->revents || ready;
	return ready;
}

/* A poll that does not work would be called again and again without a pause, so this is the end. */
static void poll_failed(struct http *h, int error)
{
	struct http_request *r;
	unsigned i;

	for (i = 0; i < h->options.connections; i++)
		conn_drop(&h->conns[i]);
	for (r = h->requests; r; r = r->next) {
		if (r->state != WAITING && r->state != ACTIVE)
			continue;
		if (r->state == ACTIVE)
			lane_end(h, r, false);
		fail(&r->error, "%.400s: this system cannot wait for the network: poll: %s", r->path, strerror(error));
		request_finish(h, r, error == ENOMEM ? HTTP_NO_MEMORY : HTTP_UNREACHABLE);
	}
}

static void wait_and_serve(struct http *h)
{
	struct pollfd fds[HTTP_CONNECTIONS * DIALS];
	const struct pollfd *result = fds;
	bool ready[HTTP_CONNECTIONS];
	nfds_t count = 0;
	unsigned i, j;

	for (i = 0; i < h->options.connections; i++) {
		struct conn *c = &h->conns[i];
		for (j = 0; j < c->dial_count; j++)
			count = poll_add(fds, count, c->dials[j].fd, POLLOUT);
		if (c->fd >= 0)
			count = poll_add(fds, count, c->fd, c->events);
	}
	h->poll_failures = poll(fds, count, wait_ms(h)) < 0 && errno != EINTR ? h->poll_failures + 1 : 0;
	if (h->poll_failures >= POLL_FAILURES) {
		poll_failed(h, errno);
		return;
	}
	h->now = clock_ms(h->now);
	for (i = 0; i < h->options.connections; i++)
		ready[i] = poll_result(&h->conns[i], &result);
	for (i = 0; i < h->options.connections; i++)
		conn_serve(h, &h->conns[i], ready[i]);
}

/* What an attempt waits for, of which nothing has come yet. */
static const char *conn_awaits(const struct conn *c)
{
	switch (c->state) {
	case CONN_CONNECTING: return "no connection yet";
	case CONN_PROXY: return "no answer from the proxy yet";
	case CONN_HANDSHAKE: return "no TLS handshake yet";
	case CONN_BUSY: return "no whole answer yet";
	case CONN_CLOSED:
	case CONN_IDLE: break;
	}
	return "";
}

/* Where nothing came to an end for a while, the attempt that is oldest is told of, every so often. */
static void tell_waiting(struct http *h)
{
	const struct conn *oldest = NULL;
	unsigned i;

	for (i = 0; i < h->options.connections; i++) {
		const struct conn *c = &h->conns[i];
		if (c->request && (!oldest || c->request->began < oldest->request->began))
			oldest = c;
	}
	if (!oldest || h->now < h->tell_at || deadline_clock(h) - oldest->request->began < SILENCE_MS)
		return;
	h->tell_at = h->now + TELL_MS;
	notify(h, HTTP_WAITING, oldest->request, oldest->request->attempts, conn_awaits(oldest),
	       deadline_clock(h) - oldest->request->began);
}

static struct http_request *finished_first(const struct http *h)
{
	struct http_request *r, *first = NULL;

	for (r = h->requests; r; r = r->next)
		if (r->state == FINISHED && (!first || r->finished < first->finished))
			first = r;
	return first;
}

static bool any_unfinished(const struct http *h)
{
	const struct http_request *r;

	for (r = h->requests; r; r = r->next)
		if (r->state != RETURNED)
			return true;
	return false;
}

struct http_request *http_next(struct http *h)
{
	struct http_request *r = NULL;

	h->now = clock_ms(h->now);
	h->outside += h->now - h->left_at;
	h->stopped_ms += h->now - h->left_at;
	while (!h->options.stop || !*h->options.stop) {
		dispatch(h);
		r = finished_first(h);
		if (r || !any_unfinished(h))
			break;
		wait_and_serve(h);
		tell_waiting(h);
		if (h->options.tick)
			h->options.tick(h->options.ctx);
	}
	if (r)
		r->state = RETURNED;
	h->now = h->left_at = clock_ms(h->now);
	return r;
}

/* ---- Interface ---- */

struct http_request *http_start(struct http *h, const char *path, const char *accept, uint64_t rank, unsigned lane)
{
	static const char format[] = "GET %s%s HTTP/1.1\r\n%sAccept: %s\r\nAccept-Encoding: %s";
	size_t path_size = strlen(path) + 1;
	size_t size = sizeof format + strlen(h->origin.prefix) + path_size + strlen(h->fields) + strlen(accept) +
		      sizeof plain_end;
	struct http_request *r = calloc(1, sizeof *r);

	if (r)
		r->text = malloc(size + path_size);
	if (!r || !r->text) {
		free(r);
		return NULL;
	}
	r->length = (size_t)snprintf(r->text, size, format, h->origin.prefix, path, h->fields, accept, gzip_end);
	r->path = r->text + size;
	memcpy(r->path, path, path_size);
	assert(lane < HTTP_LANES);
	r->lane = &h->lanes[lane];
	r->rank = rank;
	r->ready_at = h->now;
	r->began = deadline_clock(h);
	assert(!*h->last);
	*h->last = r;
	h->last = &r->next;
	if (*path != '/' || strchr(path, ' ') || !is_plain(str_of(path)) || !is_plain(str_of(accept))) {
		fail(&r->error, "a path that is not percent-encoded, or an Accept with control characters");
		request_finish(h, r, HTTP_BROKEN);
	}
	return r;
}

const struct http_response *http_response(const struct http_request *r)
{
	return &r->response;
}

void http_release(struct http *h, struct http_request *r)
{
	struct http_request **link;
	unsigned i;

	if (!r)
		return;
	for (i = 0; i < h->options.connections; i++)
		if (h->conns[i].request == r)
			conn_close(&h->conns[i]);
	if (r->state == ACTIVE)
		lane_end(h, r, false);
	for (link = &h->requests; *link != r; link = &(*link)->next)
		;
	assert(*link == r);
	*link = r->next;
	if (h->last == &r->next)
		h->last = link;
	answer_free(&r->answer);
	free(r->text);
	free(r);
}

void http_stats(const struct http *h, struct http_stats *stats)
{
	unsigned i;

	*stats = h->stats;
	for (i = 0; i < h->options.connections; i++)
		stats->bytes += h->conns[i].bytes;
}

size_t http_roots(const char **date)
{
	*date = ROOTS_DATE;
	return ROOTS_COUNT;
}

void http_close(struct http *h)
{
	unsigned i;

	if (!h)
		return;
	while (h->requests)
		http_release(h, h->requests);
	for (i = 0; i < HTTP_CONNECTIONS; i++) {
		conn_close(&h->conns[i]);
		free(h->conns[i].tls);
	}
	trust_free(&h->trust);
	free(h->base_url);
	free(h->proxy_url);
	free(h->fields);
	free(h->tunnel_text);
	free(h);
}

struct http *http_open(const struct http_options *o, struct error *error)
{
	struct timespec t;
	struct http *h;
	size_t i;

	error->text[0] = '\0';
	if (!options_check(o, error))
		return NULL;
	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) {
		fail(error, "this system has no monotonic clock: %s", strerror(errno));
		return NULL;
	}
	h = calloc(1, sizeof *h);
	if (!h) {
		fail(error, "no memory");
		return NULL;
	}
	for (i = 0; i < HTTP_CONNECTIONS; i++)
		h->conns[i].fd = -1;
	h->options = *o; /* its strings are the caller's: what is needed of them is copied */
	h->options.base_url = h->options.token = h->options.user_agent = NULL;
	h->options.ca_file = h->options.ca_file_name = NULL;
	h->options.proxy = h->options.proxy_name = h->options.no_proxy = NULL;
	h->last = &h->requests;
	h->now = h->left_at = clock_ms(0);
	for (i = 0; i < HTTP_LANES; i++) {
		h->lanes[i].allowed = HTTP_CONNECTIONS;
		h->lanes[i].announced_until = h->now - 1;
	}
	if (!random_bytes((unsigned char *)&h->random, sizeof h->random))
		h->random = (uint64_t)wall_us();
	if (origin_open(h, o->base_url, error) && proxy_open(h, o, error) && fields_open(h, o, error) &&
	    trust_open(&h->trust, o, h->origin.tls, error))
		return h;
	http_close(h);
	return NULL;
}
