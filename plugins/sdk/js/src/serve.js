import { batchMax, inTurn, together } from "./batch.js";
import { configured } from "./config.js";
import { Context } from "./context.js";
import { answered, clip } from "./error.js";
import { Raw, dig, list, stringify } from "./raw.js";
import { byteLength, lineMax, wholeMS } from "./text.js";

const abi = 1;
const sdk = "js/0.1.0";

// asks is what a batch for a plugin of a type asks. A trigger gets none.
const asks = { action: "run", output: "deliver" };

// Session is one conversation. It is handed the host's lines one at a time, and says its
// own by io.write; while it works it hears replies by io.read.
export class Session {
	#plugin;
	#io;
	#line = ""; // the host's last
	#failed = null; // what ended the conversation

	constructor(plugin, io) {
		this.#plugin = plugin;
		this.#io = io;
		const works = plugin.type in asks;
		const batch = works ? batchMax : undefined;
		const reinit = works ? true : undefined;
		io.write(stringify({ hello: { abi, type: plugin.type, plugin: plugin.name, sdk, batch, reinit } }));
	}

	// take does what a line wants. It returns a promise when the plugin's function did.
	take(line) {
		const m = this.#read(line);
		if (this.initial === undefined || m.init !== undefined) {
			return this.#init(m);
		}
		if (m.reply !== undefined || m.id === undefined) {
			throw this.broken("want a request");
		}
		let made;
		try {
			made = this.#ask(m);
		} catch (e) {
			return this.#refuse(m.id, e);
		}
		if (typeof made?.then === "function") {
			return made.then((data) => this.#answer(m, data), (e) => this.#refuse(m.id, e));
		}
		return this.#answer(m, made);
	}

	#read(line) {
		this.#line = line;
		const m = JSON.parse(line);
		if (m === null || typeof m !== "object") {
			throw this.broken("want a map");
		}
		return m;
	}

