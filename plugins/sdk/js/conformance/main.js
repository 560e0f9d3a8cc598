// Conformance is the plugin by which this SDK is held to the conversation with the host:
// it does on command what a plugin can do at all. The commands are those of
// wasmhost/conform, which runs it. It is built once for each type: KIND is defined then.
import { Raw, Retryable, StavilyError, action, output, trigger } from "@stavily/sdk";

const refused = {
	config: (sent, raw) => {
		if (sent.refuse) {
			throw new Error(sent.refuse);
		}
		return { value: raw.get("value") ?? null, check: sent.check };
	},
	check(ctx) {
		if (ctx.config.check) {
			throw new Error(ctx.config.check);
		}
	},
};

let count = 0;

const plugins = {
	trigger: () => trigger("conformance", { ...refused, wake }),
	action: () => action("conformance", { ...refused, run: (ctx, r) => obey(ctx, r.event.raw(), () => work(ctx, r)) }),
	output: () => output("conformance", { ...refused, deliver }),
};

export default plugins[KIND]();

function wake(ctx, { why, steadyMS, clock, raw }) {
	const state = raw();
	const command = state.value;
	if (command?.do === "fire") {
		const { after_ms: afterMS, at_ms: atMS } = command;
		return { events: state.get("events").items(), state: state.get("state"), afterMS, atMS };
	}
	const result = obey(ctx, state, () => ({ why, now_ms: ctx.nowMS, steady_ms: steadyMS, clock }));
	return result === undefined ? {} : { events: [result] };
}

function deliver(ctx, r) {
	const result = obey(ctx, r.event.raw(), () => work(ctx, r));
	if (result !== undefined) {
		ctx.kvPut("result", result);
	}
}

// work is a request without the event's data.
function work(ctx, { event, results, key, deadlineMS }) {
	const { run, workflow, timeMS } = event;
	return {
		event: { run, workflow, time_ms: timeMS }, results: results,
		key, deadline_ms: deadlineMS, now_ms: ctx.nowMS,
	};
}

// obey does a command and returns its result, undefined for none.
function obey(ctx, raw, request) {
	const command = raw.value ?? {};
	switch (command.do) {
		case undefined: case "none": return undefined;
		case "echo": return raw.get("value");
		case "request": return request();
		case "init": return {
			config: { value: ctx.config.value }, limits: ctx.limits, grants: ctx.grants, workflow: ctx.workflow, step: ctx.step,
		};
		case "count": return ++count;
		case "big": return "x".repeat(command.bytes);
		case "call": return made(ctx, raw);
		case "calls": return raw.get("list").items().map((call) => made(ctx, call));
		case "fail": throw new Error(command.text);
		case "retryable": throw new Retryable(command.text);
		case "panic": return defect(command.text);
		case "print": return console.log(command.text);
		case "exit": return globalThis.exit(command.code);
		case "spin": return spin();
		default: return ask(ctx, command.do, command.args ?? {}, raw.get("args"));
	}
}

function defect(text) {
	throw new TypeError(text);
}

function spin() {
	for (let i = 1; i !== 0; i += 2) {
		if (i > 1e9) i = 1;
	}
}

// made makes a host call by its name.
function made(ctx, raw) {
	try {
		return { ok: ctx.callRaw(raw.get("name").value, raw.get("args")) };
	} catch (e) {
		if (!(e instanceof StavilyError)) {
			throw e;
		}
		const text = e.message.slice(raw.get("name").value.length + 2);
		return { error: { code: e.code, text } };
	}
}

// ask uses the SDK's own function for a host call.
function ask(ctx, name, a, raw) {
	switch (name) {
		case "log": return ctx.log(levels[a.level], a.text);
		case "metrics": return ctx.metrics(...a.names);
		case "process": {
			const { tookMS, ...exit } = ctx.process({
				argv: a.argv, stdin: a.stdin, outputMax: a.output_max, timeoutMS: a.timeout_ms,
			});
			return { ...exit, took_ms: tookMS };
		}
		case "append": return ctx.append(a.path, a.data, { sync: a.sync });
		case "write": return ctx.writeFile(a.path, a.data);
		case "read": return ctx.readFile(a.path, a.max);
		case "list": return ctx.listFiles(a.path);
		case "put": return ctx.kvPut(a.key, raw.get("value") ?? new Raw("null"));
		case "get": return ctx.kvGet(a.key);
		default: throw new Error(`command ${JSON.stringify(name)}: not known`);
	}
}

const levels = { "-4": "debug", 0: "info", 4: "warn", 8: "error" };
