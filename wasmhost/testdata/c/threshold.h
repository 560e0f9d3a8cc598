// threshold.h is what the plugin does, whoever hosts it: it reads an event in CBOR, looks
// for "value", and answers {"above":true or false,"value":v}.
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

// cursor walks over CBOR. After a fault it stands at the end and reads zeros.
typedef struct {
	const u8 *at, *end;
	int bad;
} cursor;

typedef struct {
	u8 major; // 0 to 7
	u8 info;
	u64 n; // value, length, or bits of a float
} head;

static u64 fault(cursor *c) {
	c->bad = 1;
	c->at = c->end;
	return 0;
}

static u64 big_endian(cursor *c, u32 size) {
	u64 n = 0;
	if ((u32)(c->end - c->at) < size) return fault(c);
	while (size--) n = n << 8 | *c->at++;
	return n;
}

static head read_head(cursor *c) {
	head h = {7, 22, 0};
	if (c->at == c->end) {
		fault(c);
		return h;
	}
	u8 first = *c->at++;
	h.major = first >> 5;
	h.info = first & 31;
	h.n = h.info;
	if (h.info >= 28) fault(c); // reserved, or of indefinite length, which the host never sends
	else if (h.info >= 24) h.n = big_endian(c, 1u << (h.info - 24));
	return h;
}

// skip passes over one item, however deep it is.
static void skip(cursor *c) {
	for (u64 todo = 1; todo > 0 && !c->bad; todo--) {
		head h = read_head(c);
		switch (h.major) {
		case 2:
		case 3:
			if (h.n > (u64)(c->end - c->at)) fault(c);
			else c->at += h.n;
			break;
		case 4:
			todo += h.n;
			break;
		case 5:
			todo += 2 * h.n;
			break;
		}
	}
}

// read_key reads a text and tells whether it is want.
static int read_key(cursor *c, const char *want) {
	head h = read_head(c);
	if (h.major != 3 || h.n > (u64)(c->end - c->at)) {
		fault(c);
		return 0;
	}
	const u8 *key = c->at;
	c->at += h.n;
	u64 i = 0;
	while (i < h.n && want[i] && (u8)want[i] == key[i]) i++;
	return i == h.n && !want[i];
}

// find enters the map that begins at c and leaves a cursor at the value of a key.
static cursor find(cursor c, const char *key) {
	head h = read_head(&c);
	if (h.major != 5) fault(&c);
	for (; h.n > 0 && !c.bad; h.n--) {
		if (read_key(&c, key)) return c;
		skip(&c);
	}
	fault(&c);
	return c;
}

static double half(u64 bits) {
	double v = (double)(bits & 0x3ff);
	int exp = bits >> 10 & 31;
	if (exp > 0) v += 1024;
	for (exp = exp > 0 ? exp - 25 : -24; exp > 0; exp--) v *= 2;
	for (; exp < 0; exp++) v /= 2;
	return bits & 0x8000 ? -v : v;
}

static double read_number(cursor *c) {
	head h = read_head(c);
	union { u64 n; double d; } wide = {h.n};
	union { u32 n; float f; } narrow = {(u32)h.n};
	if (h.major == 0) return (double)h.n;
	if (h.major == 1) return -1.0 - (double)h.n;
	if (h.major == 7 && h.info == 25) return half(h.n);
	if (h.major == 7 && h.info == 26) return narrow.f;
	if (h.major == 7 && h.info == 27) return wide.d;
	return (double)fault(c);
}

static u8 *put_head(u8 *o, u8 major, u64 n) {
	u32 size = n < 24 ? 0 : n < 1u << 8 ? 1 : n < 1u << 16 ? 2 : n >> 32 ? 8 : 4;
	*o++ = major << 5 | (size == 0 ? n : size == 1 ? 24 : size == 2 ? 25 : size == 4 ? 26 : 27);
	while (size > 0) *o++ = n >> 8 * --size;
	return o;
}

static u8 *put_text(u8 *o, const char *s) {
	u64 n = 0;
	while (s[n]) n++;
	o = put_head(o, 3, n);
	while (*s) *o++ = *s++;
	return o;
}

static u8 *put_double(u8 *o, double d) {
	union { double d; u64 n; } bits = {d};
	*o++ = 0xfb;
	for (int shift = 56; shift >= 0; shift -= 8) *o++ = bits.n >> shift;
	return o;
}

// judge answers an event: the end of what it wrote to o, or 0 when it has no "value".
__attribute__((unused)) static u8 *judge(u8 *o, cursor event, double above) {
	cursor at = find(event, "value");
	double value = read_number(&at);
	if (at.bad) return 0;
	o = put_head(o, 5, 2);
	o = put_text(o, "above");
	*o++ = value > above ? 0xf5 : 0xf4;
	o = put_text(o, "value");
	return put_double(o, value);
}
