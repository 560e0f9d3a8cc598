// In the engine that plugins run in, tests run one after the other as they are met. The
// hub reads the lines that it says.
import "../src/console.js";

export { start } from "./host.js";
export { equal, throws } from "./check.js";

const { logLine = () => {}, exit = () => {} } = globalThis;
let last = Promise.resolve();
let [passed, failed] = [0, 0];

export function test(name, f) {
	last = last.then(f).then(() => {
		passed++;
		logLine(`ok - ${name}`);
	}, (e) => {
		failed++;
		logLine(`not ok - ${name}: ${e?.message ?? e}\n${e?.stack ?? ""}`);
	});
	return last;
}

// finish waits for every test and ends the program. The hub's own entry calls it.
export async function finish() {
	for (let waited; waited !== last; ) {
		waited = last;
		await last;
	}
	logLine(`tests: ${passed} passed, ${failed} failed`);
	exit(failed > 0 || passed === 0 ? 1 : 0);
}
