// Counter is a trigger with state: it fires every so often with a number that goes on
// counting after a restart, and with how long it has counted. That is measured by the steady
// clock: the wall clock may be set meanwhile.
import { duration, trigger, type Fired } from "@stavily/sdk";

interface State {
	count: number;
	since_ms: number; // when it began, by steadyMS
}

export default trigger("counter", {
	config: { every: (text: unknown) => duration(text ?? "") },

	// What would keep the agent busy with counting is refused.
	validate(config) {
		if (config.every < 100) {
			throw new Error("every: want 100ms or more");
		}
	},

	wake(ctx, { why, state, steadyMS }): Fired {
		const { count = 0, since_ms = 0 }: Partial<State> = state ?? {};
		if (why !== "timer") {
			const last: State = { count, since_ms: count === 0 ? steadyMS : since_ms };
			return { events: [], state: last, afterMS: ctx.config.every };
		}
		const next: State = { count: count + 1, since_ms };
		return { events: [{ count: next.count, for_ms: steadyMS - since_ms }], state: next, afterMS: ctx.config.every };
	},
});
