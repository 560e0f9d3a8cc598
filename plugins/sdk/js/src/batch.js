import { stringify } from "./raw.js";
import { byteLength, lineMax } from "./text.js";

// batchMax is how many events this SDK takes in one request.
export const batchMax = 256;

// enough is how long an answer to a batch becomes before it is sent: the host asks for the
// rest again, and one more result must still fit.
const enough = lineMax - (64 << 10);

// Results are those of a batch, as they stand in its answer.
class Results {
	#texts = [];
	#size = 0;
	#told;
	#silent;

	// told makes what stands in an answer of what was thrown; silent results have no data,
	// as an output's.
	constructor({ told, silent }) {
		this.#told = told;
		this.#silent = silent;
	}

	get full() {
		return this.#size >= enough;
	}

	// put adds what one event led to. Too much of it is an error of that event.
	put(data) {
		try {
			const text = stringify(this.#silent ? {} : { data: data ?? null });
			const size = byteLength(text);
			if (size > lineMax - enough - 1024) {
				throw new Error(`answer of ${size} bytes is too long`);
			}
			this.#add(text, size);
		} catch (e) {
			this.fail(e);
		}
	}

	fail(thrown) {
		const text = stringify({ error: this.#told(thrown) });
		this.#add(text, byteLength(text));
	}

	#add(text, size) {
		this.#texts.push(text);
		this.#size += size + 1;
	}

	get answer() {
		return `{"items":[${this.#texts.join(",")}]}`;
	}
}

// inTurn works on one event after another and returns the answer, or a promise of it. What
// is left when it is long, or when half of the time is gone, the host asks for again, so
// that no event loses another's.
export function inTurn(work, one, how) {
	const results = new Results(how);
	const began = Date.now();
	const late = ({ deadlineMS }) => deadlineMS > 0 && Date.now() - began > deadlineMS / 2;
	const from = (i) => {
		for (; i < work.length && !results.full && !(i > 0 && late(work[i])); i++) {
			try {
				const made = one(work[i]);
				if (typeof made?.then === "function") {
					return made.then((data) => results.put(data), (e) => results.fail(e)).then(() => from(i + 1));
				}
				results.put(made);
			} catch (e) {
				results.fail(e);
			}
		}
		return results.answer;
	};
	return from(0);
}

// together makes the answer of what a plugin's batch function returned for so many events:
// a list of data, or of the error of an event.
export function together(made, count, how) {
	if (!Array.isArray(made) || made.length === 0 || made.length > count) {
		throw new Error(`batch: want a list of 1 to ${count} outcomes, got ${Array.isArray(made) ? made.length : typeof made}`);
	}
	const results = new Results(how);
	for (const outcome of made) {
		if (results.full) {
			break;
		}
		if (outcome instanceof Error) {
			results.fail(outcome);
		} else {
			results.put(outcome);
		}
	}
	return results.answer;
}
