/**
 * For writing Stavily plugins in JavaScript and TypeScript.
 *
 * A plugin is one of three things. A trigger is woken and answers with the events that
 * happened, the state to keep and when to be woken next. An action is run for an event and
 * answers with data. An output delivers a run. None of them loops by itself or sleeps: a
 * plugin is asked, and answers. A file exports one as its default:
 *
 *     export default action("hello", {
 *         config: { name: "world" },
 *         run: (ctx, { event }) => ({ text: `hello, ${ctx.config.name}` }),
 *     });
 *
 * Host calls wait: no promise is needed. A function may return one all the same; there
 * are no timers, so it must come from what the plugin computes itself.
 */

/** A JSON value. */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };

/**
 * What a step's configuration may hold, by key. A value is the default and says the type;
 * a function is given what was configured, undefined for nothing, and returns what the
 * plugin gets, or throws. A key that does not stand here is refused.
 */
export type Fields = { [key: string]: Value | ((value: any) => any) };

/** What a plugin with those fields is configured with. */
export type Configured<F> = {
	[K in keyof F]: F[K] extends (value: any) => infer R ? R
		: F[K] extends string ? string
		: F[K] extends number ? number
		: F[K] extends boolean ? boolean
		: F[K];
};

interface Common<F> {
	/**
	 * The configuration's fields, or a function that makes the configuration of what the
	 * host sent (raw is its JSON text) or throws. Without it, only an empty one is taken.
	 */
	config?: F | ((sent: any, raw: Raw) => any);
	/** Throws when the configuration is refused; may fill in what depends on other keys. */
	validate?(config: Configured<F>): void;
	/** The self-check: throws when the plugin could not do its work on this machine now. */
	check?(ctx: Context<Configured<F>>): void | Promise<void>;
}

export interface TriggerDefinition<F> extends Common<F> {
	/** Called at start, and again after the time that its answer asked for. */
	wake(ctx: Context<Configured<F>>, wake: Wake): Fired | void | Promise<Fired | void>;
}
export interface ActionDefinition<F> extends Common<F> {
	/** Called for an event; what it returns is the data of the step's result. */
	run(ctx: Context<Configured<F>>, run: Run): unknown;
	/**
	 * How it works on several events at once, which pays where one write or one request
	 * serves many: the agent may ask so when a queue has built up. It returns a list with an
	 * outcome for each event, in order: its data, or an Error. The list may be shorter: the
	 * rest is asked again. Without it, run is called for one event after another.
	 */
	batch?(ctx: Context<Configured<F>>, runs: Run[]): unknown[] | Promise<unknown[]>;
}
export interface OutputDefinition<F> extends Common<F> {
	/** Called when the actions of a run are over; returning means delivered. */
	deliver(ctx: Context<Configured<F>>, run: Run): void | Promise<void>;
	/** How it delivers several runs at once, as an action's batch. What is no Error is delivered. */
	batch?(ctx: Context<Configured<F>>, runs: Run[]): unknown[] | Promise<unknown[]>;
}

/** A plugin. The name is the manifest's. */
export interface Plugin {
	readonly type: "trigger" | "action" | "output";
	readonly name: string;
	/** Serves the host until its stdin ends. The hub calls it. */
	main(): Promise<void>;
}

export function trigger<F extends Fields = {}>(name: string, definition: TriggerDefinition<F>): Plugin;
export function action<F extends Fields = {}>(name: string, definition: ActionDefinition<F>): Plugin;
export function output<F extends Fields = {}>(name: string, definition: OutputDefinition<F>): Plugin;

/** What a trigger is asked. */
export interface Wake {
	/** "start" on the first wake after a start, whatever the trigger waited for before. */
	why: "start" | "timer" | "message" | (string & {});
	/**
	 * Counts milliseconds over restarts and never jumps: what it says of two wakes is how long
	 * one was after the other, whatever the clock was set to between. 0: not said.
	 */
	steadyMS: number;
	/**
	 * Whether ctx.nowMS can be believed. Without, it is the newest time that is known and what
	 * has passed since.
	 */
	clock: boolean;
	/** What the last answer left; undefined at first. */
	state: any;
	/** What a plugin of the same device published, when that is why. */
	message?: { topic: string; data: any };
	/** The state as it stands in the message of the host. */
	raw(): Raw;
}

/** A trigger's answer. */
export interface Fired {
	/** What happened; each starts a run of the workflow. At most 64, each at most 24 KiB. */
	events?: unknown[];
	/** What the next wake gets, also after a restart. At most 16 KiB. */
	state?: unknown;
	/**
	 * When to be woken next, in milliseconds. 0 or none: not again until the next start. A wait
	 * goes on over a restart.
	 */
	afterMS?: number;
	/**
	 * In place of afterMS, what the wall clock is to show then, milliseconds since 1970. The host
	 * follows when the clock is set; what was missed by more than a minute is as the workflow's
	 * catch-up says.
	 */
	atMS?: number;
	/**
	 * Filters of local topics ("line/+/alarm", "line/#"): a message on one wakes the trigger
	 * before its time. At most 16. Needs mqtt.listen with filters as scopes.
	 */
	topics?: string[];
}

/** What an action or an output is asked. */
export interface Run {
	event: {
		/** 32 hexadecimal digits. */
		run: string;
		workflow: string;
		timeMS: number;
		data: any;
		/** The data as it stands in the message. */
		raw(): Raw;
	};
	/** Of the actions before this one, in order; of all, for an output. */
	results: { step: string; status: "ok" | "error" | "dropped" | "skipped"; data: any; error?: { code: string; text: string } }[];
	/** The same when the same request is repeated. */
	key: string;
	/** How long this request may take; 0: not said. */
	deadlineMS: number;
}

