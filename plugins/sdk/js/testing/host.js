import { StavilyError } from "../src/error.js";
import { stringify } from "../src/raw.js";
import { byteLength, lineMax } from "../src/text.js";
import { builtins, hangUp } from "./desk.js";

// start starts a plugin with a configuration in a host for unit tests: it answers host
// calls from plain maps, and has a clock that only the test moves. It throws what the
// plugin says when it refuses the configuration.
export function start(plugin, config = {}) {
	return new Host(plugin, config);
}

class Host {
	metrics = {}; // what metrics.read answers
	kv = new Map(); // what kv.put has kept
	files = new Map(); // the plugin's own directory, by path
	secrets = new Map(); // what secret.use tells
	network = { names: {} }; // what the plugin can reach: names, http and dial
	published = []; // what mqtt.publish said, {topic, data}, oldest first
	logs = []; // {level, text}, oldest first
	calls = []; // {name, args}, logs too
	grants = []; // told at the next start; they deny nothing by themselves
	nowMS = Date.UTC(2026, 0, 1);
	steadyMS = 0; // what advance let pass
	clock = true; // whether the device's clock can be believed
	state = undefined;

	#plugin;
	#config;
	#answers = new Map();
	#session;
	#said = []; // lines of the plugin that nobody has heard yet
	#replies = [];
	#id = 0;
	#started = false;
	#wakeAt = null; // what one of the two shows then

	constructor(plugin, config) {
		this.#plugin = plugin;
		this.#config = config;
		this.#open();
	}

	// answer makes f answer the calls of a name instead of the maps.
	answer(name, f) {
		this.#answers.set(name, f);
	}

	// deny refuses the calls of a name, as it is without the grant.
	deny(name) {
		this.answer(name, () => {
			throw new StavilyError("denied", `${name}: not granted`);
		});
	}

	// restart is as after a reboot: the session is lost, the saved state, the key-value
	// store and the files are not.
	restart() {
		this.#started = false;
		this.#wakeAt = null;
		this.#open();
	}

	// run asks an action to work on an event with this data, and returns the result's data.
	run(data = null, more = {}) {
		return this.#after(this.#ask("run", this.#work(data, more)), (a) => a.data ?? null);
	}

	// deliver asks an output to deliver a run.
	deliver(data = null, more = {}) {
		return this.#after(this.#ask("deliver", this.#work(data, more)), () => undefined);
	}

