import { equal, test, throws } from "@stavily/sdk/testing";

import { clip } from "./error.js";
import { Raw, stringify } from "./raw.js";
import { byteLength, duration, fromBase64, toBase64 } from "./text.js";

test("raw keeps what stands there", () => {
	const raw = new Raw(' {"a" : [1.0, 18446744073709551615,"x\\\\\\"]}", {"b":null} ] ,"c\\u00e9":-1e5 , "d":"" }');
	equal(raw.get("a").items().map((r) => r.text), ["1.0", "18446744073709551615", '"x\\\\\\"]}"', '{"b":null}']);
	equal([raw.get("c\u00e9").text, raw.get("d").text, raw.get("e")], ["-1e5", '""', undefined]);
	equal(new Raw("[]").items().length + new Raw("{}").items().length + new Raw("1").items().length, 0);
	equal(new Raw('[{"a":1} , [2],"]"]').items().map((r) => r.text), ['{"a":1}', "[2]", '"]"']);
	equal(stringify({ x: [raw.get("a").items()[0], 1, raw.get("d")] }), '{"x":[1.0,1,""]}');
	equal(stringify({ x: "\udc00raw\udc00" }).includes("raw"), true);
	throws(() => stringify({ x: "\udc00raw\udc00", y: raw }), "is not one");
	equal(stringify({ b: raw.get("d"), a: [new Raw("1.0"), new Raw('"$&"')] }), '{"b":"","a":[1.0,"$&"]}');
	equal(stringify(undefined), "null");
	equal(JSON.stringify(new Raw("[1]")), "[1]");
});

test("lengths and texts", () => {
	for (const text of ["", "abc", "\u00fc", "\u20ac", "\u{1f600}", "a\u{1f600}b\u00e9", "\ud800"]) {
		equal(byteLength(text), new Set(["\ud800"]).has(text) ? 3 : encodeURIComponent(text).replace(/%../g, "x").length, text);
	}
	equal(byteLength(clip("\u00fc".repeat(2000))), 1023);
	equal(clip("short"), "short");
	for (const [text, ms] of [["0", 0], ["30s", 30_000], ["1h30m", 5_400_000], ["250ms", 250], ["1.5s", 1500]]) {
		equal(duration(text), ms, text);
	}
	for (const bytes of [[], [0], [255, 1], [1, 2, 3], [250, 251, 252, 253]]) {
		equal([...fromBase64(toBase64(new Uint8Array(bytes)))], bytes);
	}
});
