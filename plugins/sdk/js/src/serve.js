import { configured } from "./config.js";
import { Context } from "./context.js";
import { answered, clip } from "./error.js";
import { Raw, stringify } from "./raw.js";
import { byteLength, wholeMS } from "./text.js";

const abi = 1;
const sdk = "js/0.1.0";

// lineMax bounds one message of the conversation in bytes, with its line end.
export const lineMax = 128 << 10;

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
		io.write(stringify({ hello: { abi, type: plugin.type, plugin: plugin.name, sdk } }));
	}

	// take does what a line wants. It returns a promise when the plugin's function did.
	take(line) {
		const m = this.#read(line);
		if (this.initial === undefined) {
			return this.#init(m);
		}
		if (m.init !== undefined || m.reply !== undefined || m.id === undefined) {
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
			const { why, state } = m.wake;
			return definition.wake(this.#context(m.wake), { why, state: state ?? undefined, raw: this.#lazy("wake", "state") });
		}
		if (m.run !== undefined && type === "action") {
			return definition.run(this.#context(m.run), this.#work("run", m.run));
		}
		if (m.deliver !== undefined && type === "output") {
			return definition.deliver(this.#context(m.deliver), this.#work("deliver", m.deliver));
		}
		if (m.check !== undefined) {
			return definition.check?.(this.#context(m.check));
		}
		throw new Error(`request ${m.id}: not one for ${type} ${JSON.stringify(name)}`);
	}

	#context(request) {
		return new Context(this, request.now_ms);
	}

	#work(kind, { event, results, key, deadline_ms }) {
		const { run, workflow, time_ms, data } = event;
		return {
			event: { run, workflow, timeMS: time_ms, data, raw: this.#lazy(kind, "event", "data") },
			results: results ?? [], key, deadlineMS: deadline_ms ?? 0,
		};
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
		if (m.run !== undefined) {
			return stringify({ data: made ?? null });
		}
		const { events, state, afterMS } = made ?? {};
		const wait = wholeMS(afterMS);
		return stringify({ events: events ?? [], next: wait > 0 ? { after_ms: wait } : undefined, state: state ?? null });
	}

	#refuse(id, thrown) {
		if (this.#failed) {
			throw this.#failed;
		}
		if (thrown instanceof TypeError || thrown instanceof ReferenceError || thrown instanceof RangeError) {
			globalThis.console?.error(thrown); // most likely a defect: its stack goes to the log
		}
		this.#io.write(stringify({ id, error: answered(thrown) }));
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
		let at = new Raw(path[0] === "reply" ? this.replied : this.#line);
		for (const key of path) {
			at = at?.get(key);
		}
		return at ?? new Raw("null");
	}

	// lazy returns a function that gives a part of this request as it stands there.
	#lazy(...path) {
		const line = this.#line;
		return () => {
			let at = new Raw(line);
			for (const key of path) {
				at = at?.get(key);
			}
			return at ?? new Raw("null");
		};
	}

	// broken ends the conversation: the host said what it may not.
	broken(why) {
		this.#failed = new Error(`read: message: ${why}`);
		return this.#failed;
	}
}
