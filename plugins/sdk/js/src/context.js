import { StavilyError, clip } from "./error.js";
import { fromBase64, toBase64, wholeMS } from "./text.js";

// The most that one tcp.write carries, in bytes: in base64 it fits a line.
const writeMax = 64 << 10;

// Context is one request's way to the host.
export class Context {
	#session;
	#calls = 0;

	constructor(session, nowMS) {
		this.#session = session;
		this.nowMS = nowMS;
		this.config = session.config;
	}

	get now() {
		return new Date(this.nowMS);
	}
	get workflow() {
		return this.#session.initial.workflow;
	}
	get step() {
		return this.#session.initial.step;
	}
	get limits() {
		return this.#session.initial.limits;
	}
	get grants() {
		return this.#session.initial.grants;
	}

	call(name, args) {
		const line = this.#session.callLine(this.#calls + 1, name, args ?? {});
		this.#calls++;
		const { reply } = this.#session.exchange(line);
		if (reply?.n !== this.#calls) {
			throw this.#session.broken(`want the reply to call ${this.#calls}`);
		}
		if (reply.error) {
			throw new StavilyError(reply.error.code, `${name}: ${reply.error.text}`);
		}
		return reply.ok ?? {};
	}

	callRaw(name, args) {
		this.call(name, args);
		return this.#session.raw("reply", "ok");
	}

	log(level, text) {
		try {
			this.call("log", { level: levels[level] ?? 0, text: clip(String(text)) });
		} catch (e) {
			if (!(e instanceof StavilyError)) {
				throw e; // a line that was dropped is nobody's error
			}
		}
	}

	metrics(...names) {
		return this.call("metrics.read", { names }).values ?? {};
	}

	process({ argv, stdin, outputMax, timeoutMS }) {
		const ok = this.call("process.run", {
			argv, stdin, output_max: outputMax || undefined, timeout_ms: wholeMS(timeoutMS) || undefined,
		});
		return {
			exit: ok.exit ?? 0, stdout: ok.stdout ?? "", stderr: ok.stderr ?? "", truncated: ok.truncated ?? false,
			tookMS: ok.took_ms ?? 0,
		};
	}

	append(path, data, { sync = false } = {}) {
		return this.call("fs.append", { path, data, sync }).size ?? 0;
	}
	writeFile(path, data, { sync = false } = {}) {
		this.call("fs.write", { path, data, sync });
	}
	readFile(path, max = 65_536) {
		return this.call("fs.read", { path, max }).data ?? "";
	}
	listFiles(path = ".") {
		return this.call("fs.list", { path }).names ?? [];
	}

	kvGet(key) {
		return this.call("kv.get", { key }).value ?? undefined;
	}
	kvPut(key, value) {
		this.call("kv.put", { key, value: value ?? null });
	}

	resolve(name) {
		return this.call("dns.resolve", { name }).addresses ?? [];
	}

	http({ url, method, headers, secrets, body, max, timeoutMS }) {
		const isBytes = body instanceof Uint8Array;
		const ok = this.call("http.request", {
			url, method, headers, secrets, body: isBytes ? undefined : body,
			body_base64: isBytes ? toBase64(body) : undefined, max, timeout_ms: wholeMS(timeoutMS) || undefined,
		});
		return {
			status: ok.status ?? 0, headers: ok.headers ?? {}, body: ok.body ?? "",
			bytes: ok.body_base64 === undefined ? undefined : fromBase64(ok.body_base64),
			truncated: ok.truncated ?? false,
		};
	}

	publish(topic, data) {
		this.call("mqtt.publish", { topic, data: data ?? null });
	}

	secret(name) {
		const ok = this.call("secret.use", { name });
		return ok.value ?? fromBase64(ok.value_base64 ?? "");
	}

	dial(host, port, { tls = false, timeoutMS = 0 } = {}) {
		const ok = this.call("tcp.connect", { host, port, tls: tls || undefined });
		return new Conn(this, ok, timeoutMS);
	}
}

const levels = { debug: -4, info: 0, warn: 4, error: 8 };

// Conn is a connection of one request; the host closes it when the request ends.
class Conn {
	#context;
	#args;

	constructor(context, { conn, address }, timeoutMS) {
		this.#context = context;
		this.#args = { conn, timeout_ms: wholeMS(timeoutMS) || undefined };
		this.address = address ?? "";
	}

	read(max = 4096) {
		const ok = this.#context.call("tcp.read", { ...this.#args, max, base64: true });
		const bytes = fromBase64(ok.data_base64 ?? "");
		return bytes.length === 0 && ok.eof ? null : bytes;
	}

	write(data) {
		if (typeof data === "string") {
			for (let at = 0; at < data.length; ) {
				let end = Math.min(data.length, at + 16_384);
				if (end < data.length && data.charCodeAt(end - 1) >> 10 === 0x36) {
					end--; // not between the halves of a character
				}
				this.#context.call("tcp.write", { ...this.#args, data: data.slice(at, end) });
				at = end;
			}
			return;
		}
		for (let at = 0; at < data.length; at += writeMax) {
			this.#context.call("tcp.write", { ...this.#args, data_base64: toBase64(data.subarray(at, at + writeMax)) });
		}
	}

	close() {
		this.#context.call("tcp.close", { conn: this.#args.conn });
	}
}
