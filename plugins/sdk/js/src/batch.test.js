import { Retryable, action, output } from "@stavily/sdk";
import { equal, start, test, throws } from "@stavily/sdk/testing";

const told = (outcomes) => outcomes.map((o) => (o instanceof Error ? `${o.code}: ${o.message}` : o));

test("events of a batch are worked on one after the other", () => {
	const seen = [];
	const host = start(action("one", {
		run(ctx, { event, key, deadlineMS }) {
			seen.push(key, deadlineMS, event.raw().text);
			if (event.data === 2) {
				throw new Retryable("busy");
			}
			ctx.kvPut("last", event.data);
			return event.data * 10;
		},
	}));
	equal(told(host.batch([1, 2, 3])), [10, "retryable: busy", 30]);
	equal(seen, ["key-1", 30000, "1", "key-2", 30000, "2", "key-3", 30000, "3"]);
	equal(host.kv.get("last"), 3);
});

test("a promise in a batch is waited for", async () => {
	const host = start(action("later", {
		async run(_, { event }) {
			await null;
			if (event.data === "b") {
				throw new Error("not b");
			}
			return event.data;
		},
	}));
	equal(told(await host.batch(["a", "b", "c"])), ["a", "plugin: not b", "c"]);
});

test("what is too long for one answer is asked again", () => {
	let asked = 0;
	const host = start(action("long", {
		run(_, { event }) {
			asked++;
			return "x".repeat(event.data);
		},
	}));
	equal(host.batch([20000, 20000, 20000, 20000, 20000, 20000]).map((o) => o.length), Array(6).fill(20000));
	equal(asked, 6);
	equal(told(host.batch([1, 70000, 1])).map((o) => o.slice(0, 18)), ["x", "plugin: answer of ", "x"]);
});

test("a batch function works on all at once, or on the first of them", () => {
	const sizes = [];
	const host = start(output("file", {
		deliver() {
			throw new Error("not this one");
		},
		batch(ctx, runs) {
			sizes.push(runs.length);
			ctx.append("log", runs.map((r) => `${r.event.data}\n`).join(""));
			return runs.slice(0, 2).map((r) => (r.event.data === 2 ? new Error("no 2") : "passed over"));
		},
	}));
	equal(told(host.batch([1, 2, 3])), [null, "plugin: no 2", null]);
	equal([sizes, host.files.get("log")], [[3, 1], "1\n2\n3\n3\n"]);
	for (const bad of [[], [1, 2], "x", undefined]) {
		throws(() => start(action("bad", { run() {}, batch: () => bad })).batch([1]), "batch: want a list of 1 to 1 outcomes");
	}
});
