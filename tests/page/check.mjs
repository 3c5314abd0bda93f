// Looks at the status page of a worker under load in headless Chromium. Not part of CI, for it needs a browser:
//
//   cargo build -p ws-worker -p lightning-mock
//   cd tests/page && npm install && node check.mjs [folder for screenshots]
//
// CHROMIUM names the browser (default /usr/bin/chromium), TARGET the folder of the programs (default ../../target/debug).

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = fileURLToPath(new URL(".", import.meta.url));
const programs = process.env.TARGET ?? join(here, "../../target/debug");
const pictures = process.argv[2] ?? join(programs, "../status-page");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const failures = [];
const started = [];

function expect(holds, what) {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}`);
  if (!holds) failures.push(what);
}

/** Starts a program and gives the address that it says it listens on. */
function start(program, args) {
  const child = spawn(join(programs, program), args, { stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  return new Promise((resolve, reject) => {
    let said = "";
    const hear = (chunk) => {
      said += chunk;
      const found = said.match(/(?:listening on|workers connect to) \w+:\/\/([^\s/]+)/);
      if (found) resolve(`http://${found[1]}`);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", () => reject(new Error(`${program} ended:\n${said}`)));
  });
}

/** A run of one job. */
async function enqueue(lightning, body) {
  const job = crypto.randomUUID();
  const plan = {
    queue: "manual",
    triggers: [{ id: "t" }],
    jobs: [{ id: job, name: "Job", body }],
    edges: [{ source_trigger_id: "t", target_job_id: job }],
  };
  const answer = await fetch(`${lightning}/run?wakeup`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(plan),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

/** Keeps five slots busy: short runs, long ones, and some that fail. */
async function load(lightning, until) {
  for (let number = 0; !until.aborted; number += 1) {
    await enqueue(lightning, number % 5 === 0 ? "wait(9000)" : number % 7 === 0 ? "fn(s => s.x.y)" : "wait(700)");
    await new Promise((resolve) => setTimeout(resolve, 260));
  }
}

async function look(browser, worker, width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(worker);
  await page.waitForFunction(() => document.querySelectorAll("#runs tr").length > 0);
  const name = `${width}-${colorScheme}`;

  // The page and /status are read one after the other, so they are compared until both show the same moment.
  let same = false;
  for (let attempt = 0; attempt < 50 && !same; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const shown = await page.evaluate(() => ({
      runs: [...document.querySelectorAll("#runs tr")].map((row) => row.cells[3].textContent).sort(),
      busy: document.querySelectorAll("#slots li.busy").length,
      slots: document.querySelectorAll("#slots li").length,
    }));
    const status = await (await fetch(`${worker}/status`)).json();
    same = JSON.stringify(shown.runs) === JSON.stringify(status.runs.map((run) => run.id).sort())
      && shown.busy === status.workloops.reduce((sum, workloop) => sum + workloop.active, 0)
      && shown.slots === status.workloops.reduce((sum, workloop) => sum + workloop.slots, 0);
  }
  expect(same, `${name}: slots and runs are those of /status`);

  const workers = await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#workers tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
    return rows.length === 3 && rows[1][2] === "running" && rows[2][2].startsWith("it does not answer") && rows;
  }).then((rows) => rows.jsonValue());
  expect(workers[0][0] === "this one" && workers[1][1] === "second", `${name}: it shows the other workers`);

  const before = await page.textContent("#runs");
  const changed = await page.waitForFunction((text) => document.querySelector("#runs").textContent !== text, before, { timeout: 1000 })
    .then(() => true, () => false);
  expect(changed, `${name}: it shows news within a second`);

  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(overflow <= 0, `${name}: nothing is wider than the window`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(grave.length === 0, `${name}: axe finds nothing serious ${grave.map(({ id }) => id).join(", ")}`);
  for (const { id, impact } of violations) console.log(`     axe: ${impact} ${id}`);
  await page.keyboard.press("Tab");
  const focused = await page.evaluate(() => document.activeElement.className);
  expect(focused === "scroll", `${name}: the tables are reached by keyboard`);
  expect(errors.length === 0, `${name}: no error on the console ${errors.join("; ")}`);
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  await context.close();
}

const over = new AbortController();
try {
  mkdirSync(pictures, { recursive: true });
  const lightning = await start("lightning-mock", ["--port", "0"]);
  const socket = lightning.replace("http", "ws") + "/worker";
  const common = ["start", "--mock", "--port", "0", "--host", "127.0.0.1", "--lightning", socket, "--secret", "a-secret"];
  const second = await start("ws-worker", [...common, "--name", "second", "--workloops", "scheduled:2"]);
  const worker = await start("ws-worker", [
    ...common, "--name", "first", "--workloops", "fast_lane:1 manual>*:4", "--backoff", "0.2/1",
    "--peers", `${second},http://127.0.0.1:1`,
  ]);
  const loading = load(lightning, over.signal);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  await new Promise((resolve) => setTimeout(resolve, Number(process.env.WARM_UP_MS ?? 20_000)));
  for (const width of [1280, 390]) {
    for (const scheme of ["light", "dark"]) await look(browser, worker, width, scheme);
  }
  await browser.close();
  over.abort();
  await loading;
} finally {
  for (const child of started) child.kill();
}
console.log(`screenshots are in ${pictures}`);
// Nothing that was left open, such as a stream, keeps this from ending.
process.exit(failures.length === 0 ? 0 : 1);
