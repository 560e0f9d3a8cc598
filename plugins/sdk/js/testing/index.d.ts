/**
 * A host for the unit tests of a plugin, and what a test is written with. The same tests
 * run under Node (`node --test`), and without Node in the engine that plugins run in.
 *
 *     test("greets", () => {
 *         const host = start(plugin, { name: "Ada" });
 *         equal(host.run().text, "hello, Ada");
 *     });
 */
import type { Plugin } from "../index.js";

/** A test; it fails when f throws or its promise is rejected. */
export function test(name: string, f: () => void | Promise<void>): void;
/** Throws unless both are the same JSON value. */
export function equal(got: unknown, want: unknown, what?: string): void;
/** Returns the error that f throws; throws when it does not, or text does not stand in it. */
export function throws(f: () => unknown, text?: string): Error & { code?: string };

/** Starts a plugin; throws what it says when it refuses the configuration. */
export function start(plugin: Plugin, config?: unknown): Host;

/** One agent with one plugin. A test may read and change its maps between requests. */
export interface Host {
	/** What metrics.read answers. */
	metrics: { [name: string]: number };
	/** What kv.put has kept. */
	kv: Map<string, any>;
	/** The plugin's own directory, by path. */
	files: Map<string, string>;
	/** What secret.use tells. */
	secrets: Map<string, string | Uint8Array>;
	/** What the plugin can reach: nothing, unless a test says so. */
	network: Network;
	/** What it published, oldest first. */
	published: { topic: string; data: any }[];
	/** What the plugin logged, oldest first. */
	logs: { level: number; text: string }[];
	/** The host calls that it made, logs too, oldest first. */
	calls: { name: string; args: any }[];
	/** Told at the next start; they deny nothing by themselves. */
	grants: { capability: string; scopes: string[] }[];
	/** The host's clock, milliseconds since 1970. Setting it wakes nothing. */
	nowMS: number;
	/** The host's steady clock: it counts what advance lets pass. */
	steadyMS: number;
	/** Whether the device's clock can be believed. */
	clock: boolean;
	/** What a trigger answered last, and is told at its next wake. */
	state: any;

	/** Makes f answer the calls of a name: it returns the reply, or throws a StavilyError. */
	answer(name: string, f: (args: any) => unknown): void;
	/** Refuses the calls of a name, as it is without the grant. */
	deny(name: string): void;
	/** As after a reboot. State, key-value store and files stay. */
	restart(): void;

	/** Asks an action to work on an event with this data. The result's data, a promise of it when the function returns one. */
	run(data?: unknown, more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	/** Asks an output to deliver a run. */
	deliver(data?: unknown, more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	/**
	 * Hands an action or an output several events in one request, as an agent does when a
	 * queue has built up. An outcome for each: the data, or a StavilyError.
	 */
	batch(events: unknown[], more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	/** Asks the plugin to check itself. */
	check(): any;
	/** Wakes a trigger now, with the state that it answered last: { events, state, afterMS, atMS, topics }. */
	wake(): any;
	/** Wakes a trigger with a message on a local topic, whether it waits for that or not. */
	hear(topic: string, data?: unknown): any;
	/** Lets time pass, wakes the trigger when it asked for it, and returns the events. */
	advance(ms: number): any[];
}

/** The network of a test. */
export interface Network {
	/** The addresses that dns.resolve answers, by name. */
	names?: { [name: string]: string[] };
	/** Answers an HTTP request, or throws a StavilyError. */
	http?(request: {
		url: string; method: string; headers: { [name: string]: string }; secrets: string[];
		body?: string | Uint8Array; max?: number; timeoutMS?: number;
	}): { status?: number; headers?: { [name: string]: string }; body?: string | Uint8Array };
	/** Answers a connection to "host:port". read returns null at the end. */
	dial?(address: string): {
		read(max: number): string | Uint8Array | null;
		write(data: Uint8Array): void;
		close?(): void;
	};
}
