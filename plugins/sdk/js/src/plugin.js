import { Session } from "./serve.js";

// Plugin is a plugin with its functions. It keeps nothing itself: each conversation has a
// session of its own.
class Plugin {
	constructor(type, name, verb, definition) {
		if (typeof definition?.[verb] !== "function") {
			throw new TypeError(`${type} ${JSON.stringify(name)}: want a function ${verb}`);
		}
		this.type = type;
		this.name = name;
		this.definition = definition;
	}

	// session begins a conversation: io says and hears lines.
	session(io) {
		return new Session(this, io);
	}

	// main serves the host until stdin ends. The hub calls it.
	async main() {
		const { readLine, writeLine } = globalThis;
		if (typeof readLine !== "function") {
			throw new Error("no host here: run it by `stavily plugin run`, test it by @stavily/sdk/testing");
		}
		const session = this.session({ read: readLine, write: writeLine });
		for (let line = readLine(); line !== null; line = readLine()) {
			const waits = session.take(line);
			if (waits) {
				await waits;
			}
		}
	}
}

export const trigger = (name, definition) => new Plugin("trigger", name, "wake", definition);
export const action = (name, definition) => new Plugin("action", name, "run", definition);
export const output = (name, definition) => new Plugin("output", name, "deliver", definition);
