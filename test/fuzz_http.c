/* fuzz_http.c - http.c's pure texts against any bytes: answers whole and in every split, and as answer.h reads them; gzip
 * as zlib reads it; dates and URLs there and back; certificates as BearSSL's own decoder reads them. */
#include "../http.c"

#include "fuzz.h"
#include "answer.h"

static bool same_bytes(const void *a, size_t n, const void *b, size_t m)
{
	return n == m && (n == 0 || memcmp(a, b, n) == 0);
}

/* ---- Answers ---- */

/* How the bytes come, and what comes of them. */
struct outcome {
	struct answer a;
	enum verdict v;
	size_t used;
	bool keeps;
};

static void outcome_feed(struct outcome *o, const char *bytes, size_t length)
{
	size_t used;

	if (o->v != ANSWER_MORE)
		return;
	o->v = answer_feed(&o->a, bytes, length, &used);
	must(used <= length && (used == length || o->v != ANSWER_MORE), "all bytes are taken until it is decided");
	o->used += used;
	must(o->a.overhead + o->a.line <= HTTP_HEAD_LIMIT, "heads stay within their limit");
}

static void outcome_end(struct outcome *o, bool clean)
{
	o->keeps = o->v == ANSWER_WHOLE && answer_keeps(&o->a);
	if (o->v == ANSWER_MORE)
		o->v = answer_end(&o->a, clean);
	must(o->v == ANSWER_WHOLE || o->a.why, "what is no answer has a reason");
}

static void must_agree(const struct outcome *one, const struct outcome *other)
{
	must(one->v == other->v, "the same verdict in other pieces");
	if (one->v != ANSWER_WHOLE) {
		must(strcmp(one->a.why, other->a.why) == 0, "the same reason in other pieces");
		return;
	}
	must(one->used == other->used && one->keeps == other->keeps, "the same end in other pieces");
	must(one->a.head.status == other->a.head.status &&
		     same_bytes(one->a.bytes, one->a.length, other->a.bytes, other->a.length),
	     "the same answer in other pieces");
}

/* Pieces of `piece` bytes, or with SIZE_MAX two that meet at cut. */
static void outcome_of(struct outcome *o, const char *bytes, size_t length, size_t piece, size_t cut, bool clean)
{
	size_t at, n;

	memset(o, 0, sizeof *o);
	for (at = 0; at < length; at += n) {
		n = piece != SIZE_MAX ? piece : at < cut ? cut - at : length - at;
		n = n < length - at ? n : length - at;
		outcome_feed(o, bytes + at, n);
	}
	outcome_end(o, clean);
}

static void must_be_sound(const struct head *h)
{
	size_t i;

	for (i = 0; h->location[i]; i++)
		must(h->location[i] > 0x20 && h->location[i] < 0x7f, "a location can be shown");
	must(is_plain(str_of(h->scheme)), "a scheme can be shown");
	must(when_ms(&h->retry_after, &h->date, 0) >= -1 && when_ms(&h->reset, &h->date, 0) >= -1,
	     "no wait is negative");
	must(h->remaining <= INT32_MAX, "a count fits");
}

static void fuzz_answer(const char *bytes, size_t length)
{
	enum { CUTS = 64 };
	bool clean = !length || bytes[length - 1] != '!';
	struct outcome whole, other;
	size_t cut;

	outcome_of(&whole, bytes, length, SIZE_MAX, 0, clean);
	must_be_sound(&whole.a.head);
	must((whole.v == ANSWER_WHOLE) == answer_is_whole(bytes, length, clean), "whole, or not, as another reads it");
	if (whole.v == ANSWER_WHOLE)
		must(whole.a.head.status == said.status &&
			     same_bytes(whole.a.bytes, whole.a.length, said.body, said.length),
		     "the same status and body as another reads");
	outcome_of(&other, bytes, length, 1, 0, clean);
	must_agree(&whole, &other);
	answer_free(&other.a);
	for (cut = 1; cut < length && cut < CUTS; cut++) {
		outcome_of(&other, bytes, length, SIZE_MAX, cut, clean);
		must_agree(&whole, &other);
		answer_free(&other.a);
	}
	answer_free(&whole.a);
}

/* ---- Gzip ---- */

enum { TEXT_MOST = 1 << 18 };

static char packed[1 << 16], unpacked[TEXT_MOST];

static void must_unpack(const char *bytes, size_t n, size_t most)
{
	size_t length, expected;
	const char *why;
	char *out;
	enum verdict v = gunzip(bytes, n, most, &out, &length, &why);
	bool good = unpack(bytes, n, unpacked, &expected, sizeof unpacked);

	if (!good && expected == sizeof unpacked)
		must(v != ANSWER_WHOLE, "it is too long for the test, and so for us");
	else if (!good)
		must(v == ANSWER_BAD || (v == ANSWER_OVER && expected + SLACK >= most), "zlib refuses it: so do we");
	else if (expected > most)
		must(v == ANSWER_OVER, "it is too long");
	else
		must(v == ANSWER_WHOLE && same_bytes(out, length, unpacked, expected), "the same bytes as zlib's");
	must(v == ANSWER_WHOLE || (why && !out), "a reason, and nothing else");
	free(out);
}

