/* http.h - GET from one origin over HTTP/1.1 and TLS 1.2: connections, deadlines, retry, rate limit.
 * One thread.  Only http_next ever blocks.  Nothing moves while the caller is elsewhere, so no deadline runs then.
 * Takes slices, errors and growing bytes from json.h.  Knows nothing of Singer or Segment; prints nothing.
 *
 * Attempts.  What may go better next time is tried again, up to `attempts` times: no connection, an answer that is
 *   cut off, malformed (RFC 9112) or late, and the statuses 408, 425 and 5xx.  The pauses between are backoff_ms times
 *   1, 2, 4, 8, 16, 32, 60, half of each by chance.  Not counted are an attempt on a kept-alive connection that the
 *   server had closed, a 429, and an attempt that failed after more than 10 s outside http_next, or after 1 s there if
 *   that is most of its time and no answer had begun.  No redirect is followed.
 *   Retry-After of a 408, 425 or 5xx is the least pause before the next attempt; if it asks for more than patience_ms,
 *   the answer is final.
 * Unreachable.  While no connection can be opened, one request tries and the others wait; the attempts count for all of
 *   them together, and so do the notices.  A name that does not exist is tried three times.  Then every request that
 *   waits ends as HTTP_UNREACHABLE, and one that is started later has one more attempt.
 * Rate limit.  It is kept for each lane; a lane's limit holds no other lane back.  After a 429 nothing of the lane is
 *   sent for as long as it asks: by Retry-After, else pause_ms, else X-RateLimit-Reset, else a backoff.  A 2xx with
 *   X-RateLimit-Remaining: 0 holds the lane back until X-RateLimit-Reset; if that is further away than patience_ms it
 *   is ignored, for the server may well still answer.  Dates count by the server's own clock.
 *   Then one request of the lane goes, and with each answer that is not tried again one more may be under way.  Where
 *   the last limit came after so many answers, one goes alone once more.  A lane never has more under way than a
 *   positive X-RateLimit-Remaining of its last answer.
 *   A request fails when its own waits pass patience_ms, or when the lane was held back for that long since the request
 *   was first sent and since any other request of the lane was answered.
 * Codings.  gzip is asked for (RFC 1952; x-gzip is the same), and decoded once it is whole, whatever the status.  A body
 *   that is no good gzip makes its answer malformed, as any other coding does that of a 2xx, and the next attempts of
 *   that request ask for none.  Another status in another coding counts, without its body.
 * Memory.  A body is there as it came, and while it is decoded also what it says; each has at most HTTP_BODY_LIMIT bytes.
 *   Room for what it says is made at once by what the gzip announces; of several members it may have to move.
 * Deadlines.  10 s to connect to one address; min(30 s, request_timeout_ms) for all that comes before the request;
 *   request_timeout_ms for the request.
 * TLS.  1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305; the host name is checked; SHA-1 and RSA below 2048 bits are
 *   refused.  The first connection shakes hands in full, the others resume its session.
 * Environment.  None is read: what it says of proxies and trust comes in the options. */
#ifndef HTTP_H
#define HTTP_H

#include <signal.h>

#include "json.h"

struct http;         /* a client of one origin */
struct http_request; /* one GET, from http_start to http_release */

enum {
	HTTP_CONNECTIONS = 32,      /* most connections */
	HTTP_LANES = 64,            /* lanes are numbered from 0 */
	HTTP_HEAD_LIMIT = 64 << 10, /* bytes before the body, 1xx answers and trailers included */
	HTTP_BODY_LIMIT = 64 << 20  /* bytes of one body, as it comes and decoded */
};

/* HTTP_RETRY: an attempt failed, the next one follows after the pause.  HTTP_RATE_LIMIT: the lane is held back; path is
 * the first of its requests that has to wait.  HTTP_WAITING: an attempt has lasted for wait_ms, 3 s at least; told of
 * every second, for a line on a terminal.  The texts live during the call, which must not call back into http. */
enum http_event { HTTP_RETRY, HTTP_RATE_LIMIT, HTTP_WAITING };
struct http_notice {
	enum http_event event;
	const char *path, *reason;
	unsigned attempt;
	int64_t wait_ms;
	unsigned lane;
};

/* Nothing is kept by pointer but stop, pause_ms, notice, tick and ctx.  A control character or a byte beyond ASCII is refused in
 * all strings but ca_file. */
