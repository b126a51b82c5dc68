#include "fake_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum stage { WAITING, SENT, GIVEN };

struct http_request {
	struct http_request *next;
	enum stage stage;
	uint64_t rank;
	size_t times; /* this path was asked for before */
	size_t due;   /* on the clock */
	char *path, *body;
	struct http_response response;
};

static char *copy_of(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = malloc(size);

	if (!copy)
		abort();
	return memcpy(copy, text, size);
}

void fake_reset(struct http *h)
{
	while (h->requests)
		http_release(h, h->requests);
	h->started = h->given = h->released = h->clock = 0;
	h->most_unanswered = h->most_bytes = h->unanswered = h->bytes = 0;
	h->asked_length = h->started_length = 0;
	h->last_rank = 0;
	h->in_order = true;
	h->asked[0] = h->started_paths[0] = '\0';
	h->random = h->seed;
}

static void add_line(char *lines, size_t size, size_t *length, const char *path)
{
	if (strlen(path) + 2 < size - *length)
		*length += (size_t)snprintf(lines + *length, size - *length, "%s\n", path);
}

/* How often a path stands among the lines of what was asked. */
static size_t times_asked(const struct http *h, const char *path)
{
	size_t times = 0, length = strlen(path);
	const char *line = h->started_paths;

	while (*line) {
		const char *end = strchr(line, '\n');
		times += (size_t)(end - line) == length && memcmp(line, path, length) == 0;
		line = end + 1;
	}
	return times;
}

struct http_request *http_start(struct http *h, const char *path, const char *accept, uint64_t rank, unsigned lane)
{
	struct http_request *q, **link = &h->requests;

	(void)accept;
	if (lane >= HTTP_LANES)
		abort();
	if (h->started + 1 == h->fail_start)
		return NULL;
	h->started++;
	q = calloc(1, sizeof *q);
	if (!q)
		abort();
	q->rank = rank;
	q->times = times_asked(h, path);
	q->path = copy_of(path);
	add_line(h->started_paths, sizeof h->started_paths, &h->started_length, path);
	while (*link)
		link = &(*link)->next;
	*link = q;
	h->unanswered += rank > 0;
	if (h->unanswered > h->most_unanswered)
		h->most_unanswered = h->unanswered;
	return q;
}

static struct fake_answer answer_for(struct http *h, const struct http_request *q)
{
	struct fake_answer made = {q->path, 200, NULL};
	const struct fake_answer *a, *found = NULL;
	size_t times = 0;

	if (h->make && h->make(q->path, &made))
		return made;
	for (a = h->answers; a->path; a++)
		if (strcmp(a->path, q->path) == 0) {
			found = a;
			if (times++ == q->times)
				break;
		}
	return found ? *found : *a;
}

static void answer(struct http *h, struct http_request *q)
{
	struct fake_answer a = answer_for(h, q);
	char *p;

	q->stage = GIVEN;
	q->body = copy_of(a.body ? a.body : "");
	for (p = q->body; *p; p++)
		if (*p == '\'')
			*p = '"';
	q->response.outcome = a.status < 0 ? (enum http_outcome) - a.status : HTTP_DONE;
	q->response.status = a.status < 0 ? 0 : a.status;
	q->response.body = q->body;
	q->response.length = strlen(q->body);
	q->response.received_us = h->received_us;
	q->response.attempts = 1;
	q->response.error = a.status < 0 ? "GET /path: the connection broke" : "";
	if (a.status / 100 == 3)
		q->response.error = "/path: it leads elsewhere";
	h->unanswered -= q->rank > 0;
	h->bytes += q->response.length;
	if (h->bytes > h->most_bytes)
		h->most_bytes = h->bytes;
}

static size_t count(const struct http *h, enum stage stage)
{
	const struct http_request *q;
	size_t n = 0;

	for (q = h->requests; q; q = q->next)
		n += q->stage == stage;
	return n;
}

/* Of the waiting requests the one of lowest rank, the oldest among equals. */
static struct http_request *next_to_send(const struct http *h)
{
	struct http_request *q, *best = NULL;

	for (q = h->requests; q; q = q->next)
		if (q->stage == WAITING && (!best || q->rank < best->rank))
			best = q;
	return best;
}

struct http_request *http_next(struct http *h)
{
	struct http_request *q;
	size_t sent, chosen = 0;

	if (h->stop_after && h->given >= h->stop_after) {
		*h->stop = 1;
		return NULL;
	}
	while ((sent = count(h, SENT)) < h->connections && (q = next_to_send(h))) {
		q->stage = SENT;
		h->in_order = h->in_order && (q->rank >= h->last_rank || q->rank == 0);
		h->last_rank = q->rank ? q->rank : h->last_rank;
		add_line(h->asked, sizeof h->asked, &h->asked_length, q->path);
		q->due = h->clock + 1;
	}
	if (sent == 0)
		return NULL;
	if (h->seed) {
		h->random = h->random * 1664525u + 1013904223u;
		chosen = (h->random >> 8) % sent;
	}
	if (h->newest_first)
		chosen = sent - 1;
	for (q = h->requests; q->stage != SENT || chosen-- > 0;)
		q = q->next;
	if (q->due > h->clock)
		h->clock = q->due;
	h->given++;
	answer(h, q);
	return q;
}

const struct http_response *http_response(const struct http_request *q)
{
	return &q->response;
}

/* Schemas come from their files in these tests. */
char *http_gunzip(const void *gzip, size_t length, size_t limit, size_t *text_length)
{
	(void)gzip;
	(void)length;
	(void)limit;
	*text_length = 0;
	return NULL;
}

void http_release(struct http *h, struct http_request *q)
{
	struct http_request **link = &h->requests;

	if (!q)
		return;
	while (*link != q)
		link = &(*link)->next;
	*link = q->next;
	if (q->stage == GIVEN)
		h->bytes -= q->response.length;
	else
		h->unanswered -= q->rank > 0;
	h->released++;
	free(q->path);
	free(q->body);
	free(q);
}
