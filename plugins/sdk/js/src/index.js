// The SDK for plugins in JavaScript and TypeScript. index.d.ts beside this folder says
// what is here and what it promises; README.md shows it at work.
import "./console.js";

export { StavilyError, Retryable } from "./error.js";
export { action, output, trigger } from "./plugin.js";
export { Raw } from "./raw.js";
export { byteLength, duration, handle } from "./text.js";
