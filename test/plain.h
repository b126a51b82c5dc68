/* plain.h - a second JSON reader, to judge the first: plain recursive descent into a tree, nothing of json.c in it.
 * RFC 8259 byte by byte; UTF-8 by the value of each character (RFC 3629); a lone surrogate escape is U+FFFD.
 * Everything lives in memory of the file's own until the next plain_begin. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* type: the first byte of what it is: n t f " [ {, or 0 for a number.  Texts: a number's digits, what a string means. */
struct plain {
	char type;
	const char *text, *name; /* name: of an object's member */
	size_t length, name_length;
	bool lone, name_lone; /* the string holds half a surrogate pair */
	size_t count;         /* of its children */
	struct plain *child, *next;
};

enum { PLAIN_NODES = 1 << 16, PLAIN_BYTES = 1 << 20, PLAIN_DEPTH = 128 };

static struct {
	const char *p, *end;
	size_t nodes, bytes;
	unsigned depth;
	struct plain node[PLAIN_NODES];
	char byte[PLAIN_BYTES];
} plain;

static struct plain *plain_value(void);

static void plain_begin(void)
{
	plain.nodes = plain.bytes = 0;
}

static void plain_full(void)
{
	fprintf(stderr, "plain.h: the document is too large for it\n");
	abort();
}

static struct plain *plain_node(char type)
{
	struct plain *node = &plain.node[plain.nodes++];

	if (plain.nodes == PLAIN_NODES)
		plain_full();
	memset(node, 0, sizeof *node);
	node->type = type;
	return node;
}

static void plain_byte(unsigned byte)
{
	if (plain.bytes == PLAIN_BYTES)
		plain_full();
	plain.byte[plain.bytes++] = (char)byte;
}

/* -1 at the end of the text. */
static int plain_peek(void)
{
	return plain.p < plain.end ? (unsigned char)*plain.p : -1;
}

static bool plain_takes(char c)
{
	if (plain_peek() != (unsigned char)c)
		return false;
	plain.p++;
	return true;
}

static void plain_blanks(void)
{
	while (plain_takes(' ') || plain_takes('\t') || plain_takes('\n') || plain_takes('\r'))
		;
}

static void plain_character(unsigned long code)
{
	if (code < 0x80) {
		plain_byte((unsigned)code);
		return;
	}
	if (code < 0x800) {
		plain_byte((unsigned)(0xc0 + code / 64));
	} else {
		if (code < 0x10000) {
			plain_byte((unsigned)(0xe0 + code / 4096));
		} else {
			plain_byte((unsigned)(0xf0 + code / 262144));
			plain_byte((unsigned)(0x80 + code / 4096 % 64));
		}
		plain_byte((unsigned)(0x80 + code / 64 % 64));
	}
	plain_byte((unsigned)(0x80 + code % 64));
}

/* A character that stands there as it is. */
static bool plain_utf8(void)
{
	static const unsigned long least[] = {0, 0x80, 0x800, 0x10000};
	int lead = plain_peek(), more, i;
	unsigned long code;

	more = lead < 0x80 ? 0 : lead < 0xc0 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf8 ? 3 : -1;
	if (more < 0 || lead < 0x20)
		return false;
	code = (unsigned long)lead & (more ? 0x3fu >> more : 0x7fu);
	plain.p++;
	for (i = 0; i < more; i++, plain.p++) {
		int next = plain_peek();
		if (next < 0x80 || next > 0xbf)
			return false;
		code = code * 64 + (unsigned long)next % 64;
	}
	if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return false;
	plain_character(code);
	return true;
}

static bool plain_hex(unsigned long *code)
{
	int i;

	*code = 0;
	for (i = 0; i < 4; i++, plain.p++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		int c = plain_peek();
		const char *digit = c > 0 ? strchr(digits, c) : NULL;
		if (!digit)
			return false;
		*code = *code * 16 + (unsigned long)(digit - digits) % 16;
	}
	return true;
}

static bool plain_unicode(bool *lone)
{
	unsigned long code, low;
	const char *after;

	if (!plain_hex(&code))
		return false;
	after = plain.p;
	if (code >= 0xd800 && code < 0xdc00 && plain_takes('\\') && plain_takes('u') && plain_hex(&low) &&
	    low >= 0xdc00 && low < 0xe000) {
		plain_character(0x10000 + (code - 0xd800) * 1024 + (low - 0xdc00));
		return true;
	}
	plain.p = after;
	if (code >= 0xd800 && code < 0xe000) {
		*lone = true;
		code = 0xfffd;
	}
	plain_character(code);
	return true;
}

