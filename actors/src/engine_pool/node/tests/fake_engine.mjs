// An engine child that behaves as the id of its run says. Not the real one: it
// exists to see what the pool makes of children that misbehave.

import child from "node:child_process";
import fs from "node:fs";
import net from "node:net";

const OUT_OF_MEMORY = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n";

const now = () => String(Date.now() * 1000);

function frame(header, body = "") {
  const parts = [Buffer.alloc(8), Buffer.from(JSON.stringify(header)), Buffer.from(body)];
  parts[0].writeUInt32BE(parts[1].length, 0);
  parts[0].writeUInt32BE(parts[2].length, 4);
  return Buffer.concat(parts);
}

const write = (bytes) => fs.writeSync(4, bytes);
const send = (header, body) => write(frame(header, body));
const spin = () => {
  for (;;);
};

const line = (run, name, text) =>
  send({ type: "log", run, level: "info", name: "JOB", time: now() }, JSON.stringify([name, text]));

function outcome(attempt) {
  try {
    attempt();
    return "ok";
  } catch (error) {
    return error.code ?? error.message;
  }
}
function raise(error) {
  if (error) throw error;
}
function assertNone(names) {
  if (names.length > 0) throw new Error(names.join());
}

function go(run) {
  const start = { type: "job-start", run, job: "a", time: now() };
  const complete = {
    type: "job-complete", run, job: "a", time: now(), duration: 5, next: [],
    mem: { job: 1, system: 2 }, size: 2, redacted: false, shape: "object",
  };
  const over = { type: "workflow-complete", run, time: now(), duration: 6, shape: "object", size: 2, redacted: false };
  const exit = { type: "exit", run, cause: "done", code: 0 };
  const behaviours = {
    good() {
      send(start);
      send({ type: "log", run, level: "info", name: "JOB", time: now() }, '["pid",' + process.pid + "]");
      send(complete, "{}");
      send(over, "{}");
      send(exit);
    },
    garbage: () => write(Buffer.from("this is no frame at all, it is a text")),
    giant: () => write(Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
    stranger: () => send({ ...start, run: "another" }),
    forger() {
      send(start);
      send({ ...start, job: "b" });
    },
    preloads() {
      for (let time = 0; time < 100; time += 1) send({ type: "preloaded" });
      behaviours.good();
    },
    unknown: () => send({ ...start, job: "zzz" }),
    twice() {
      send(start);
      send(complete, "{}");
      send(over, "{}");
      send(over, "{}");
    },
    deaf() {
      send(start);
      spin();
    },
    dies() {
      send(start);
      process.kill(process.pid, "SIGKILL");
    },
    leaves() {
      send(start);
      process.exit(7);
    },
    oom() {
      send(start);
      fs.writeSync(2, OUT_OF_MEMORY);
      process.kill(process.pid, "SIGABRT");
    },
    shouts() {
      send(start);
      fs.writeSync(2, OUT_OF_MEMORY);
      process.exit(7);
    },
    mutters() {
      fs.writeSync(2, OUT_OF_MEMORY);
      behaviours.good();
    },
    aborts() {
      send(start);
      process.kill(process.pid, "SIGABRT");
    },
    thread() {
      send(start);
      send({ type: "exit", run, cause: "exit", code: 3 });
    },
    flood() {
      send(start);
      for (let line = 0; line < 1000; line += 1) {
        send({ type: "log", run, level: "info", name: "JOB", time: now() }, JSON.stringify([line]));
      }
      send(complete, "{}");
      send(over, "{}");
      send(exit);
    },
    buffers() {
      send(start);
      const kept = [];
      for (;;) kept.push(Buffer.alloc(1 << 20, 1));
    },
    escapes() {
      send(start);
      const own = process.env.TMPDIR;
      const attempts = {
        "read /etc/passwd": () => fs.readFileSync("/etc/passwd"),
        "read the worker's environment": () => fs.readFileSync(`/proc/${process.ppid}/environ`),
        "read the worker's memory": () => fs.openSync(`/proc/${process.ppid}/mem`),
        "list /proc": () => fs.readdirSync("/proc"),
        "list the temporary folder": () => fs.readdirSync(`${own}/..`),
        "write into the repository": () => fs.writeFileSync("repo/x", ""),
        "write into the engine": () => fs.writeFileSync("main.cjs", ""),
        "write into its own folder": () => fs.writeFileSync(`${own}/x`, ""),
        "start a shell": () => raise(child.spawnSync("/bin/sh", ["-c", "true"]).error),
        "start itself again": () => raise(child.spawnSync(process.execPath, ["-e", "0"]).error),
        "signal the worker": () => process.kill(process.ppid, 0),
        "measure its memory": () => process.memoryUsage(),
        "see a variable of the worker": () => assertNone(Object.keys(process.env).filter((key) => !/^(TMPDIR|HOME|MALLOC_\w+)$/.test(key))),
      };
      for (const [name, attempt] of Object.entries(attempts)) line(run, name, outcome(attempt));
      send(complete, "{}");
      send(over, "{}");
      send(exit);
    },
    writes() {
      send(start);
      const own = process.env.TMPDIR;
      line(run, "files", String(fs.readdirSync(own).length));
      line(run, "folder", own);
      fs.writeFileSync(`${own}/left-behind`, "");
      send(complete, "{}");
      send(over, "{}");
      send(exit);
    },
    heap() {
      send(start);
      line(run, "heap", process.execArgv.find((flag) => flag.startsWith("--max-old")));
      line(run, "pid", String(process.pid));
      send(complete, "{}");
      send(over, "{}");
      send(exit);
    },
    waits: () => send(start),
  };
  behaviours[run.split("-")[0]]();
}

function command({ type, run }) {
  if (type === "execute" && run === "loading") process.exit(1);
  if (type === "execute") send({ type: "workflow-start", run, thread_id: 1, time: now(), warm: true });
  if (type === "go") go(run);
  if (type === "preload") send({ type: "preloaded" });
  if (type === "shutdown") process.exit(0);
}

let buffered = Buffer.alloc(0);
const socket = new net.Socket({ fd: 3, readable: true, writable: false });
socket.on("close", () => process.exit(0));
socket.on("data", (chunk) => {
  buffered = Buffer.concat([buffered, chunk]);
  while (buffered.length >= 8) {
    const header = buffered.readUInt32BE(0);
    const whole = 8 + header + buffered.readUInt32BE(4);
    if (buffered.length < whole) return;
    const parsed = JSON.parse(buffered.subarray(8, 8 + header));
    buffered = buffered.subarray(whole);
    command(parsed);
  }
});
send({ type: "ready", protocol: 1, node: process.versions.node, runtime: "0.0.0", pid: process.pid });
