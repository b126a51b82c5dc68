/* fuzz_client.c - the whole client against a network that a fuzzer writes: any bytes in any pieces, ends and pauses at any
 * place, sockets that take a part or nothing, connections refused.  Time is virtual, so nothing here waits.
 *
 * The input's end decides (throw_dice), from its last byte backwards; what stands before that is what the servers send.
 * They send up to the next SEPARATOR after each request, whichever connection it comes on.
 *
 * Must hold: no request is without an end, none takes longer than it may; an answer is delivered only if answer.h finds it
 * whole in what was sent after that request, and always if it is whole and final; nothing is asked of memory that was
 * only announced; every socket is closed in the end. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/types.h>

static void *count_malloc(size_t);
static void *count_calloc(size_t, size_t);
static void *count_realloc(void *, size_t);
static void count_free(void *);
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

#define malloc        count_malloc
#define calloc        count_calloc
#define realloc       count_realloc
#define free          count_free
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
#include "../http.c"
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef close

#include "fuzz.h"
#include "answer.h"

static const char token[] = "sgp_token-of-the-test";

enum { REQUESTS = 6, PEERS = 100, EXCHANGES = 200, FIRST_FD = 1000, SEPARATOR = 0x1e, UNKNOWN = -1, POLLS = 100000 };

/* What one server has sent after one request. */
struct exchange {
	int request; /* its number, from its path; UNKNOWN until all of it has come */
	char *bytes;
	size_t n;
	bool ended; /* by the server's will */
};

struct peer {
	bool open, refused, mute, ended, reset;
	bool sends;       /* a request came, and its answer is not over */
	bool at_ease;     /* sends without being asked */
	int64_t ready_at; /* nothing can be read before */
	size_t length;    /* of a request, as far as it came */
	char in[1024];
	struct exchange *exchange; /* the last one */
};

static struct {
	struct dice dice;
	size_t at; /* in what is to be sent */
	int64_t now;
	size_t opened, open, polls, exchanges;
	struct peer peer[PEERS];
	struct exchange exchange[EXCHANGES];
	size_t live, peak; /* bytes of memory */
} net;

/* ---- Memory that is counted ---- */

static void *counted(void *p)
{
	net.live += p ? malloc_usable_size(p) : 0;
	if (net.live > net.peak)
		net.peak = net.live;
	return p;
}

static void uncount(void *p)
{
	size_t n = p ? malloc_usable_size(p) : 0;

	net.live -= n < net.live ? n : net.live; /* what json.c made was not counted */
}

static void *count_malloc(size_t size)
{
	return counted(malloc(size));
}

static void *count_calloc(size_t count, size_t size)
{
	return counted(calloc(count, size));
}

static void *count_realloc(void *old, size_t size)
{
	uncount(old);
	return counted(realloc(old, size));
}

static void count_free(void *p)
{
	uncount(p);
	free(p);
}

/* ---- The network ---- */

static struct peer *peer_of(int fd)
{
	must(fd >= FIRST_FD && fd < FIRST_FD + PEERS && net.peer[fd - FIRST_FD].open,
	     "a socket is used while it is open");
	return &net.peer[fd - FIRST_FD];
}

static int net_clock_gettime(clockid_t clock, struct timespec *t)
{
	int64_t ms = net.now + (clock == CLOCK_REALTIME ? INT64_C(1795557600000) : 0);

	t->tv_sec = (time_t)(ms / 1000);
	t->tv_nsec = (long)(ms % 1000) * 1000000;
	return 0;
}

/* What is sent from now on is about another request. */
static void peer_begins(struct peer *p)
{
	must(net.exchanges < EXCHANGES, "not that many requests are sent");
	p->exchange = &net.exchange[net.exchanges++];
	p->exchange->request = UNKNOWN;
}

static int net_socket(int family, int type, int protocol)
{
	(void)family;
	(void)type;
	(void)protocol;
	if (net.opened == PEERS) {
		errno = EMFILE;
		return -1;
	}
	net.peer[net.opened].open = true;
	net.open++;
	return FIRST_FD + (int)net.opened++;
}

