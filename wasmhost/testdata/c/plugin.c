// A plugin without an SDK, a runtime or an allocator: the conversation of ABI.md in CBOR. It is
// a trigger, an action or an output, as -DKIND says, and about as cheap as a plugin can be,
// so that what is measured with it is what stands around it.
#include "threshold.h"

#define TRIGGER 1
#define ACTION 2
#define OUTPUT 3

// A message has at most this many bytes.
#define MESSAGE_MAX (128 << 10)

typedef struct {
	u8 *at;
	u32 size;
} span;

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
WASI(fd_read) int fd_read(int fd, const span *to, u32 spans, u32 *got);
WASI(fd_write) int fd_write(int fd, const span *from, u32 spans, u32 *put);
WASI(proc_exit) _Noreturn void proc_exit(int code);

static u8 in[MESSAGE_MAX], out[MESSAGE_MAX];
static u32 have;

static void say(u8 *end) {
	span rest = {out, (u32)(end - out)};
	while (rest.size > 0) {
		u32 put = 0;
		if (fd_write(1, &rest, 1, &put) || put == 0) proc_exit(1);
		rest.at += put;
		rest.size -= put;
	}
}

// hear reads one message. Nothing follows it: the host says no more before it has an answer.
static cursor hear(void) {
	for (have = 0;;) {
		span room = {in + have, MESSAGE_MAX - have};
		u32 got = 0;
		if (room.size == 0 || fd_read(0, &room, 1, &got)) proc_exit(1);
		if (got == 0) proc_exit(0); // the host is done with us
		have += got;
		cursor message = {in, in + have, 0}, walk = message;
		skip(&walk);
		if (!walk.bad) {
			message.end = walk.at;
			return message;
		}
	}
}

static u8 *put_answer(u64 id) {
	u8 *o = put_head(out, 5, 2);
	o = put_head(put_text(o, "id"), 0, id);
	return put_text(o, "answer");
}

static u8 *put_error(u8 *o, const char *why) {
	o = put_head(put_text(o, "error"), 5, 2);
	o = put_text(put_text(o, "code"), "plugin");
	return put_text(put_text(o, "text"), why);
}

static u8 *put_refusal(u64 id, const char *why) {
	u8 *o = put_head(out, 5, 2);
	return put_error(put_head(put_text(o, "id"), 0, id), why);
}

static u64 events = 1, every_ms = 1000;
static double above = 80;

// configure takes what it knows of the configuration.
static void configure(cursor init) {
	cursor config = find(find(init, "init"), "config");
	cursor c = find(config, "events");
	head h = read_head(&c);
	if (!c.bad && h.major == 0 && h.n <= 64) events = h.n;
	c = find(config, "every_ms");
	h = read_head(&c);
	if (!c.bad && h.major == 0) every_ms = h.n;
	c = find(config, "above");
	double limit = read_number(&c);
	if (!c.bad) above = limit;
}

#if KIND == TRIGGER
static u64 count;

// put_event writes about 200 bytes, as a device would fire them.
static u8 *put_event(u8 *o) {
	o = put_head(o, 5, 8);
	o = put_text(put_text(o, "metric"), "temperature.cpu");
	o = put_double(put_text(o, "value"), 79 + (double)(count & 7));
	o = put_text(put_text(o, "unit"), "celsius");
	o = put_head(put_text(o, "above"), 0, 80);
	o = put_head(put_text(o, "for_s"), 0, 30);
	o = put_text(put_text(o, "host"), "gateway-07.plant.example");
	o = put_head(put_text(o, "labels"), 5, 3);
	o = put_text(put_text(o, "env"), "production");
	o = put_text(put_text(o, "role"), "gateway");
	o = put_text(put_text(o, "line"), "7");
	return put_head(put_text(o, "seq"), 0, 1000000 + count++);
}
#endif

#if KIND == TRIGGER
static u8 *work(u64 id, cursor request) {
	if (find(request, "wake").bad) return put_refusal(id, "asked what no trigger knows");
	u8 *o = put_head(put_text(put_head(put_answer(id), 5, 2), "events"), 4, events);
	for (u64 n = events; n > 0; n--) o = put_event(o);
	o = put_text(put_head(put_text(o, "next"), 5, 1), "after_ms");
	return put_head(o, 0, every_ms);
}
#else
// put_done writes what became of one event.
static u8 *put_done(u8 *o, cursor item) {
#if KIND == ACTION
	u8 *end = judge(put_text(put_head(o, 5, 1), "data"), find(find(item, "event"), "data"), above);
	return end ? end : put_error(put_head(o, 5, 1), "event without a value");
#else
	return item.bad ? o : put_head(o, 5, 0);
#endif
}

static u8 *work_batch(u64 id, cursor items) {
	head h = read_head(&items);
	if (items.bad || h.major != 4) return put_refusal(id, "batch without items");
	u8 *o = put_head(put_text(put_head(put_answer(id), 5, 1), "items"), 4, h.n);
	for (; h.n > 0; h.n--) {
		o = put_done(o, items);
		skip(&items);
	}
	return o;
}

static u8 *work(u64 id, cursor request) {
	cursor batch = find(request, "batch");
	if (!batch.bad) return work_batch(id, find(batch, "items"));
#if KIND == ACTION
	cursor run = find(request, "run");
	if (run.bad) return put_refusal(id, "asked what no action knows");
	u8 *end = judge(put_text(put_head(put_answer(id), 5, 1), "data"), find(find(run, "event"), "data"), above);
	return end ? end : put_refusal(id, "event without a value");
#else
	if (find(request, "deliver").bad) return put_refusal(id, "asked what no output knows");
	return put_head(put_answer(id), 5, 0);
#endif
}
#endif

static u8 *answer(cursor request) {
	cursor c = find(request, "id");
	head id = read_head(&c);
	if (c.bad || id.major != 0) proc_exit(1);
	if (!find(request, "check").bad) return put_head(put_answer(id.n), 5, 0);
	return work(id.n, request);
}

static u8 *put_hello(void) {
	static const char *const types[] = {"", "trigger", "action", "output"};
	static const char *const names[] = {"", "bench-trigger", "bench-action", "bench-output"};
	u8 *o = put_head(put_text(put_head(out, 5, 1), "hello"), 5, KIND == TRIGGER ? 4 : 5);
	if (KIND != TRIGGER) o = put_head(put_text(o, "batch"), 0, 256);
	o = put_head(put_text(o, "abi"), 0, 1);
	o = put_text(put_text(o, "type"), types[KIND]);
	o = put_text(put_text(o, "plugin"), names[KIND]);
	return put_text(put_text(o, "sdk"), "none");
}

__attribute__((export_name("_start"))) void _start(void) {
	say(put_hello());
	configure(hear());
	say(put_head(put_text(put_head(out, 5, 1), "ready"), 5, 0));
	for (;;) say(answer(hear()));
}
