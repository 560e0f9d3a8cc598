import { equal, start, test, throws } from "@stavily/sdk/testing";

import plugin from "./main.js";

test("counter goes on after a restart", () => {
	const host = start(plugin, { every: "1s" });
	equal(host.advance(3000), [{ count: 1, for_ms: 1000 }, { count: 2, for_ms: 2000 }, { count: 3, for_ms: 3000 }]);
	host.restart();
	host.nowMS -= 365 * 86_400_000; // the clock was wrong, and is set
	equal(host.advance(2000), [{ count: 4, for_ms: 4000 }, { count: 5, for_ms: 5000 }]);
});

test("counter refuses a bad configuration", () => {
	for (const every of ["", "1ms", "-1s", "soon", 7]) {
		throws(() => start(plugin, { every }), "every: ");
	}
});
