import { equal, start, test, throws } from "@stavily/sdk/testing";

import plugin from "./main.js";

test("hello greets", () => {
	const host = start(plugin, { name: "Ada" });
	equal(host.run().text, "hello, Ada");
	equal(host.logs, [{ level: 0, text: "greeting Ada" }]);
	equal(start(plugin).run().text, "hello, world");
});

test("hello refuses a bad configuration", () => {
	equal(throws(() => start(plugin, { nmae: "Ada" })).message, 'config: unknown key "nmae"');
	equal(throws(() => start(plugin, { name: "a".repeat(81) })).message, "config: name: want at most 80 bytes");
	throws(() => start(plugin, { name: 7 }), "name: want string, got number");
});
