import { trigger } from "@stavily/sdk";
import { equal, start, test } from "@stavily/sdk/testing";

const clocks = () => trigger("clocks", {
	config: { at: false },
	wake(ctx, { steadyMS, clock }) {
		const events = [[steadyMS, clock]];
		return ctx.config.at ? { events, atMS: Math.floor(ctx.nowMS / 60000) * 60000 + 60000 } : { events, afterMS: 90000 };
	},
});

test("a wake says both times, and a trigger may wait by either", () => {
	for (const [at, jump, want] of [
		[false, 0, [0, 90000, 180000]],
		[false, 600000, [0, 90000, 180000]],
		[true, 0, [0, 60000, 120000, 180000]],
		[true, 50000, [0, 60000, 70000, 130000, 190000]],
	]) {
		const host = start(clocks(), { at });
		const events = host.advance(60000);
		const first = events.length;
		host.nowMS += jump;
		host.clock = false;
		events.push(...host.advance(130000));
		equal(events, want.map((steady, i) => [steady, i < first]), `at ${at}, the clock set by ${jump}`);
	}
});

test("an answer names a time of the clock", () => {
	const host = start(clocks(), { at: true });
	const { afterMS, atMS } = host.wake();
	equal([afterMS, atMS], [0, host.nowMS + 60000]);
	equal("atMS" in JSON.parse(JSON.stringify(start(clocks()).wake())), false);
});