/* As it is. */
static void fuzz_gzip(const char *bytes, size_t length)
{
	must_unpack(bytes, length, sizeof unpacked);
	must_unpack(bytes, length, length);
}

static void put_le32(char *to, unsigned long value)
{
	int i;

	for (i = 0; i < 4; i++)
		to[i] = (char)(value >> 8 * i & 255);
}

/* As deflate, put between a header and the right check values: a changed byte would fail those before all else. */
static void fuzz_deflate(const char *bytes, size_t length)
{
	static const char header[10] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
	struct part in = {bytes, length};
	size_t n = 0, used;
	bool good;

	if (length > sizeof packed - sizeof header - 8)
		return;
	good = unpack_one(&in, -15, unpacked, &n, sizeof unpacked);
	used = good ? length - in.n : length;
	memcpy(packed, header, sizeof header);
	memcpy(packed + sizeof header, bytes, used);
	put_le32(packed + sizeof header + used, crc32(0, (const Bytef *)unpacked, (uInt)n));
	put_le32(packed + sizeof header + used + 4, n);
	must(crc32(0, (const Bytef *)unpacked, (uInt)n) == crc32_of((const unsigned char *)unpacked, n),
	     "the same CRC-32");
	must_unpack(packed, sizeof header + used + 8, sizeof unpacked);
}

/* ---- Dates and URLs ---- */

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static void must_read_date(const char *text, int64_t expected)
{
	int64_t seconds = -1;

	must(date_parse(str_of(text), 0, &seconds) && seconds == expected, "a date comes back");
}

/* Any text; and an instant in each of the forms. */
static void fuzz_date(const char *bytes, size_t length)
{
	enum { EAST = 5400 };
	struct str text = {bytes, length};
	char time[TIME_SIZE], written[80];
	int64_t seconds = 42, instant;
	uint64_t any = 0;
	const char *month;
	bool good = date_parse(text, INT64_C(1795557600), &seconds);

	must(good || seconds == 42, "no date changes nothing");
	must(!good || (seconds >= -INT64_C(62135683200) && seconds < INT64_C(253402387200)),
	     "a date is in the calendar");
	memcpy(&any, bytes, length < sizeof any ? length : sizeof any);
	instant = (int64_t)(any % 253402300800u);
	time_format(instant * SECOND_US, time);
	month = month_names + 3 * ((time[5] - '0') * 10 + time[6] - '0' - 1);
	snprintf(written, sizeof written, "Sun, %.2s %.3s %.4s %.8s GMT", time + 8, month, time, time + 11);
	must_read_date(written, instant);
	snprintf(written, sizeof written, "Sun %.3s %.2s %.8s %.4s", month, time + 8, time + 11, time);
	must_read_date(written, instant);
	snprintf(written, sizeof written, "%.2s %.3s %.4s %.8s +0130", time + 8, month, time, time + 11);
	must_read_date(written, instant - EAST);
}

static void must_read_url(const char *text, const struct url *as)
{
	struct url u;

	must(!url_parse(text, &u), "what a URL is called is a URL");
	must(u.tls == as->tls && u.port == as->port && u.family == as->family && strcmp(u.host, as->host) == 0 &&
		     strcmp(u.name, as->name) == 0,
	     "of the same place");
}

/* Whatever is asked of the proxy, it is one head and has nothing of ours in it. */
static void must_tunnel(const struct url *u)
{
	char *text = tunnel_text(u, u->user);
	size_t n = strlen(text);

	must(n > 4 && strstr(text, "\r\n\r\n") == text + n - 4, "a CONNECT is one head");
	must(strncmp(text, "CONNECT ", 8) == 0 && !strstr(text, "Bearer"), "and only that");
	free(text);
}

/* A URL and, behind a NUL, what no_proxy says. */
static void fuzz_url(const char *bytes, size_t length)
{
	struct str list = {bytes, length}, first = str_cut(&list, '\0');
	struct arena arena = {0};
	char *text = arena_string(&arena, first), *no_proxy = arena_string(&arena, list);
	char again[2 * NAME_SIZE];
	struct url u;
	size_t i;

	if (!url_parse(text, &u)) {
		must(*u.host && u.port, "a URL has host and port");
		for (i = 0; u.host[i]; i++)
			must(is_digit(u.host[i]) || (u.host[i] >= 'a' && u.host[i] <= 'z') || strchr("-._:", u.host[i]),
			     "a host has its characters");
		must(u.prefix >= text && u.prefix <= text + strlen(text) && (!*u.prefix || strchr("/?#", *u.prefix)),
		     "the rest begins with the path");
		snprintf(again, sizeof again, "%s://%s", u.tls ? "https" : "http", u.name);
		u.dot = false;
		must_read_url(again, &u);
		if (!u.user.s || (is_plain(u.user) && !user_has_colon(u.user)))
			must_tunnel(&u);
		proxy_exempt(&u, no_proxy);
		must(proxy_exempt(&u, "x,*"), "* exempts every host");
		must(proxy_exempt(&u, u.host), "a host exempts itself");
	}
	arena_free(&arena);
}

