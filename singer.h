/* singer.h - the Singer protocol: log, selection, records, messages, state.
 * It alone writes catalog and messages to standard output.  Knows nothing of HTTP and of endpoints.
 * The protocol: https://github.com/singer-io/getting-started/tree/master/docs (SPEC.md, DISCOVERY_MODE.md, SYNC_MODE.md,
 * CONFIG_AND_STATE.md); where it is silent, what singer-python, the Meltano SDK and the targets do. */
#ifndef SINGER_H
#define SINGER_H

#include <signal.h>

#include "json.h"

enum {
	SINGER_KEYS = 8,    /* most names in a key */
	SINGER_FIELDS = 64, /* most fields of one object */
	SINGER_TAIL = 49    /* bytes of a RECORD line after the row */
};

/* One line on standard error each, LEVEL first: bytes outside printable ASCII replaced, cut at 2 KiB, the secret struck
 * out.  errno stays. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL };

/* Lines below the level are dropped.  structured: one JSON object a line, as Meltano's structured logging reads them.
 * Before the first call: LOG_INFO, plain. */
void log_setup(enum log_level least, bool structured);
bool log_is_structured(void);

/* What no line may show, as it is, percent-encoded or escaped for JSON; kept by pointer.  Each call
 * adds one, "" none; NULL forgets all.  One of less than six characters is struck out as a word of its own only, or it
 * would take every line apart. */
