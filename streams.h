/* streams.h - the Segment Public API as data: the stream table, and the one walk over it.
 * Knows what to ask for, in which order, and what an answer means.  Knows nothing of command lines, files and sockets. */
#ifndef STREAMS_H
#define STREAMS_H

#include "http.h"
#include "schemas/schemas.h"
#include "singer.h"

/* What a bookmark closes, and so what one job asks for.  Parents are another matter. */
enum window {
	WINDOW_NONE,
	WINDOW_MONTH, /* {month}: calendar months, from the one before since's on */
	WINDOW_DAY,   /* {from}, {to}: whole UTC days, but today; the rows are dated by the request alone */
	WINDOW_SPAN,  /* {from}, {to}: 30 days from since on, the last one open unless there is an end_date */
	WINDOW_DAYS   /* {from}, {to}: 30 UTC days, whole ones only */
};

/* What stands at the row's member of "data". */
enum shape {
	ROWS_LIST,   /* a list of objects, each a row */
	ROWS_OBJECT, /* one object, the row */
	ROWS_TEXTS,  /* a list of bare strings */
	ROWS_SERIES  /* a list of objects, in each of which a list `series` holds the rows: objects or bare strings */
};

enum { STREAM_ADD = 6 }; /* most fields put into each row */

struct stream_pair {
	const char *name, *value;
};

/* All that is known of one stream.  Columns that a row leaves out are 0 or NULL.
 * query, each and add are lists that end with a NULL.
 * In path and query {x} is field x of the parent's row, percent-encoded; {from}, {to}, {month} and {each} are the job's.
 * In add a value is one of {x}, {from}, {each}; {.x.y}: a member of the row, or of the object around it in a series;
 * {.}: the row itself, a bare string.  Added fields win over the row's own.  What a row does not have is left out of
 * it, but empty where it belongs to the unique key. */
struct stream {
	struct singer_stream singer;     /* .parent: any stream of the table, a child too */
	size_t schema_at, schema_length; /* in the text that streams_unpack makes */
	const char *path;
	const struct stream_pair *query; /* in this order; one with {to} is left out while the window is open */
	const char *const *each;         /* a job for each of these values */
	struct stream_pair only;         /* parents whose field `name` begins with `value`; others give no job */
	const char *rows;                /* member of "data" */
	enum shape shape;
	const char *series;
	const char *accept;                   /* media type: stage of the API */
	unsigned page_rows;                   /* rows asked for on a page; 0: not paginated */
	unsigned page_most;                   /* the most that may be asked for; 0: 1000 */
	const char *count_name, *cursor_name; /* NULL: pagination.count, pagination.cursor */
	unsigned rows_most; /* rows beyond which the API gives none: as many are taken to be cut off */
	enum window window;
	int32_t settle_s;    /* a bookmark stays this far behind now: younger rows may change or turn up */
	int32_t overlap_s;   /* asked for so much more at both ends */
	unsigned reach_days; /* days that the API keeps, today among them; 0: all */
	unsigned per_minute; /* requests that the API documents as its limit; 0: none said */
	const struct stream_pair *add;
	const char *needs; /* what a plan or a token may lack where the API answers 403 */
	const char *cost;  /* requests of a run, further pages aside: S sources, D destinations, ... as README says */
	const char *personal; /* personal data and secrets in its rows; NULL: none known */
};

enum { STREAMS = SCHEMAS };           /* a row for each schema: one without the other does not compile */
extern const struct stream streams[]; /* STREAMS rows; a parent stands before its children */

/* Points each selection at its stream, and at its schema, which is unpacked into the arena.  false: no memory. */
bool streams_unpack(struct selection sel[STREAMS], struct arena *);

/* What became of the selected streams.  Those that a signal or a fatal error left out are in selected only. */
struct sync_totals {
	unsigned selected;
	unsigned synced;     /* to their end; single parents may have been left out */
	unsigned skipped;    /* forbidden, or a list that they need is */
	unsigned failed;     /* as a whole, or a row or a parent of them */
	struct error reason; /* the first failure, or what ended the run; empty: none */
};

/* --test: what became of a stream's one request. */
enum access { ACCESS_UNTRIED, ACCESS_YES, ACCESS_NO, ACCESS_ERROR };
struct probe {
	enum access access; /* NO: the token may not; ERROR: no usable answer */
	int status;         /* of the answer; 0: none */
	char text[160];     /* the first row's key, or why there is none */
};

struct sync_options {
	int64_t start_us, end_us, now_us; /* end_us: INT64_MAX without end_date; now_us: read once, at the start */
	unsigned page_rows;               /* 0: as the table says */
	unsigned connections;             /* most pages of one stream asked for and not yet here */
	size_t page_bytes; /* of pages that wait to be written, beyond which only the first of them asks */
	bool fail_on_forbidden;
	/* Not NULL: a sample.  One job a stream, of recent time, one row a page, no cursor followed; SCHEMA of every selected
	 * stream and one RECORD, no STATE; failures are told here, one for each stream of the table, and not logged;
	 * what ends it stands in the totals' reason. */
	struct probe *sample;
	volatile sig_atomic_t *stop; /* as in struct http_options */
	struct sync_totals *totals;  /* filled by streams_sync; may be NULL */
	/* At each stream's begin and after each page; number: which of the selected ones, from 1.  May be NULL. */
	void (*progress)(void *ctx, const char *stream, unsigned number, uint64_t records);
	void *ctx;
};

enum sync_result {
	SYNC_DONE,
	SYNC_PARTLY,  /* something of it failed, the rest is written; of a sample: some stream could not be read */
	SYNC_ENDED,   /* no memory, or standard output failed */
	SYNC_LATER,   /* nothing can be done now: no connection, or every request fails in a way that passes */
	SYNC_REFUSED, /* nothing can be done until somebody acts: token or certificate refused, every stream forbidden */
	SYNC_STOPPED  /* by opt->stop */
};

/* Walks the selected streams and writes all their messages, from the first STATE (the state as read) to the last one.
 * sel[i] belongs to streams[i].  Rows, their order, STATE lines and warnings are the same for every number of
 * connections and every order in which answers come.  Logs what went wrong, except for a failed standard output: that
 * is SYNC_ENDED, and singer_flush tells.  Goes on from the bookmarks that state_bookmarks left in sel.  A sample needs no
 * state.  Not to be called from two threads, nor from its own hooks. */
enum sync_result streams_sync(struct http *, struct singer *, struct state *, struct selection sel[STREAMS],
			      const struct sync_options *);

/* Where the API of a region is: us, eu, or eu1 as its host says; in any case.  NULL: there is no such region. */
const char *segment_region_url(const char *region);

/* The hooks of struct http_options. */
int64_t segment_pause_ms(const char *body, size_t length);  /* errors[0].data.msBeforeNext of a 429; -1: none */
void streams_notice(void *ctx, const struct http_notice *); /* a log line naming the path's stream; ctx: unused */

#endif
