// equal throws unless both are the same JSON value.
export function equal(got, want, what = "value") {
	const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
	if (a !== b) {
		throw new Error(`${what}: got ${a}, want ${b}`);
	}
}

// throws returns the error that f throws, and throws itself when it does not, or when
// text stands not in it.
export function throws(f, text = "") {
	try {
		f();
	} catch (e) {
		if (!String(e.message).includes(text)) {
			throw new Error(`got error ${JSON.stringify(e.message)}, want ${JSON.stringify(text)}`, { cause: e });
		}
		return e;
	}
	throw new Error(`no error, want ${JSON.stringify(text)}`);
}
