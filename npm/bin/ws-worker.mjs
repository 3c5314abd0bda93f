#!/usr/bin/env node
// `npx ws-worker …`: starts the program in the place of this script, as far as Node.js can.

import { spawn } from "node:child_process";

import { BinaryMissing, binaryPath } from "../binary.mjs";

/** Ctrl-C under npx arrives twice, from the terminal and from npm: within this time it is one, ms. To the worker, a second
 * one says that the runs in hand are to be given up. */
const SAME = 500;

const args = process.argv.slice(2);

function program() {
  try {
    return binaryPath();
  } catch (error) {
    if (!(error instanceof BinaryMissing)) throw error;
    console.error(`ws-worker: ${error.message}`);
    process.exit(1);
  }
}

/** Ends as the program has ended. */
function leave(code, signal) {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function start(options) {
  const child = spawn(program(), args, options);
  child.on("error", (error) => {
    console.error(`ws-worker: the program cannot be started: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", leave);
  return child;
}

/** A worker has a session of its own, so that a terminal's Ctrl-C reaches it through here only, and ends by itself when this
 * process is killed. */
function work() {
  const variable = process.env.WORKER_END_WITH_PARENT;
  const asked = ["true", "1", "yes", "on"].includes(variable?.toLowerCase())
    || args.some((arg) => ["--end-with-parent", "--end-with-parent=true"].includes(arg));
  const child = start({
    detached: true,
    env: { ...process.env, WORKER_END_WITH_PARENT: variable || "true" },
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  // A parent that forked this script waits for READY; more is only for one that has asked for it.
  child.on("message", (message) => {
    if (process.connected && (asked || message === "READY")) process.send(message);
  });
  if (asked && process.connected) process.on("disconnect", () => child.kill("SIGTERM"));
  const last = new Map();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      const now = performance.now();
      if (now - (last.get(signal) ?? -SAME) >= SAME) child.kill(signal);
      last.set(signal, now);
    });
  }
  for (const signal of ["SIGUSR1", "SIGUSR2"]) process.on(signal, () => child.kill(signal));
}

/** Any other command shares the terminal, which sends it Ctrl-C by itself. */
function run() {
  const child = start({ stdio: "inherit" });
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
}

const [command = "start"] = args;
if (["start", "server"].includes(command) || command.startsWith("-")) work();
else run();