static bool plain_escape(bool *lone)
{
	switch (plain_peek()) {
	case '"':
	case '\\':
	case '/': plain_byte((unsigned)plain_peek()); break;
	case 'b': plain_byte(8); break;
	case 't': plain_byte(9); break;
	case 'n': plain_byte(10); break;
	case 'f': plain_byte(12); break;
	case 'r': plain_byte(13); break;
	case 'u': plain.p++; return plain_unicode(lone);
	default: return false;
	}
	plain.p++;
	return true;
}

static bool plain_string(const char **text, size_t *length, bool *lone)
{
	size_t begin = plain.bytes;

	*lone = false;
	if (!plain_takes('"'))
		return false;
	while (!plain_takes('"'))
		if (plain_takes('\\') ? !plain_escape(lone) : !plain_utf8())
			return false;
	*text = plain.byte + begin;
	*length = plain.bytes - begin;
	return true;
}

static bool plain_digits(void)
{
	const char *begin = plain.p;

	while (plain_peek() >= '0' && plain_peek() <= '9')
		plain.p++;
	return plain.p > begin;
}

static struct plain *plain_number(void)
{
	struct plain *node = plain_node(0);

	node->text = plain.p;
	plain_takes('-');
	if (!plain_takes('0') && !plain_digits())
		return NULL;
	if (plain_takes('.') && !plain_digits())
		return NULL;
	if (plain_takes('e') || plain_takes('E')) {
		if (!plain_takes('+'))
			plain_takes('-');
		if (!plain_digits())
			return NULL;
	}
	node->length = (size_t)(plain.p - node->text);
	return node;
}

static struct plain *plain_word(const char *word)
{
	struct plain *node = plain_node(*word);

	for (; *word; word++)
		if (!plain_takes(*word))
			return NULL;
	return node;
}

/* One element or member of a container. */
static struct plain *plain_child(bool object)
{
	const char *name = "";
	size_t length = 0;
	bool lone = false;
	struct plain *value;

	plain_blanks();
	if (object) {
		if (!plain_string(&name, &length, &lone))
			return NULL;
		plain_blanks();
		if (!plain_takes(':'))
			return NULL;
		plain_blanks();
	}
	value = plain_value();
	plain_blanks();
	if (value) {
		value->name = name;
		value->name_length = length;
		value->name_lone = lone;
	}
	return value;
}

static struct plain *plain_container(char open, char closing)
{
	struct plain *node = plain_node(open), **link = &node->child;

	plain.p++;
	plain_blanks();
	if (plain.depth == PLAIN_DEPTH)
		return NULL;
	if (plain_takes(closing))
		return node;
	plain.depth++;
	do {
		*link = plain_child(open == '{');
		if (!*link)
			return NULL;
		link = &(*link)->next;
		node->count++;
	} while (plain_takes(','));
	plain.depth--;
	return plain_takes(closing) ? node : NULL;
}

static struct plain *plain_value(void)
{
	struct plain *node;

	switch (plain_peek()) {
	case '{': return plain_container('{', '}');
	case '[': return plain_container('[', ']');
	case 'n': return plain_word("null");
	case 't': return plain_word("true");
	case 'f': return plain_word("false");
	case '"': node = plain_node('"'); return plain_string(&node->text, &node->length, &node->lone) ? node : NULL;
	default: return plain_number();
	}
}

/* NULL: this is no JSON text. */
static struct plain *plain_parse(const char *text, size_t length)
{
	struct plain *root;

	plain.p = text;
	plain.end = text + length;
	plain.depth = 0;
	plain_blanks();
	root = plain_value();
	plain_blanks();
	return plain.p == plain.end ? root : NULL;
}

/* ---- What a tree says ---- */

static bool plain_is(const char *a, size_t n, const char *b, size_t m)
{
	return n == m && (n == 0 || memcmp(a, b, n) == 0);
}

/* The last member of that name, or NULL. */
static inline const struct plain *plain_member(const struct plain *object, const char *name, size_t length)
{
	const struct plain *child, *found = NULL;

	for (child = object && object->type == '{' ? object->child : NULL; child; child = child->next)
		if (plain_is(child->name, child->name_length, name, length))
			found = child;
	return found;
}

static inline const struct plain *plain_get(const struct plain *object, const char *name)
{
	return plain_member(object, name, strlen(name));
}

/* Do two trees say the same, numbers digit for digit, members in the same order? */
static inline bool plain_equal(const struct plain *a, const struct plain *b)
{
	const struct plain *c, *d;

	if (a->type != b->type || a->count != b->count || !plain_is(a->text, a->length, b->text, b->length))
		return false;
	for (c = a->child, d = b->child; c; c = c->next, d = d->next)
		if (!plain_is(c->name, c->name_length, d->name, d->name_length) || !plain_equal(c, d))
			return false;
	return true;
}

#endif