void log_secret(const char *);
void log_line(enum log_level, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same of one stream, by the tap's own name, which a structured line carries; NULL: of none. */
void log_stream(enum log_level, const char *stream, const char *format, ...) PRINTF_LIKE(3, 4);

/* Lines from here on wait, until it is known whether an error makes them needless: then they are written, or dropped. */
void log_hold(void);
void log_release(bool keep);

/* For a person who watches: where standard error is a terminal, text below the lines, cut to its width, until the next one
 * or its end.  Nowhere else, and not at a level above LOG_INFO. */
void log_progress(const char *format, ...) PRINTF_LIKE(1, 2);
void log_progress_end(void);
size_t log_width(void); /* columns of that terminal; 0: standard error is none, or lines are structured */
/* A stream's row of --test, structured: the columns are members of "extra". */
void log_probe(const char *stream, const char *access, int status, const char *text);

/* Metrics in the form of singer-python's metrics.py, structured ones with the tags of the Meltano SDK; stream is one of
 * the tap's own names.  Plain lines of requests and times are LOG_DEBUG, all others LOG_INFO. */
void log_records(const char *stream, uint64_t more);           /* record_count: since the last such line */
void log_request(const char *stream, int64_t ms, int status);  /* http_request_duration; status 0: no answer */
void log_requests(const char *stream, uint64_t n);             /* http_request_count: of the whole stream */
void log_duration(const char *stream, int64_t ms, bool whole); /* sync_duration: from its begin to its end */
int64_t log_clock_ms(void);                                    /* a clock for it, that only goes forward */
void log_bytes(uint64_t received, uint64_t decoded); /* http_bytes_received, http_bytes_decoded: of the whole run */

/* A list of names, ended by NULL, for a table of constants. */
#define NAMES(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

/* What Singer has to know of a stream: constants, part of a row of the stream table. */
struct singer_stream {
	const char *name;
	const char *alias; /* another tap's name for it, taken in catalogs and states; NULL: none */
	/* Lists of at most SINGER_KEYS names, ended by NULL. */
	const char *const *key;        /* documented key_properties */
	const char *const *unique_key; /* what identifies one row; NULL: the key does */
	const char *const *secret;     /* fields that are out unless they are named; NULL: none */
	const char *replication_key;   /* NULL: FULL_TABLE */
	const char *parent;            /* stream, or NULL */
	bool by_name;                  /* only taken where a catalog or --select names it */
	const char *renamed;           /* a member that goes under another name, so nobody misses it; or NULL */
};

/* What one stream writes in this run.  Lives as long as the arena and the catalog's text. */
struct selection {
	const struct singer_stream *stream; /* set by the caller */
	struct str schema_text;             /* likewise: its JSON Schema, built in */
	bool selected;
	bool full_table;             /* the user's wish: bookmark neither read nor moved */
	bool by_rules;               /* --select decided, and discovery writes what it decided */
	bool started;                /* SCHEMA is out */
	struct str name;             /* in messages: the catalog's, else the stream's */
	struct str key[SINGER_KEYS]; /* key_properties in force; ended by one of no length where there are fewer */
	struct json schema;          /* the catalog's, else the built-in; absent if nobody needs it */
	struct field *fields;        /* the projection: the schema's fields with their types; NULL likewise */
	int64_t bookmark_us;         /* where it goes on, by state_bookmarks; INT64_MIN: nowhere, it starts anew */
	struct left_out *left_out;   /* names that the rows had and the schema has not */
	const struct field *mended;  /* the first with text that targets refuse; NULL: none */
	struct str head;             /* of every RECORD line, up to the row */
	uint64_t records;
};

/* Fills sel[0..n) from the catalog (absent: all but those by name), then the --select rules in place of the catalog's
 * selection (commas between them; NULL: none; the text need not stay).  Logs a warning for each unknown stream and field,
 * for a stream with several entries, for an object without any selected field, and if nothing is selected.
 * false: the catalog or a key in it is wrong, it has no stream of these, or calls two of them the same; the error names
 * stream and key or field, not the file. */
bool selection_make(struct selection sel[], size_t n, struct json catalog, const char *rules, bool unique_keys,
		    struct arena *, struct error *);

/* After selection_make with rules.  false: there is none, one that matches no stream and no field, of which the error names
 * what is nearest, or one that goes below a top-level field. */
bool selection_check_rules(const struct selection[], size_t n, const char *rules, struct error *);

/* How many selected streams have a key in force that does not identify a row; full_tables: of those without replication
 * key only. */
unsigned selection_shared_keys(const struct selection[], size_t n, bool full_tables);

/* At a stream's end, info lines: the names (at most 16) of what its rows had and the schema has not, if any; the first
 * field with text that targets refuse, if any. */
void selection_report(const struct selection *);

/* Messages are collected and leave in whole lines only: once 64 KiB are full, after a STATE, and at singer_flush.
 * A failed write (ENOMEM: no memory for a line) is sticky: later calls do nothing, singer_flush says so.
 * Starts as {.fd = 1}; json_out_free(&out) at the end. */
struct singer {
	bool waits; /* while it is set all is kept, and nothing written */
	int fd;     /* the caller's, of a file too; never made non-blocking, and waited for if it is */
	struct json_out out;
	int write_errno;
	uint64_t records;     /* RECORDs made */
	int64_t version;      /* of full tables, milliseconds since 1970; 0: their RECORDs carry none */
	int64_t extracted_us; /* of the last RECORD, and how its line ended */
	char tail[SINGER_TAIL];
};

/* Odd while standard output is being written to, and another one after each time: a signal handler may look. */
extern volatile sig_atomic_t singer_writes;

/* A string put into the row if its schema has the field; wins over the row's own. */
struct singer_extra {
	const char *field;
	struct str value;
};

/* The --discover document, indented by 2.  After selection_make without a catalog. */
void singer_catalog(struct singer *, const struct selection[], size_t n);
void singer_schema(struct singer *, struct selection *); /* once; further calls do nothing */

/* The row (an object) as a RECORD, after its SCHEMA.  false: it does not fit the schema; nothing of it was written, and
 * the error names stream, key and field, and none of its other values. */
bool singer_record(struct singer *, struct selection *, struct json row, const struct singer_extra *, size_t extras,
		   int64_t extracted_us, struct error *);

/* After the last row of a full table, all of which this run has written: ACTIVATE_VERSION, by which a target gives up the
 * rows of other versions (an extension of the protocol, as singer-python's messages.py has it).  Nothing without a
 * version, and for a stream with a replication key. */
void singer_activate(struct singer *, const struct selection *);
bool singer_flush(struct singer *); /* false: standard output failed, see write_errno */

/* State: the document read, kept whole, and what this run changed in it.  Points into the document. */
struct state {
	struct json old;         /* absent: {} */
	struct state_mark *mark; /* bookmarks raised in this run, in the order of their first raise */
	struct str syncing;      /* currently_syncing; no length: null */
	struct arena *arena;
};

/* Takes a state, with a warning one that is wrapped as a STATE message or by Meltano, {}, null, or absent.  Secrets in its
 * strings are struck out.  false: something else. */
bool state_read(struct state *, struct json, struct arena *, struct error *);

/* A stream's bookmark: {"timestamp":"..."}, {"replication_key_value":"..."} of the Meltano SDK, or the string itself.
 * None, null or {}: *us stays.  false: unreadable. */
bool state_get(const struct state *, const struct singer_stream *, int64_t *us, struct error *);
/* Reads and checks what the incremental streams, selected or not, go on from, into sel[0..n), before anything is sent.
 * Warns of bookmarks without a time and of a state of other streams.  false: a bookmark can't be read; the error names the
 * stream. */
bool state_bookmarks(const struct state *, struct selection sel[], size_t n, int64_t start_us, struct error *);
bool state_raise(struct state *, const struct singer_stream *, int64_t us); /* never back; false: no memory */
void state_syncing(struct state *, const char *stream); /* kept by pointer; NULL is written as null */

/* A STATE line: the document with unknown members and unraised bookmarks as they were; flushed. */
void singer_state(struct singer *, const struct state *);
void singer_state_value(struct singer *, const struct state *); /* the document alone, as state_read takes it */

#endif