static int net_connect(int fd, const struct sockaddr *name, socklen_t length)
{
	struct peer *p = peer_of(fd);
	unsigned fate = throw_dice(&net.dice, 16);

	peer_begins(p);
	(void)name;
	(void)length;
	p->refused = fate == 15;
	p->mute = fate == 14;
	p->at_ease = fate == 13;
	if (fate < 12)
		return 0;
	errno = EINPROGRESS;
	return -1;
}

static int net_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	int error = peer_of(fd)->refused ? ECONNREFUSED : 0;

	(void)level;
	(void)option;
	memcpy(value, &error, *length);
	return 0;
}

static int net_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	(void)peer_of(fd);
	(void)level;
	(void)option;
	(void)value;
	(void)length;
	return 0;
}

static int net_fcntl(int fd, int command, ...)
{
	(void)peer_of(fd);
	(void)command;
	return 0;
}

static int net_close(int fd)
{
	if (fd < FIRST_FD) /* a file */
		return close(fd);
	peer_of(fd)->open = false;
	net.open--;
	return 0;
}

/* Of a name: two addresses of this machine, or none. */
static int net_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
	static struct sockaddr_in names[2];
	static struct addrinfo all[2];
	size_t i;

	(void)host;
	(void)port;
	(void)hints;
	if (throw_dice(&net.dice, 4) == 3)
		return EAI_AGAIN;
	for (i = 0; i < countof(all); i++) {
		memset(&names[i], 0, sizeof names[i]);
		memset(&all[i], 0, sizeof all[i]);
		names[i].sin_family = AF_INET;
		names[i].sin_addr.s_addr = htonl(0x7f000001u + (unsigned)i);
		all[i].ai_family = AF_INET;
		all[i].ai_addr = (struct sockaddr *)(void *)&names[i];
		all[i].ai_addrlen = sizeof names[i];
		all[i].ai_next = i + 1 < countof(all) ? &all[i + 1] : NULL;
	}
	*list = all;
	return 0;
}

static void net_freeaddrinfo(struct addrinfo *list)
{
	(void)list;
}

/* A whole request has come. */
static void peer_asked(struct peer *p)
{
	int number;

	p->in[p->length] = '\0';
	must(strncmp(p->in, "CONNECT ", 8) != 0 || !strstr(p->in, token), "a proxy is never told the token");
	if (sscanf(p->in, "GET /%d HTTP/1.1\r\n", &number) == 1 ||
	    sscanf(p->in, "GET /v1/%d HTTP/1.1\r\n", &number) == 1)
		p->exchange->request = number;
	p->length = 0;
	p->sends = true;
}

static ssize_t net_send(int fd, const void *bytes, size_t length, int flags)
{
	struct peer *p = peer_of(fd);
	unsigned fate = throw_dice(&net.dice, 8);

	(void)flags;
	if (p->reset || fate == 7) {
		p->reset = true;
		errno = EPIPE;
		return -1;
	}
	if (fate == 6) {
		errno = EAGAIN;
		return -1;
	}
	if (fate == 5 && length > 1)
		length /= 2;
	if (length > sizeof p->in - 1 - p->length)
		length = sizeof p->in - 1 - p->length;
	if (!p->length && p->exchange->request != UNKNOWN)
		peer_begins(p);
	memcpy(p->in + p->length, bytes, length);
	p->length += length;
	if (p->length >= 4 && memcmp(p->in + p->length - 4, "\r\n\r\n", 4) == 0)
		peer_asked(p);
	else if (p->length == sizeof p->in - 1)
		p->length = 0; /* of TLS, which nobody here understands */
	return (ssize_t)length;
}

static ssize_t again(void)
{
	errno = EAGAIN;
	return -1;
}

static ssize_t peer_ends(struct peer *p)
{
	p->ended = p->exchange->ended = true;
	return 0;
}

