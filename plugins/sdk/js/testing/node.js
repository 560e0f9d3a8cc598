// Under Node, a test is one of its own test runner: node --test.
export { test } from "node:test";
export { start } from "./host.js";
export { equal, throws } from "./check.js";