/* ---- Certificates ---- */

static unsigned char name_bytes[1 << 16];
static size_t name_length;

static void name_add(void *context, const void *bytes, size_t length)
{
	(void)context;
	must(length <= sizeof name_bytes - name_length, "a name fits the test");
	memcpy(name_bytes + name_length, bytes, length);
	name_length += length;
}

static bool keys_equal(const br_x509_pkey *a, const br_x509_pkey *b)
{
	if (a->key_type != b->key_type)
		return false;
	if (a->key_type == BR_KEYTYPE_EC)
		return a->key.ec.curve == b->key.ec.curve &&
		       same_bytes(a->key.ec.q, a->key.ec.qlen, b->key.ec.q, b->key.ec.qlen);
	return same_bytes(a->key.rsa.n, a->key.rsa.nlen, b->key.rsa.n, b->key.rsa.nlen) &&
	       same_bytes(a->key.rsa.e, a->key.rsa.elen, b->key.rsa.e, b->key.rsa.elen);
}

/* BearSSL's decoder judges what we accept, where it does so too. */
static void must_anchor(struct der certificate, const br_x509_trust_anchor *anchor)
{
	br_x509_decoder_context decoder;
	const br_x509_pkey *key;

	name_length = 0;
	br_x509_decoder_init(&decoder, name_add, NULL);
	br_x509_decoder_push(&decoder, certificate.s, certificate.n);
	key = br_x509_decoder_get_pkey(&decoder);
	if (!key)
		return;
	must(same_bytes(anchor->dn.data, anchor->dn.len, name_bytes, name_length),
	     "the same name as BearSSL's decoder");
	must(keys_equal(&anchor->pkey, key), "the same key as BearSSL's decoder");
	must(!br_x509_decoder_isCA(&decoder) || anchor->flags & BR_X509_TA_CA, "an authority is one");
}

/* Where the bytes are, all of what an anchor points to is. */
static void must_be_within(const br_x509_trust_anchor *a, const unsigned char *s, size_t n)
{
	const unsigned char *key = a->pkey.key_type == BR_KEYTYPE_EC ? a->pkey.key.ec.q : a->pkey.key.rsa.n;
	size_t length = a->pkey.key_type == BR_KEYTYPE_EC ? a->pkey.key.ec.qlen : a->pkey.key.rsa.nlen;

	must(a->dn.data >= s && a->dn.data + a->dn.len <= s + n && key >= s && key + length <= s + n,
	     "an anchor points into its certificate");
}

static void fuzz_der(const char *bytes, size_t length)
{
	struct der certificate = {(const unsigned char *)bytes, length}, first = certificate;
	br_x509_trust_anchor anchor;
	int64_t from = 0, until = 0;

	if (certificate_parse(certificate, &anchor)) {
		must_be_within(&anchor, certificate.s, length);
		must_anchor(certificate, &anchor);
	}
	certificate_dates(certificate, &from, &until);
	if (certificate_first(&first))
		must(first.s == certificate.s && first.n <= length, "the first element is within");
}

/* One behind the other: a line's dashes are none of the next. */
static size_t count_begins(const char *text)
{
	static const char *const begins[] = {"-----BEGIN CERTIFICATE-----", "-----BEGIN TRUSTED CERTIFICATE-----",
					     "-----BEGIN X509 CERTIFICATE-----"};
	size_t n = 0, i;

	while (*text) {
		for (i = 0; i < countof(begins) && strncmp(text, begins[i], strlen(begins[i])) != 0; i++)
			;
		text += i < countof(begins) ? strlen(begins[i]) : 1;
		n += i < countof(begins);
	}
	return n;
}

static void fuzz_pem(const char *bytes, size_t length)
{
	static char text[1 << 16];
	struct trust t = {0};
	size_t i;

	if (memchr(bytes, '\0', length) || length >= sizeof text)
		return;
	memcpy(text, bytes, length);
	text[length] = '\0';
	t.file = malloc(length + !length);
	memcpy(t.file, bytes, length);
	must(trust_pem(&t, length), "there is memory");
	must(t.count + t.left_out == count_begins(text), "each certificate is taken or counted");
	for (i = 0; i < t.count; i++)
		must_be_within(&t.anchors[i], (unsigned char *)t.file, length);
	trust_free(&t);
}

/* ---- Targets ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct fuzz_target targets[] = {
		{"answer", fuzz_answer}, {"gzip", fuzz_gzip}, {"deflate", fuzz_deflate}, {"date", fuzz_date},
		{"url", fuzz_url},       {"der", fuzz_der},   {"pem", fuzz_pem}};

	(void)argc;
	(void)argv;
	return fuzz_choose(targets, countof(targets));
}
