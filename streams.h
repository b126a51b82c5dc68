/* streams.h - the Segment Public API as data: the stream table, and the one walk over it.
 * Knows what to ask for, in which order, and what an answer means.  Knows nothing of command lines, files and sockets. */
#ifndef STREAMS_H
#define STREAMS_H

#include "http.h"
#include "singer.h"

enum walk {
	WALK_LIST,    /* one job: a first page, and what follows it by cursor */
	WALK_PARENTS, /* one job a parent */
	WALK_MONTHS,  /* one job a month; bookmark after each */
	WALK_DAYS,    /* one job a day and parent, day by day; bookmark after each day */
	WALK_SPANS    /* one job a span of 30 days; bookmark after each */
};

enum { STREAM_EXTRAS = 2 }; /* most fields put into each row */

/* In path and add, {name} stands for a field of the parent (percent-encoded in path), {from} {to} {month} for the
 * job's time. */
struct stream {
	struct singer_stream singer;
	enum walk walk;
	const char *path;   /* with its fixed query; pagination is added */
	const char *rows;   /* member of "data" that holds them */
	const char *accept; /* media type: stage of the API */
	const char *needs;  /* what a plan or a token may lack where the API answers 403 */
	unsigned page_rows; /* pagination.count, rows is an array; 0: not paginated, rows is one object */
	int32_t settle_s;   /* a bookmark stays this far behind now: younger rows may change or turn up */
	struct {
		const char *field, *value;
	} add[STREAM_EXTRAS];
};

enum { STREAMS = 18 };
extern const struct stream streams[STREAMS]; /* documented order; a parent stands before its children */

/* What became of the selected streams.  Those that a signal or a fatal error left out are in selected only. */
struct sync_totals {
	unsigned selected;
	unsigned synced;  /* to their end; single parents may have been left out */
	unsigned skipped; /* forbidden, or a list that they need is */
	unsigned failed;
};

struct sync_options {
	int64_t start_us, end_us, now_us; /* end_us: INT64_MAX without end_date; now_us: read once, at the start */
	unsigned page_rows;               /* 0: as the table says */
	unsigned connections;             /* most pages asked for and not yet here */
	size_t hold;                      /* bytes of pages held beyond which only the front job asks */
	bool fail_on_forbidden;
	volatile sig_atomic_t *stop;                                       /* as in struct http_options */
	struct sync_totals *totals;                                        /* filled by streams_sync; may be NULL */
	void (*progress)(void *ctx, const char *stream, uint64_t records); /* after each page; may be NULL */
	void *ctx;
};

enum sync_result { SYNC_DONE, SYNC_PARTLY, SYNC_ENDED, SYNC_STOPPED }; /* exit 0, 1, 1, 128 + signal */

/* Walks the selected streams and writes all their messages, from the first STATE (the state as read) to the last one.
 * sel[i] belongs to streams[i].  Rows, their order, STATE lines and warnings are the same for every number of
 * connections and every order in which answers come.  Logs what went wrong, except for a failed standard output: that
 * is SYNC_ENDED, and singer_flush tells.  A bookmark that state_get can't read ends the run before anything is written. */
enum sync_result streams_sync(struct http *, struct singer *, struct state *, struct selection sel[STREAMS],
			      const struct sync_options *);

/* --test: one request a selected stream, and one for each list of parents that they need. */
enum access { ACCESS_UNTRIED, ACCESS_YES, ACCESS_NO, ACCESS_ERROR };
struct probe {
	enum access access; /* NO: the token may not; ERROR: no usable answer */
	int status;         /* of the answer; 0: none */
	char text[160];     /* the first row's key, or why there is none */
};

/* SYNC_DONE: the token works; SYNC_ENDED: it is refused, or the host can't be reached (logged).
 * With a singer, SCHEMA and one RECORD of each stream that has one are written as well; it may be NULL. */
enum sync_result streams_probe(struct http *, struct singer *, struct selection sel[STREAMS],
			       struct probe probes[STREAMS], const struct sync_options *);

/* Where the API of a region is: us, eu, or eu1 as its host says; in any case.  NULL: there is no such region. */
const char *segment_region_url(const char *region);

/* The hooks of struct http_options. */
int64_t segment_pause_ms(const char *body, size_t length);  /* errors[0].data.msBeforeNext of a 429; -1: none */
void streams_notice(void *ctx, const struct http_notice *); /* a log line naming the path's stream; ctx: unused */

#endif