	// init takes the configuration, and later another one: of it, nothing of the first is left.
	#init(m) {
		if (m.init === undefined) {
			throw this.broken("want init");
		}
		const { definition } = this.#plugin;
		try {
			const { config } = m.init;
			this.config = typeof definition.config === "function" ? definition.config(config ?? {}, this.raw("init", "config"))
				: configured(definition.config, config);
			definition.validate?.(this.config);
		} catch (e) {
			this.#io.write(stringify({ error: { code: "plugin", text: clip(`config: ${answered(e).text}`) } }));
			return;
		}
		this.initial = m.init;
		this.#io.write('{"ready":{}}');
	}

	// ask calls the plugin's function and returns what it returns.
	#ask(m) {
		const { type, definition, name } = this.#plugin;
		if (m.wake !== undefined && type === "trigger") {
			const { why, state, message, steady_ms: steadyMS = 0, clock = false } = m.wake;
			const raw = this.#lazy("wake", "state");
			return definition.wake(this.#context(m.wake), { why, state: state ?? undefined, message, steadyMS, clock, raw });
		}
		if (m.run !== undefined && type === "action") {
			return definition.run(this.#context(m.run), work(m.run, this.#lazy("run", "event", "data")));
		}
		if (m.deliver !== undefined && type === "output") {
			return definition.deliver(this.#context(m.deliver), work(m.deliver, this.#lazy("deliver", "event", "data")));
		}
		if (m.batch !== undefined && type in asks && m.batch.kind === asks[type]) {
			return this.#batch(m.batch);
		}
		if (m.check !== undefined) {
			return definition.check?.(this.#context(m.check));
		}
		throw new Error(`request ${m.id}: not one for ${type} ${JSON.stringify(name)}`);
	}

	#context(request) {
		return new Context(this, request.now_ms);
	}

	// batch works on several events and returns the text of the answer, or a promise of it.
	#batch({ kind, items, deadline_ms, now_ms }) {
		if (!Array.isArray(items) || items.length === 0) {
			throw new Error("a batch of no events");
		}
		const { definition } = this.#plugin;
		const ctx = this.#context({ now_ms });
		const how = { told: (thrown) => this.#told(thrown), silent: kind === "deliver" };
		const line = this.#line;
		let part; // the events as they stand in the message, which few plugins want
		const runs = items.map((item, i) => work({ ...item, deadline_ms }, () => {
			part ??= list(line, ["batch", "items"]);
			return dig(part(i).text, ["event", "data"]) ?? new Raw("null");
		}));
		if (definition.batch === undefined) {
			return inTurn(runs, (run) => definition[kind](ctx, run), how);
		}
		const made = definition.batch(ctx, runs);
		const answer = (outcomes) => together(outcomes, runs.length, how);
		return typeof made?.then === "function" ? made.then(answer) : answer(made);
	}

	#answer(m, made) {
		try {
			this.#say(`{"id":${m.id},"answer":${this.#body(m, made)}}`);
		} catch (e) {
			this.#refuse(m.id, e);
		}
	}

	// body is the answer itself, as each type says it.
	#body(m, made) {
		if (m.check !== undefined || m.deliver !== undefined) {
			return "{}";
		}
		if (m.batch !== undefined) {
			return made;
		}
		if (m.run !== undefined) {
			return stringify({ data: made ?? null });
		}
		const { events, state, afterMS, atMS, topics = [] } = made ?? {};
		const wait = wholeMS(afterMS);
		const at = atMS ? Math.max(wholeMS(atMS), 1) : undefined;
		const mqtt = topics.length > 0 ? topics : undefined;
		const next = wait > 0 || at || mqtt ? { after_ms: wait, at_ms: at, mqtt } : undefined;
		return stringify({ events: events ?? [], next, state: state ?? null });
	}

	#refuse(id, thrown) {
		this.#io.write(stringify({ id, error: this.#told(thrown) }));
	}

	// told makes what stands in an answer of what was thrown.
	#told(thrown) {
		if (this.#failed) {
			throw this.#failed;
		}
		if (thrown instanceof TypeError || thrown instanceof ReferenceError || thrown instanceof RangeError) {
			globalThis.console?.error(thrown); // most likely a defect: its stack goes to the log
		}
		return answered(thrown);
	}

	// say writes a line unless the host would end the plugin for it.
	#say(line) {
		if (line.length * 3 > lineMax) {
			const n = byteLength(line) + 1;
			if (n > lineMax) {
				throw new Error(`message of ${n} bytes, limit ${lineMax}`);
			}
		}
		this.#io.write(line);
	}

	callLine(n, name, args) {
		return `{"call":{"n":${n},"name":${stringify(name)},"args":${stringify(args)}}}`;
	}

	// exchange says a call and hears its reply.
	exchange(line) {
		if (this.#failed) {
			throw this.#failed;
		}
		const asked = this.#line;
		this.#say(line);
		const reply = this.#io.read();
		if (reply === null) {
			throw this.broken("the host has gone");
		}
		const m = this.#read(reply);
		this.replied = reply;
		this.#line = asked;
		return m;
	}

	// raw returns a part of the host's last line, or of its last reply, as it stands there.
	raw(...path) {
		return dig(path[0] === "reply" ? this.replied : this.#line, path) ?? new Raw("null");
	}

	// lazy returns a function that gives a part of this request as it stands there.
	#lazy(...path) {
		const line = this.#line;
		return () => dig(line, path) ?? new Raw("null");
	}

	// broken ends the conversation: the host said what it may not.
	broken(why) {
		this.#failed = new Error(`read: message: ${why}`);
		return this.#failed;
	}
}

// work makes what a plugin gets of what the host sent; raw gives the event's data as it stands
// in the message.
function work({ event, results, key, deadline_ms }, raw) {
	const { run, workflow, time_ms, data } = event;
	return {
		event: { run, workflow, timeMS: time_ms, data, raw },
		results: results ?? [], key, deadlineMS: deadline_ms ?? 0,
	};
}