/* The next bytes of what is to be sent, at most so many. */
static ssize_t peer_sends(struct peer *p, char *bytes, size_t length)
{
	struct exchange *e = p->exchange;
	size_t n = 0;

	while (n < length && net.at < net.dice.n && net.dice.s[net.at] != SEPARATOR)
		bytes[n++] = net.dice.s[net.at++];
	if (net.at < net.dice.n && net.dice.s[net.at] == SEPARATOR && n < length) {
		net.at++;
		p->sends = p->at_ease;
	}
	if (n) {
		e->bytes = realloc(e->bytes, e->n + n);
		memcpy(e->bytes + e->n, bytes, n);
		e->n += n;
	}
	if (n)
		return (ssize_t)n;
	if (net.at < net.dice.n)
		return again();
	return peer_ends(p);
}

static ssize_t net_recv(int fd, void *bytes, size_t length, int flags)
{
	static const int64_t pauses[] = {1, 100, 3000, 40000};
	struct peer *p = peer_of(fd);
	unsigned fate;

	(void)flags;
	if (net.now < p->ready_at || p->mute)
		return again();
	fate = p->ended || p->reset ? 0 : throw_dice(&net.dice, 32);
	if (fate == 31)
		p->reset = true;
	if (p->reset) {
		errno = ECONNRESET;
		return -1;
	}
	if (p->ended || fate == 30)
		return peer_ends(p);
	if (fate >= 24 && fate < 28) {
		p->ready_at = net.now + pauses[fate - 24];
		return again();
	}
	if (!p->sends && !p->at_ease)
		return again();
	if (fate >= 16 && fate < 24 && length > fate - 15)
		length = fate - 15;
	return peer_sends(p, bytes, length);
}

static bool peer_readable(const struct peer *p)
{
	return net.now >= p->ready_at && !p->mute && (p->ended || p->reset || p->sends || p->at_ease);
}

/* Time jumps to what comes first. */
static int net_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int64_t until = net.now + timeout;
	int ready = 0;
	nfds_t i;

	must(++net.polls < POLLS, "it comes to an end");
	must(timeout >= 0 && timeout <= GLANCE_MS, "it looks at the stop flag often enough");
	for (i = 0; i < count; i++) {
		struct peer *p = peer_of(fds[i].fd);
		fds[i].revents = 0;
		if (fds[i].events & POLLOUT && !p->mute)
			fds[i].revents |= POLLOUT;
		if (fds[i].events & POLLIN && peer_readable(p))
			fds[i].revents |= POLLIN;
		ready += fds[i].revents != 0;
		if (p->ready_at > net.now && p->ready_at < until)
			until = p->ready_at;
	}
	if (!ready)
		net.now = until;
	return ready;
}

static void net_reset(const char *bytes, size_t length)
{
	size_t i;

	for (i = 0; i < net.exchanges; i++)
		free(net.exchange[i].bytes);
	memset(net.exchange, 0, net.exchanges * sizeof *net.exchange);
	memset(net.peer, 0, net.opened * sizeof *net.peer);
	net.opened = net.polls = net.exchanges = net.at = 0;
	net.live = net.peak = 0;
	net.now = 0;
	net.dice = (struct dice){bytes, length};
}

/* ---- The client ---- */

static int64_t client_pause(const char *body, size_t length)
{
	return length ? *body % 64 * 1000 : -1;
}

static void client_notice(void *ctx, const struct http_notice *n)
{
	(void)ctx;
	must(is_plain(str_of(n->reason)) && !strstr(n->reason, token), "a notice can be shown");
	must(n->wait_ms >= 0, "no wait is negative");
}

enum { TIMEOUT_MS = 20000, BACKOFF_MS = 100, PATIENCE_MS = 60000, ATTEMPTS = 3 };

/* To this machine; a proxy or TLS, which nobody answers well; by a name. */
static struct http *client_open(void)
{
	static const char *const urls[] = {"http://127.0.0.1:8080", "http://127.0.0.1:8080", "http://[::1]/v1",
					   "http://localhost:81",   "http://name.test",      "https://127.0.0.1"};
	struct http_options o;
	struct error error = {""};
	struct http *h;

