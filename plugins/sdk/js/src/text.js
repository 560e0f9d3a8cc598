// lineMax bounds one message of the conversation in bytes, with its line end.
export const lineMax = 128 << 10;

// byteLength returns how many bytes a text has in UTF-8.
export function byteLength(text) {
	let n = text.length;
	const wide = text.replace(/[\0-\x7f]+/g, ""); // by the engine's own code, which is fast
	for (let i = 0; i < wide.length; i++) {
		const c = wide.charCodeAt(i);
		n += c < 0x800 ? 1 : 2;
		if (c >= 0xd800 && c < 0xdc00 && wide.charCodeAt(i + 1) >> 10 === 0x37) {
			i++; // four bytes for two units
		}
	}
	return n;
}

const unitMS = { ns: 1e-6, us: 1e-3, "\u00b5s": 1e-3, "\u03bcs": 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

// duration returns the milliseconds of a length of time as people write it.
export function duration(text) {
	if (typeof text !== "string") {
		throw new Error(`duration ${JSON.stringify(text)}: want a string such as "30s"`);
	}
	const wrong = () => new Error(`duration ${JSON.stringify(text)}: want a number with a unit, such as 30s, 5m or 250ms`);
	const digits = text.replace(/^\+/, "");
	if (digits === "0") {
		return 0;
	}
	if (!/^((\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/.test(digits)) {
		throw wrong();
	}
	let ms = 0;
	for (const [, number, unit] of digits.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g)) {
		ms += Number(number) * unitMS[unit];
	}
	return ms;
}

// wholeMS rounds milliseconds up, so that a wait is never too short.
export function wholeMS(ms) {
	return ms > 0 ? Math.ceil(ms) : 0;
}

// handle stands for the value of a secret in an HTTP request that has it among its secrets.
export const handle = (secret) => "${" + secret + "}";

const digits64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// toBase64 returns bytes (a Uint8Array) as the host reads them.
export function toBase64(bytes) {
	let out = "";
	for (let i = 0; i < bytes.length; i += 3) {
		const [a, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2]];
		const n = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
		out += digits64[n >> 18] + digits64[(n >> 12) & 63];
		out += (b === undefined ? "=" : digits64[(n >> 6) & 63]) + (c === undefined ? "=" : digits64[n & 63]);
	}
	return out;
}

// fromBase64 returns the bytes of what the host wrote.
export function fromBase64(text) {
	const clean = text.replace(/=+$/, "");
	const out = new Uint8Array((clean.length * 3) >> 2);
	let n = 0;
	let bits = 0;
	let at = 0;
	for (const c of clean) {
		n = ((n << 6) | digits64.indexOf(c)) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[at++] = (n >> bits) & 255;
		}
	}
	return out;
}
