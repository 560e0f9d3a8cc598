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
	metrics: { [name: string]: number };
	kv: Map<string, any>;
	files: Map<string, string>;
	logs: { level: number; text: string }[];
	calls: { name: string; args: any }[];
	grants: { capability: string; scopes: string[] }[];
	nowMS: number;
	state: any;

	/** Makes f answer the calls of a name: it returns the reply, or throws a StavilyError. */
	answer(name: string, f: (args: any) => unknown): void;
	/** Refuses the calls of a name, as it is without the grant. */
	deny(name: string): void;
	/** As after a reboot. State, key-value store and files stay. */
	restart(): void;

	/** What a function answers; a promise when the plugin's function returns one. */
	run(data?: unknown, more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	deliver(data?: unknown, more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	/**
	 * Hands an action or an output several events in one request, as an agent does when a
	 * queue has built up. An outcome for each: the data, or a StavilyError.
	 */
	batch(events: unknown[], more?: { results?: unknown[]; key?: string; deadlineMS?: number }): any;
	check(): any;
	wake(): any;
	/** Lets time pass, wakes the trigger when it asked for it, and returns the events. */
	advance(ms: number): any[];
}