	// batch hands an action or an output several events at once, as an agent does when a
	// queue has built up, and asks again for what it left out. It returns a list with an
	// outcome for each event: the data, or a StavilyError.
	batch(events, more = {}) {
		const kind = this.#plugin.type === "output" ? "deliver" : "run";
		const work = events.map((data, i) => this.#work(data, { key: `key-${i + 1}`, ...more }));
		const out = [];
		const next = () => {
			if (out.length >= work.length) {
				return out;
			}
			const { deadline_ms } = work[0];
			const items = work.slice(out.length).map(({ deadline_ms: _, ...item }) => item);
			return this.#after(this.#ask("batch", { kind, items, deadline_ms }), (a) => {
				if (a.items.length === 0 || a.items.length > items.length) {
					throw new Error(`batch: ${a.items.length} answers to ${items.length} events`);
				}
				out.push(...a.items.map(({ data, error }) => (error ? new StavilyError(error.code, error.text) : data ?? null)));
				return next();
			});
		};
		return next();
	}

	check() {
		return this.#after(this.#ask("check", {}), () => undefined);
	}

	// wake wakes a trigger now, with the state that it answered last.
	wake() {
		const why = this.#started ? "timer" : "start";
		this.#started = true;
		return this.#wake({ why });
	}

	// hear wakes a trigger with a message on a local topic, whether it waits for that or not.
	hear(topic, data = null) {
		return this.#wake({ why: "message", message: { topic, data } });
	}

	#wake(wake) {
		const told = { ...wake, state: this.state ?? null, steady_ms: this.steadyMS, clock: this.clock };
		return this.#after(this.#ask("wake", told), (a) => {
			this.state = a.state ?? undefined;
			const { after_ms: afterMS = 0, at_ms: atMS, mqtt: topics = [] } = a.next ?? {};
			this.#wakeAt = atMS ? { atMS } : afterMS > 0 ? { steadyMS: this.steadyMS + afterMS } : null;
			return { events: a.events ?? [], state: this.state, afterMS, atMS, topics };
		});
	}

	// advance lets time pass: it wakes the trigger at once if it was not started, then each
	// time that it asked for, and returns the events.
	advance(ms) {
		const end = this.steadyMS + ms;
		if (!this.#started) {
			this.#wakeAt = { steadyMS: this.steadyMS };
		}
		const events = [];
		while (this.#wakeAt !== null && this.steadyMS + this.#wait() <= end) {
			this.#pass(this.#wait());
			const fired = this.wake();
			if (typeof fired.then === "function") {
				throw new Error("advance: the plugin's function returns a promise: await wake() instead");
			}
			events.push(...fired.events);
		}
		this.#pass(end - this.steadyMS);
		return events;
	}

	// wait is how long it is until the trigger is woken, by the clock that it named.
	#wait() {
		const { atMS, steadyMS } = this.#wakeAt;
		return Math.max(atMS === undefined ? steadyMS - this.steadyMS : atMS - this.nowMS, 0);
	}

	#pass(ms) {
		this.nowMS += ms;
		this.steadyMS += ms;
	}

	#work(data, { results = [], key = "key-1", deadlineMS = 30_000 }) {
		const event = { run: "000102030405060708090a0b0c0d0e0f", workflow: "test", time_ms: this.nowMS, data };
		return { event, results, key, deadline_ms: deadlineMS };
	}

	#open() {
		const io = { read: () => this.#replies.shift() ?? null, write: (line) => this.#hear(line) };
		this.#said = [];
		this.#session = this.#plugin.session(io);
		if (this.#next().hello === undefined) {
			throw new Error("first message: want hello");
		}
		const limits = {
			max_memory_mb: 64, max_cpu_cores: 0.5, max_execution_time_seconds: 30, max_file_descriptors: 16,
			max_network_connections: 0,
		};
		this.#session.take(stringify({
			init: { config: this.#config, limits, grants: this.grants, workflow: "test", step: "plugin" },
		}));
		const m = this.#next();
		if (m.error) {
			throw new StavilyError(m.error.code, m.error.text);
		}
		if (m.ready === undefined) {
			throw new Error("message after init: want ready or error");
		}
	}

	#ask(kind, body) {
		const id = ++this.#id;
		const waits = this.#session.take(stringify({ id, [kind]: { ...body, now_ms: this.nowMS } }));
		return this.#after(waits, () => {
			hangUp(this);
			const m = this.#next();
			if (m.id !== id) {
				throw new Error(`answer to request ${m.id}: want ${id}`);
			}
			if (m.error) {
				throw new StavilyError(m.error.code, m.error.text);
			}
			return m.answer;
		});
	}

	#after(value, then) {
		return typeof value?.then === "function" ? value.then(then) : then(value);
	}

	#next() {
		const line = this.#said.shift();
		if (line === undefined) {
			throw new Error("the plugin does not answer");
		}
		return JSON.parse(line);
	}

	#hear(line) {
		if (byteLength(line) + 1 > lineMax || line.includes("\n")) {
			throw new Error(`message of ${byteLength(line) + 1} bytes, or of several lines`);
		}
		const { call } = JSON.parse(line);
		if (call === undefined) {
			this.#said.push(line);
			return;
		}
		this.calls.push({ name: call.name, args: call.args });
		const reply = { n: call.n };
		try {
			reply.ok = (this.#answers.get(call.name) ?? ((args) => this.#builtin(call.name, args)))(call.args) ?? {};
		} catch (e) {
			reply.error = { code: e instanceof StavilyError ? e.code : "internal", text: String(e.message ?? e) };
		}
		this.#replies.push(stringify({ reply }));
	}

	#builtin(name, args) {
		const builtin = builtins[name];
		if (!builtin) {
			throw new StavilyError("unavailable", `${name}: no answer in this test`);
		}
		return builtin(this, args);
	}
}