struct http_options {
	const char *base_url; /* https://host[:port][/prefix]; http:// only if every address of host is loopback */
	const char *token;    /* Authorization: Bearer; sent to this origin alone, never to a proxy */
	const char *user_agent;
	const char *ca_file;      /* PEM; NULL or "": the system's bundle, else the built-in roots */
	const char *ca_file_name; /* where that name comes from, for errors; NULL: ca_file */
	const char *proxy;        /* http://[user:password@]host:port; NULL or "": none */
	const char *proxy_name;   /* as ca_file_name */
	const char *no_proxy; /* hosts and domains that no proxy is for, separated by commas or blanks; NULL: none */
	unsigned connections; /* 1 to HTTP_CONNECTIONS */
	unsigned attempts;    /* tries of one request, rate-limit waits not counted */
	int64_t request_timeout_ms;  /* of a request, from its first byte sent to the last byte of the answer */
	int64_t backoff_ms;          /* first pause before a retry; 1000, unit tests take 1 */
	int64_t patience_ms;         /* longest time that one request waits because the server says so; 900000 */
	volatile sig_atomic_t *stop; /* set by a signal handler; looked at at least every 500 ms; may be NULL */
	int64_t (*pause_ms)(const char *body, size_t length);  /* pause a 429 body asks for, -1 for none; may be NULL */
	void (*notice)(void *ctx, const struct http_notice *); /* called inside http_next; may be NULL */
	void (*tick)(void *ctx); /* likewise, each time it has waited, which is half a second at most */
	void *ctx;
};

enum http_outcome {
	HTTP_DONE,      /* a whole answer that will not be tried again: 2xx, 3xx, 4xx, or 5xx after the last attempt */
	HTTP_BROKEN,    /* a connection, but no whole answer in all attempts; or patience_ms is over */
	HTTP_TOO_LARGE, /* an answer over a limit of ours: it would be so the next time too; not tried again */
	HTTP_UNREACHABLE, /* no connection can be opened; all requests that wait end together */
	HTTP_UNTRUSTED,   /* certificate or TLS refused, or a client certificate wanted; not tried again */
	HTTP_NO_MEMORY
};

/* What became of a request.  Pointers live until http_release of the request. */
struct http_response {
	enum http_outcome outcome;
	int status; /* of HTTP_DONE, else 0 */
	const char *body;
	size_t length;
	int64_t received_us; /* when its last byte came, microseconds since 1970 */
	int64_t elapsed_ms;  /* of the last attempt, without the time outside http_next */
	unsigned attempts;   /* that count */
	/* One line: path or host, cause, way out; never the token.  Of HTTP_DONE "", but a 3xx and
	 * the 400 of a server that wants a client certificate say why they are of no use, and a 408,
	 * 425 or 5xx that asked for more time than there is says for how much. */
	const char *error;
};

struct http_stats {
	uint64_t requests;     /* sent, repeated ones too */
	uint64_t retries;      /* as many as HTTP_RETRY notices */
	uint64_t bytes;        /* received: heads and bodies, without what TLS adds */
	uint64_t decoded;      /* of the bodies of whole answers, after gzip */
	uint64_t handshakes;   /* full ones; resumed sessions are not counted */
	int64_t rate_limit_ms; /* in which at least one lane was held back */
};

/* A whole file (NULL: standard input) of at most `limit` bytes behind what `bytes` holds.  0, or the errno why not: EFBIG beyond the limit,
 * ENOMEM.  A name is waited for where its opening is, as a pipe's is. */
int file_read(const char *name, size_t limit, struct json_out *bytes);

/* What a gzip (RFC 1952) says, in memory for free().  NULL: it is none, says more than `limit` bytes, or no memory. */
char *http_gunzip(const void *gzip, size_t length, size_t limit, size_t *text_length);

/* Checks the options and reads the trust anchors; no network.  NULL: a wrong option, or no memory; see error. */
struct http *http_open(const struct http_options *, struct error *);

/* Queues a GET; copies both strings; returns at once.  path begins with '/', percent-encoded by the caller.
 * lane, below HTTP_LANES: requests that the server counts together.  Of the requests that wait and whose lane is not
 * held back, the lowest rank goes first, the older first among equals.  NULL: no memory. */
struct http_request *http_start(struct http *, const char *path, const char *accept, uint64_t rank, unsigned lane);

/* Starts what waits on free connections; then returns a finished request if there is one, else polls until there is,
 * whichever comes first.  Each is returned once.
 * NULL: nothing is under way, or *stop was set (nothing is lost then: call again). */
struct http_request *http_next(struct http *);
const struct http_response *http_response(const struct http_request *); /* of a request that http_next returned */

void http_release(struct http *, struct http_request *); /* an unfinished one is cancelled; NULL: nothing */
void http_stats(const struct http *, struct http_stats *);
/* How many trust roots are built in; *date: the day of the bundle that they are from, YYYY-MM-DD, "" if not known. */
size_t http_roots(const char **date);
void http_close(struct http *); /* releases every request as well */

#endif
