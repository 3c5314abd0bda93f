// The packages, packed and installed once for all tests, and the mock Lightning.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { packAll, thirdParty } from "../pack.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What cargo has built. */
export const programs = process.env.TARGET ?? resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "debug");

/** The program without its debug information, which is most of it; as it is where there is no `strip`. */
function small(program, folder) {
  const stripped = join(folder, "ws-worker");
  try {
    execFileSync("strip", ["-o", stripped, program], { stdio: "ignore" });
    return stripped;
  } catch {
    return program;
  }
}

/** Packs, and installs the tarballs into a folder of its own. */
export function install() {
  const folder = mkdtempSync(join(tmpdir(), "ws-worker-npm-"));
  // npm and npx write nothing anywhere else.
  process.env.npm_config_cache = join(folder, "cache");
  const others = thirdParty("licenses", join(folder, "third-party"));
  const tarballs = packAll(small(join(programs, "ws-worker"), folder), join(folder, "tarballs"), others);
  const home = join(folder, "home");
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), JSON.stringify({ name: "home", private: true, type: "module" }));
  execFileSync("npm", ["install", "--offline", "--no-audit", "--no-fund", tarballs.main, tarballs.program], {
    cwd: home,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return { folder, home, tarballs, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** The secret of {@link lightning}. */
export const SECRET = "a secret between two tests";

/** A mock Lightning on a free port. */
export async function lightning() {
  const child = spawn(join(programs, "lightning-mock"), ["--port", "0", "--secret", SECRET], { stdio: ["ignore", "pipe", "ignore"] });
  const [url] = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (line) => resolve([line.trim()]));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the mock Lightning ended with ${code}`)));
  });
  return {
    socket: url.replace("http", "ws") + "/worker",
    /** Stores a run of one job, of which no worker is told; gives its id. */
    async enqueue(body) {
      const plan = {
        triggers: [{ id: "t" }],
        jobs: [{ id: crypto.randomUUID(), name: "Job", body }],
        edges: [],
      };
      plan.edges.push({ source_trigger_id: "t", target_job_id: plan.jobs[0].id });
      const answer = await fetch(`${url}/run`, { method: "POST", body: JSON.stringify(plan) });
      if (!answer.ok) throw new Error(await answer.text());
      return (await answer.json()).id;
    },
    async run(id) {
      return (await fetch(`${url}/run/${id}`)).json();
    },
    stop: () => new Promise((resolve) => child.once("exit", resolve) && child.kill()),
  };
}

/** Whether a process is alive; one that nobody has waited for is not. */
export function isAlive(pid) {
  try {
    const stat = execFileSync("cat", [`/proc/${pid}/stat`], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return false;
  }
}

/** Looks again and again until there is something; for what no process tells. */
export async function until(look) {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
