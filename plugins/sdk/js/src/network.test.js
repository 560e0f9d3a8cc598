import { StavilyError, action, handle, trigger } from "@stavily/sdk";
import { equal, start, test } from "@stavily/sdk/testing";

const once = (run) => start(action("once", { run }));

test("secrets are told by name, or stay a handle", () => {
	const host = once((ctx) => {
		const { status, body } = ctx.http({ url: `https://a.example/${handle("key")}`, secrets: ["key"], max: 3 });
		return [ctx.secret("key"), [...ctx.secret("bin")], status, body];
	});
	host.secrets.set("key", "hunter2").set("bin", new Uint8Array([255, 0]));
	let seen;
	host.network.http = (request) => ((seen = request), { status: 201, body: "done" });
	equal(host.run(), ["hunter2", [255, 0], 201, "don"]);
	equal([seen.url, seen.method, seen.secrets], ["https://a.example/${key}", "GET", ["key"]]);
	host.secrets.clear();
	let code;
	try {
		host.run();
	} catch (e) {
		code = e.code;
	}
	equal(code, "retryable", "a secret that is not there yet");
});

test("bytes go both ways, and a connection ends with its request", () => {
	const host = once((ctx) => {
		const conn = ctx.dial(ctx.resolve("plc")[0], 502, { timeoutMS: 100 });
		conn.write("\u00fc");
		conn.write(new Uint8Array([1, 255]));
		return [conn.address, [...conn.read()], conn.read(), ctx.http({ url: "http://b/", body: new Uint8Array([200]) }).bytes[0]];
	});
	host.network.names.plc = ["fd00::5"];
	const wrote = [];
	const replies = [new Uint8Array([7, 200]), null];
	let closed = 0;
	host.network.dial = () => ({ read: () => replies.shift(), write: (data) => wrote.push(...data), close: () => closed++ });
	host.network.http = ({ body }) => ({ body });
	equal(host.run(), ["[fd00::5]:502", [7, 200], null, 200]);
	equal([wrote, closed], [[0xc3, 0xbc, 1, 255], 1]);
});

test("what is not there says so", () => {
	const codes = [];
	const host = once((ctx) => {
		for (const call of [
			() => ctx.resolve("x"), () => ctx.http({ url: "http://x/" }), () => ctx.dial("x", 1), () => ctx.readFile("x"),
		]) {
			try {
				call();
			} catch (e) {
				codes.push(e instanceof StavilyError && e.code);
			}
		}
		ctx.writeFile("a/b/c", "1");
		ctx.append("d", "2");
		return [ctx.listFiles(), ctx.listFiles("a")];
	});
	equal(host.run(), [["a/", "d"], ["b/"]]);
	equal(codes, ["not-found", "unavailable", "unavailable", "not-found"]);
});

test("a trigger hears what it waits for, and anybody publishes", () => {
	const host = start(trigger("ear", {
		wake(ctx, { why, message }) {
			if (message) {
				ctx.publish(`heard/${message.topic}`, why);
			}
			return { events: message ? [message.data] : [], topics: ["line/+"] };
		},
	}));
	equal(host.wake(), { events: [], afterMS: 0, topics: ["line/+"] });
	equal(host.hear("line/1", 21.5).events, [21.5]);
	equal(host.published, [{ topic: "heard/line/1", data: "message" }]);
});
