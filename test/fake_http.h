/* fake_http.h - http.h's functions without a network: answers come from a table, in an order that a seed decides.
 * A test fills a struct http with what is asked of it, hands it to the code under test, and looks at what was seen. */
#ifndef FAKE_HTTP_H
#define FAKE_HTTP_H

#include "../http.h"

/* What a path is answered; in body ' stands for ".  Several for one path are given out one after the other; the last
 * one from then on. */
struct fake_answer {
	const char *path;
	int status;       /* or an outcome other than HTTP_DONE, negated */
	const char *body; /* NULL: empty */
};

struct http {
	/* What is asked of it. */
	const struct fake_answer *answers; /* ended by a path of NULL, which answers all that is not in the table */
	bool (*make)(const char *path, struct fake_answer *); /* asked before the table; what it points to is copied */
	unsigned connections;                                 /* most requests on their way at once */
	unsigned seed;                                        /* of the order in which they are answered; 0: as asked */
	bool newest_first;                                    /* an order that keeps the front waiting longest */
	size_t fail_start;                                    /* the n-th http_start has no memory; 0: none */
	size_t stop_after;                                    /* so many answers, then *stop is set; 0: never */
	volatile sig_atomic_t *stop;
	int64_t received_us;
	/* What was seen. */
	size_t started, given, released;
	size_t clock;           /* passed, if every request takes 1 from being sent */
	size_t most_unanswered; /* at once, those of rank 0 aside */
	size_t most_bytes;      /* bodies given and not released, at once */
	char asked[1 << 16];    /* paths in the order in which they were sent, a line each; cut when full */
	bool in_order;          /* none was sent after one of a higher rank */
	/* Its own. */
	struct http_request *requests; /* not released, oldest first */
	char started_paths[1 << 16];   /* as asked, but as they were started */
	size_t unanswered, bytes, asked_length, started_length;
	uint64_t last_rank;
	unsigned random;
};

/* Ready for another run of the same test. */
void fake_reset(struct http *);

#endif
