// Starts a program with an IPC channel, as `child_process.fork` would, prints what the program sends, and ends it.
import { spawn } from "node:child_process";

const [command, ...rest] = process.argv.slice(2);
const child = spawn(command, rest, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
child.on("message", (message) => {
  console.log(JSON.stringify(message));
  child.kill("SIGTERM");
});
child.on("exit", (code) => process.exit(code ?? 1));
