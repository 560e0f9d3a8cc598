import { StavilyError } from "../src/error.js";
import { byteLength, fromBase64, toBase64 } from "../src/text.js";

// builtins answer the host calls of a test from what its host has.
export const builtins = {
	log: (h, { level, text }) => void h.logs.push({ level, text }),
	"metrics.read": (h, { names }) => ({
		values: Object.fromEntries(names.filter((n) => n in h.metrics).map((n) => [n, h.metrics[n]])),
	}),
	"kv.get": (h, { key }) => ({ value: h.kv.get(key) ?? null }),
	"kv.put": (h, { key, value }) => void (value === null ? h.kv.delete(key) : h.kv.set(key, value)),
	"fs.write": (h, { path, data }) => put(h, path, data),
	"fs.append": (h, { path, data }) => put(h, path, (h.files.get(path) ?? "") + data),
	"fs.read": (h, { path, max }) => {
		const data = there(h.files.get(path), `file ${JSON.stringify(path)}: not there`);
		return { data: data.slice(0, max), size: byteLength(data) };
	},
	"fs.list": list,
	"mqtt.publish": (h, { topic, data }) => void h.published.push({ topic, data }),
	"secret.use": (h, { name }) => {
		const value = there(h.secrets.get(name), `secret ${name}: not on this device`, "unavailable");
		return typeof value === "string" ? { value } : { value_base64: toBase64(value) };
	},
	"dns.resolve": (h, { name }) => ({
		addresses: there(h.network.names?.[name], `resolve ${JSON.stringify(name)}: no such name`),
	}),
	"http.request": http,
	"tcp.connect": (h, { host, port }) => {
		const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
		const conn = there(h.network.dial, "tcp.connect: no answer in this test", "unavailable")(address);
		(conns.get(h) ?? conns.set(h, []).get(h)).push(conn);
		return { conn: conns.get(h).length, address };
	},
	"tcp.read": (h, args) => {
		const got = conn(h, args).read(args.max);
		return { data_base64: toBase64(bytes(got ?? "")), eof: got === null };
	},
	"tcp.write": (h, args) => {
		const data = args.data_base64 === undefined ? bytes(args.data) : fromBase64(args.data_base64);
		conn(h, args).write(data);
		return { size: data.length };
	},
	"tcp.close": (h, args) => void conn(h, args).close?.(),
};

// conns has the connections of the request under way, by host.
const conns = new WeakMap();

// hangUp closes what a request left open, as an agent does.
export function hangUp(host) {
	for (const one of conns.get(host) ?? []) {
		one.close?.();
	}
	conns.delete(host);
}

function conn(h, { conn: number }) {
	return there(conns.get(h)?.[number - 1], `connection ${number}: not open`);
}

function there(value, text, code = "not-found") {
	if (value === undefined) {
		throw new StavilyError(code, text);
	}
	return value;
}

function put(h, path, data) {
	if (path.startsWith("/") || path.split("/").includes("..")) {
		throw new StavilyError("denied", `path ${JSON.stringify(path)}: outside`);
	}
	h.files.set(path, data);
	return { size: byteLength(data) };
}

// list names the files and, with a slash, the folders of a folder.
function list(h, { path }) {
	const head = path === "." ? "" : `${path}/`;
	const below = [...h.files.keys()].filter((n) => n.startsWith(head)).map((n) => n.slice(head.length));
	return { names: [...new Set(below.map((n) => n.replace(/\/.*/, "/")))].sort() };
}

function http(h, { url, method, headers, secrets, body, body_base64, max, timeout_ms }) {
	const answer = there(h.network.http, "http.request: no answer in this test", "unavailable")({
		url, method: method ?? "GET", headers: headers ?? {}, secrets: secrets ?? [],
		body: body_base64 === undefined ? body : fromBase64(body_base64), max, timeoutMS: timeout_ms,
	});
	const { status = 200, headers: said = {}, body: text = "" } = answer;
	const cut = max > 0 ? text.slice(0, max) : text;
	return {
		status, headers: said, truncated: cut.length < text.length,
		...(typeof cut === "string" ? { body: cut } : { body_base64: toBase64(cut) }),
	};
}

// bytes are those of a text in UTF-8; of bytes, themselves.
function bytes(data) {
	if (typeof data !== "string") {
		return data;
	}
	const coded = encodeURIComponent(data).replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
	return Uint8Array.from(coded, (c) => c.charCodeAt(0));
}