	memset(&o, 0, sizeof o);
	o.base_url = urls[throw_dice(&net.dice, countof(urls))];
	o.token = token;
	o.user_agent = "fuzz";
	o.ca_file = "test/corpus/pem/p256";
	o.proxy = throw_dice(&net.dice, 2) ? "http://user:word@127.0.0.1:3128" : NULL;
	o.connections = 1 + throw_dice(&net.dice, 3);
	o.attempts = 1 + throw_dice(&net.dice, ATTEMPTS);
	o.request_timeout_ms = TIMEOUT_MS;
	o.backoff_ms = BACKOFF_MS;
	o.patience_ms = PATIENCE_MS;
	o.pause_ms = client_pause;
	o.notice = client_notice;
	h = http_open(&o, &error);
	must(h != NULL, "a client opens");
	return h;
}

/* Statuses that are tried again. */
static bool is_final(int status)
{
	return status < 500 && status != 408 && status != 425 && status != 429;
}

/* Is this what some server said to this request, as another reads it? */
static bool was_said(int request, const struct http_response *a)
{
	const struct exchange *e;

	for (e = net.exchange; e < net.exchange + net.exchanges; e++)
		if ((e->request == request || e->request == UNKNOWN) && /* it may answer before it was asked all */
		    answer_is_whole(e->n ? e->bytes : "", e->n, e->ended) && said.status == a->status &&
		    said.length == a->length && (!said.length || memcmp(said.body, a->body, said.length) == 0))
			return true;
	return false;
}

/* Was there a whole answer that is the last word? */
static bool was_answered(int request)
{
	const struct exchange *e;

	for (e = net.exchange; e < net.exchange + net.exchanges; e++)
		if (e->request == request && answer_is_whole(e->n ? e->bytes : "", e->n, e->ended) &&
		    is_final(said.status))
			return true;
	return false;
}

static void must_be_right(int request, const struct http_response *a, bool tls)
{
	must(is_plain(str_of(a->error)) && !strstr(a->error, token), "an error can be shown");
	if (a->outcome == HTTP_DONE) {
		must(!tls, "nobody has proved who he is");
		must(was_said(request, a), "an answer is what the server said");
	} else {
		must(*a->error && !a->length && !a->status, "a failure has a reason and nothing else");
		must(tls || !was_answered(request), "a whole answer is delivered");
	}
}

/* What the bytes that came account for: their room, twice while it grows, and what gzip makes of them. */
static size_t memory_most(size_t before, size_t requests, size_t sent)
{
	return before + requests * (BODY_FIRST + 16384) + sent * (4 + EXPANSION_MOST) + 200000;
}

static void fuzz_client(const char *bytes, size_t length)
{
	struct http_request *r, *requests[REQUESTS];
	size_t i, n, before, sent;
	struct http *h;

	net_reset(bytes, length);
	h = client_open();
	n = 1 + throw_dice(&net.dice, REQUESTS);
	sent = net.dice.n;
	before = net.peak = net.live;
	for (i = 0; i < n; i++) {
		char path[20];
		snprintf(path, sizeof path, "/%d", (int)i);
		requests[i] = http_start(h, path, "a/b", i, (unsigned)(i % 2));
	}
	while ((r = http_next(h)) != NULL) {
		for (i = 0; i < n && requests[i] != r; i++)
			;
		must(i < n, "each request comes back once");
		must_be_right((int)i, http_response(r), h->origin.tls);
		http_release(h, r);
		requests[i] = NULL;
	}
	for (i = 0; i < n; i++)
		must(!requests[i], "each request comes to an end");
	must(net.peak <= memory_most(before, n, sent) + (h->origin.tls ? n * sizeof(struct tls) : 0),
	     "memory is for what came");
	must(net.now <= (int64_t)n * ATTEMPTS * (TIMEOUT_MS + BACKOFF_MS * BACKOFF_MOST + PATIENCE_MS) * 2,
	     "no request takes longer than it may");
	http_close(h);
	must(!net.open, "every socket is closed in the end");
	net_reset(NULL, 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuzz_target targets[] = {{"client", fuzz_client}};

	(void)argc;
	(void)argv;
	return fuzz_choose(targets, countof(targets));
}
