// Builds the tarballs of the npm packages: the main one, and the one with the program for the platform that it is built for.
// Nothing is published.
//
//   node npm/pack.mjs [--binary FILE] [--out FOLDER]
//
// Without --binary the program is built with `cargo build --release`. The tarballs go to target/npm unless --out says otherwise. A
// bill of materials and the licences of what is linked go with the program; cargo-cyclonedx is needed for it.

import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { PLATFORMS } from "./binary.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "..");

/** Machines as ELF numbers them. */
const MACHINES = { 62: "x64", 183: "arm64" };

/** The version of the workspace. */
export function version() {
  const manifest = readFileSync(join(root, "Cargo.toml"), "utf8");
  return manifest.match(/^\[workspace\.package\]\nversion = "(.+)"$/m)[1];
}

/** The platform that a program is for, by its own header. */
export function platformOf(binary) {
  const header = Buffer.alloc(20);
  const file = openSync(binary, "r");
  readSync(file, header);
  closeSync(file);
  const machine = header.subarray(0, 4).toString("latin1") === "\x7fELF" ? MACHINES[header.readUInt16LE(18)] : undefined;
  const platform = `linux-${machine}`;
  if (!PLATFORMS.includes(platform)) throw new Error(`${binary} is no program for ${PLATFORMS.join(" or ")}`);
  return platform;
}

function write(folder, manifest) {
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, null, 2) + "\n");
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
}

function pack(folder, out) {
  const output = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", out], { cwd: folder, encoding: "utf8" });
  return join(out, JSON.parse(output)[0].filename);
}

/** Writes what others wrote of the program into a folder: `program` all of it, `licenses` the texts alone. */
export function thirdParty(what, folder) {
  execFileSync(join(root, "scripts", "third-party.sh"), [what, folder], { stdio: "inherit" });
  return folder;
}

/** Packs both, with this folder of bills and licences; returns the paths of the tarballs. */
export function packAll(binary, out, others) {
  const staging = mkdtempSync(join(tmpdir(), "ws-worker-pack-"));
  try {
    mkdirSync(out, { recursive: true });
    const own = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
    const built = version();
    const platform = platformOf(binary);

    const main = join(staging, "main");
    mkdirSync(main);
    for (const file of [...own.files, "README.md"]) cpSync(join(here, file), join(main, file), { recursive: true });
    const optionalDependencies = Object.fromEntries(PLATFORMS.map((name) => [`ws-worker-${name}`, built]));
    const { scripts, ...kept } = own;
    write(main, { ...kept, version: built, optionalDependencies });

    const program = join(staging, platform);
    mkdirSync(join(program, "bin"), { recursive: true });
    copyFileSync(binary, join(program, "bin", "ws-worker"));
    chmodSync(join(program, "bin", "ws-worker"), 0o755);
    cpSync(others, join(program, "third-party"), { recursive: true });
    const [os, cpu] = platform.split("-");
    write(program, {
      name: `ws-worker-${platform}`,
      version: built,
      description: `The program of ws-worker for ${platform}.`,
      license: own.license,
      files: ["bin", "third-party"],
      os: [os],
      cpu: [cpu],
      libc: ["glibc"],
    });
    return { main: pack(main, out), program: pack(program, out) };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** The program, built anew. */
function build() {
  execFileSync("cargo", ["build", "--release", "--locked", "--package", "ws-worker", "--bin", "ws-worker"], { cwd: root, stdio: "inherit" });
  return resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "release", "ws-worker");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { binary: { type: "string" }, out: { type: "string" } } });
  const binary = values.binary === undefined ? build() : resolve(values.binary);
  const others = thirdParty("program", mkdtempSync(join(tmpdir(), "ws-worker-third-party-")));
  try {
    const packed = packAll(binary, resolve(values.out ?? join(root, "target", "npm")), others);
    for (const file of Object.values(packed)) console.log(file);
  } finally {
    rmSync(others, { recursive: true, force: true });
  }
}
