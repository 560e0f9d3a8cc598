// Hello is the smallest action: it greets whom the configuration names, or the event.
import { action, byteLength } from "@stavily/sdk";

export default action("hello", {
	config: { name: "" },

	validate(config) {
		if (byteLength(config.name) > 80) {
			throw new Error("name: want at most 80 bytes");
		}
		config.name ||= "world";
	},

	run(ctx, { event }) {
		ctx.log("info", `greeting ${ctx.config.name}`);
		return { run: event.run, text: `hello, ${ctx.config.name}` };
	},
});
