// Counter is a trigger with state: it fires every so often with a number that goes on
// counting after a restart.
import { duration, trigger, type Fired } from "@stavily/sdk";

interface State {
	count: number;
}

export default trigger("counter", {
	config: { every: (text: unknown) => duration(text ?? "") },

	// What would keep the agent busy with counting is refused.
	validate(config) {
		if (config.every < 100) {
			throw new Error("every: want 100ms or more");
		}
	},

	wake(ctx, { why, state }): Fired {
		const { count }: State = state ?? { count: 0 };
		if (why !== "timer") {
			return { events: [], state: { count }, afterMS: ctx.config.every };
		}
		const next: State = { count: count + 1 };
		return { events: [next], state: next, afterMS: ctx.config.every };
	},
});