/**
 * One request's way to the host, until the plugin's function has returned. What the host
 * refuses is thrown as a StavilyError with the host's code: "denied" without the grant.
 */
export interface Context<C> {
	readonly config: C;
	/** The host's time at the beginning of the request. It does not move. */
	readonly now: Date;
	readonly nowMS: number;
	readonly workflow: string;
	readonly step: string;
	/** What the host holds the plugin to. */
	readonly limits: {
		max_memory_mb: number;
		max_cpu_cores: number;
		max_execution_time_seconds: number;
		max_file_descriptors: number;
		max_network_connections: number;
	};
	/** What the plugin may ask the host for. */
	readonly grants: { capability: string; scopes: string[] }[];

	/** A host call by name, for those that have no method here. */
	call(name: string, args?: unknown): any;
	/** The same; the reply as it stands in the message. */
	callRaw(name: string, args?: unknown): Raw;

	/** A log line of at most 1 KiB. The host keeps so many a second and counts the rest. */
	log(level: "debug" | "info" | "warn" | "error", text: string): void;
	/** What the machine is at now, by name. One that it does not have is not there. Needs metrics.read. */
	metrics(...names: string[]): { [name: string]: number };
	/** Runs a program and waits for its end. Needs process.execute with the program as a scope. */
	process(command: { argv: string[]; stdin?: string; outputMax?: number; timeoutMS?: number }): {
		exit: number; stdout: string; stderr: string; truncated: boolean; tookMS: number;
	};

	/** Adds to a file in the plugin's own directory and returns its size. Needs filesystem.write. */
	append(path: string, data: string, options?: { sync?: boolean }): number;
	/** Makes a file be data, whole or not at all. Needs filesystem.write. */
	writeFile(path: string, data: string, options?: { sync?: boolean }): void;
	/** Reads at most max bytes, 64 KiB unless said. Needs filesystem.read. */
	readFile(path: string, max?: number): string;
	/** The names in a folder, in ascending order. Needs filesystem.read. */
	listFiles(path?: string): string[];

	/** What kvPut kept, undefined for nothing. Needs kv. */
	kvGet(key: string): any;
	/** Keeps a value: at most 64 keys, each value at most 16 KiB; null removes it. Needs kv. */
	kvPut(key: string, value: unknown): void;

	/** The addresses of a host name, best first. Needs dns.resolve with the name as a scope. */
	resolve(name: string): string[];
	/** One HTTP exchange; any status is an answer. Needs http.request with "host:port" as a scope. */
	http(request: {
		url: string; method?: string; headers?: { [name: string]: string }; body?: string | Uint8Array;
		/**
		 * Names of secrets. The host puts the value of each in place of its handle in headers,
		 * path and query; the plugin does not learn it. Needs secret.use with "name@host:port".
		 */
		secrets?: string[];
		max?: number; timeoutMS?: number;
	}): {
		status: number; headers: { [name: string]: string };
		/** The body when it is text; else it is in bytes. */
		body: string; bytes?: Uint8Array; truncated: boolean;
	};
	/**
	 * Says something to the triggers of this device that wait for the topic. data is at most
	 * 8 KiB; nobody has to hear it. Needs mqtt.publish with filters as scopes.
	 */
	publish(topic: string, data?: unknown): void;
	/**
	 * The value of a secret, in bytes when it is no text. A plugin that only sends it on wants
	 * a handle instead, and is granted it more easily. Needs secret.use with the bare name as a
	 * scope. One that is not on the device yet is "unavailable", which makes an answer retryable.
	 */
	secret(name: string): string | Uint8Array;
	/** Connects to a port. Needs tcp.connect with "host:port" as a scope. */
	dial(host: string, port: number, options?: { tls?: boolean; timeoutMS?: number }): Conn;
}

/** A connection of one request; the host closes it when the request ends. */
export interface Conn {
	/** The address and port that were connected to. */
	readonly address: string;
	/** Waits for bytes and returns those that are there, 4 KiB at most unless said; null at the end. */
	read(max?: number): Uint8Array | null;
	/** Writes all of data, a text as UTF-8. */
	write(data: string | Uint8Array): void;
	/** Closes it. Closing it again does nothing. */
	close(): void;
}

/**
 * What kind of error it is. plugin: trying again is of no use; retryable: it may be; denied:
 * a host call without its grant; unavailable: one that this agent cannot serve now; not-found;
 * limit: beyond a bound; deadline: it took too long. Others may come: treat them as unavailable.
 */
export type Code = "plugin" | "retryable" | "denied" | "unavailable" | "not-found" | "limit" | "deadline" | (string & {});

/** An error with a code: of a host call, or of the plugin's own. */
export class StavilyError extends Error {
	constructor(code: Code, text: string, options?: { cause?: unknown });
	readonly code: Code;
}
/** Thrown for what may go away when the host asks again: a busy device, a full disk. */
export class Retryable extends StavilyError {
	constructor(text: string, options?: { cause?: unknown });
}

/**
 * A JSON text that goes through the plugin as it is, in an answer or in the arguments of
 * a host call. A number above 2^53, and the difference between 1 and 1.0, survive only so.
 */
export class Raw {
	constructor(text: string);
	readonly text: string;
	readonly value: any;
	get(key: string): Raw | undefined;
	items(): Raw[];
}

/** Stands for the value of a secret in an HTTP request that has it among its secrets. */
export function handle(secret: string): string;
/** Milliseconds of "30s", "1h30m", "250ms"; throws for anything else. */
export function duration(text: unknown): number;
/** How many bytes a text has in UTF-8. */
export function byteLength(text: string): number;
