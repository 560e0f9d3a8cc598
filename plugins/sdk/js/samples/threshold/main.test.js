import { equal, start, test, throws } from "@stavily/sdk/testing";

import plugin from "./main.js";

test("threshold judges and remembers", () => {
	const host = start(plugin, { max: 10 });
	for (const [value, want] of [
		[12, { over: true, highest: 12 }],
		[7, { over: false, highest: 12 }],
		[10, { over: false, highest: 12 }],
	]) {
		equal(host.run({ value }), want, `value ${value}`);
		host.restart();
	}
});

test("threshold refuses a bad event", () => {
	const host = start(plugin);
	throws(() => host.run("twelve"), "value: want a number");
	equal(throws(() => host.run({})).message, "event data: value: want a number");
	host.deny("kv.put");
	throws(() => host.run({ value: 1 }), "not granted");
});
