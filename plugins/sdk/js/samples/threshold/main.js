// Threshold is an action that judges an event's value and remembers the highest one:
// decoding, an error for a bad event, and the plugin's own key-value store.
import { action } from "@stavily/sdk";

export default action("threshold", {
	config: { max: 0 },

	run(ctx, { event }) {
		const value = event.data?.value;
		if (typeof value !== "number") {
			throw new Error("event data: value: want a number");
		}
		const highest = Math.max(ctx.kvGet("highest") ?? value, value);
		ctx.kvPut("highest", highest);
		return { over: value > ctx.config.max, highest };
	},
});
