import { equal, start, test, throws } from "@stavily/sdk/testing";

import plugin from "./main.js";

test("counter goes on after a restart", () => {
	const host = start(plugin, { every: "1s" });
	equal(host.advance(3000), [{ count: 1 }, { count: 2 }, { count: 3 }]);
	host.restart();
	equal(host.advance(2000), [{ count: 4 }, { count: 5 }]);
});

test("counter refuses a bad configuration", () => {
	for (const every of ["", "1ms", "-1s", "soon", 7]) {
		throws(() => start(plugin, { every }), "every: ");
	}
});
