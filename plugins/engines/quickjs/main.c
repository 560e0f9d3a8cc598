// The JavaScript engine of Stavily: QuickJS as a WASI command that runs one script.
//
//	qjs SCRIPT        run the script
//	qjs -c SCRIPT     compile it and do nothing, to find its errors
//
// The script is one file without imports, run as a module. What it has besides the
// language: readLine() -> string or null at the end of stdin, writeLine(string) to
// stdout, logLine(string) to stderr, exit(code), gc().
//
// Exit codes: 0 the script ended, 1 it threw, 2 it could not be read, 3 a stream broke.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quickjs.h"

// How deep a script may recurse, in bytes of the stack that the linker gives us: the
// rest of it is for what QuickJS itself needs below its own check.
#define STACK_MAX (512 * 1024)

// A message of the conversation has 128 KiB at most; a line beyond this is a mistake.
#define LINE_MAX_BYTES (1 << 20)

static char input[16384];
static size_t input_at, input_end;

// line is kept from one call to the next: it grows to the longest line and stays.
static char *line;
static size_t line_cap;

static int line_add(size_t have, const char *from, size_t n) {
	if (have + n > LINE_MAX_BYTES) return -1;
	if (have + n > line_cap) {
		size_t cap = 2 * (have + n);
		char *more = realloc(line, cap);
		if (!more) return -1;
		line = more;
		line_cap = cap;
	}
	memcpy(line + have, from, n);
	return 0;
}

// js_read_line returns the next line without its end, null when there is none. A last
// line without an end counts for nothing: the host always ends a line.
static JSValue js_read_line(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
	size_t have = 0;
	for (;;) {
		if (input_at == input_end) {
			ssize_t n = read(0, input, sizeof input);
			if (n <= 0) return JS_NULL;
			input_at = 0;
			input_end = (size_t)n;
		}
		const char *from = input + input_at;
		size_t left = input_end - input_at;
		const char *end = memchr(from, '\n', left);
		size_t n = end ? (size_t)(end - from) : left;
		input_at += n + (end ? 1 : 0);
		if (end && have == 0) return JS_NewStringLen(c, from, n);
		if (line_add(have, from, n) < 0) return JS_ThrowRangeError(c, "readLine: line too long");
		have += n;
		if (end) return JS_NewStringLen(c, line, have);
	}
}

static int write_all(int fd, const char *from, size_t n) {
	while (n > 0) {
		ssize_t did = write(fd, from, n);
		if (did <= 0) return -1;
		from += did;
		n -= (size_t)did;
	}
	return 0;
}

// write_line writes a string and a line end as one write, which is one call of the host.
static JSValue write_line(JSContext *c, int fd, JSValueConst text) {
	size_t n;
	const char *s = JS_ToCStringLen(c, &n, text);
	if (!s) return JS_EXCEPTION;
	int bad = line_add(0, s, n) < 0 || line_add(n, "\n", 1) < 0;
	JS_FreeCString(c, s);
	if (bad) return JS_ThrowRangeError(c, "writeLine: line too long");
	if (write_all(fd, line, n + 1) < 0) exit(3);
	return JS_UNDEFINED;
}

static JSValue js_write_line(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
	return write_line(c, 1, argv[0]);
}

static JSValue js_log_line(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
	return write_line(c, 2, argv[0]);
}

static JSValue js_exit(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
	int32_t code = 0;
	if (JS_ToInt32(c, &code, argv[0])) return JS_EXCEPTION;
	exit(code);
}

static JSValue js_gc(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
	JS_RunGC(JS_GetRuntime(c));
	return JS_UNDEFINED;
}

static void say(JSContext *c, JSValueConst v) {
	const char *s = JS_ToCString(c, v);
	fprintf(stderr, "%s\n", s ? s : "an error that cannot be said");
	JS_FreeCString(c, s);
}

// dump says what was thrown, and where.
static void dump(JSContext *c) {
	JSValue thrown = JS_GetException(c);
	say(c, thrown);
	JSValue stack = JS_IsObject(thrown) ? JS_GetPropertyStr(c, thrown, "stack") : JS_UNDEFINED;
	if (!JS_IsUndefined(stack)) say(c, stack);
	JS_FreeValue(c, stack);
	JS_FreeValue(c, thrown);
}


// slurp reads a whole file and ends it with a zero, which QuickJS wants.
static char *slurp(const char *path, size_t *size) {
	FILE *f = fopen(path, "rb");
	if (!f) return NULL;
	char *out = NULL;
	long n = 0;
	if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 &&
		(out = malloc((size_t)n + 1)) && fread(out, 1, (size_t)n, f) == (size_t)n) {
		out[n] = 0;
		*size = (size_t)n;
		fclose(f);
		return out;
	}
	free(out);
	fclose(f);
	return NULL;
}

static void add(JSContext *c, JSValueConst into, const char *name, JSCFunction *f, int args) {
	JS_SetPropertyStr(c, into, name, JS_NewCFunction(c, f, name, args));
}

static JSContext *context(JSRuntime *rt) {
	JSContext *c = JS_NewContext(rt);
	if (!c) return NULL;
	JSValue global = JS_GetGlobalObject(c);
	add(c, global, "readLine", js_read_line, 0);
	add(c, global, "writeLine", js_write_line, 1);
	add(c, global, "logLine", js_log_line, 1);
	add(c, global, "exit", js_exit, 1);
	add(c, global, "gc", js_gc, 0);
	JS_FreeValue(c, global);
	return c;
}

// run evaluates the script and all that it has left to be done later.
static int run(JSRuntime *rt, JSContext *c, JSValue module) {
	JSValue done = JS_EvalFunction(c, module);
	if (JS_IsException(done)) return 1;
	JSContext *of;
	int left;
	while ((left = JS_ExecutePendingJob(rt, &of)) > 0) {
	}
	if (left < 0) return 1;
	if (JS_PromiseState(c, done) == JS_PROMISE_REJECTED) {
		JS_Throw(c, JS_PromiseResult(c, done));
		return 1;
	}
	JS_FreeValue(c, done);
	return 0;
}

int main(int argc, char **argv) {
	int only_compile = argc > 2 && strcmp(argv[1], "-c") == 0;
	if (argc < 2 + only_compile) {
		fprintf(stderr, "usage: qjs [-c] SCRIPT\n");
		return 2;
	}
	const char *path = argv[1 + only_compile];
	size_t size;
	char *source = slurp(path, &size);
	if (!source) {
		perror(path);
		return 2;
	}
	JSRuntime *rt = JS_NewRuntime();
	if (!rt) return 2;
	JS_SetMaxStackSize(rt, STACK_MAX);
	JSContext *c = context(rt);
	if (!c) return 2;
	JSValue module = JS_Eval(c, source, size, path, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
	free(source);
	if (JS_IsException(module)) {
		dump(c);
		return 1;
	}
	if (only_compile) return 0;
	if (run(rt, c, module)) {
		dump(c);
		return 1;
	}
	return 0;
}
