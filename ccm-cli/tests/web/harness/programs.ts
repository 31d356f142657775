// Where the programs are that the tests run.

import { accessSync, constants } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../..");

/** Where builds and what the tests leave behind go. */
export const TARGET = path.resolve(process.env["CARGO_TARGET_DIR"] ?? path.join(ROOT, "target"));

/** The programs of CCM; those of the developers' build if nothing is said. */
export const PROGRAMS = path.resolve(process.env["CCM_PROGRAMS"] ?? path.join(TARGET, "debug"));

export const STUB = path.resolve(
  process.env["CCM_STUB"] ?? path.join(PROGRAMS, "examples/messages-stub"),
);

/** A Supabase project for a test. */
export const SUPABASE = path.resolve(
  process.env["CCM_SUPABASE_PLACE"] ?? path.join(PROGRAMS, "examples/place"),
);

/** The folder with the pinned Claude Code. */
export const CLAUDE = path.resolve(
  process.env["CCM_CLAUDE"] ?? path.join(ROOT, "ccm-cli/tests/claude-code/node_modules/.bin"),
);

/** The browser that is installed; none is downloaded. */
export function chromium(): string {
  const folders = (process.env["PATH"] ?? "").split(path.delimiter);
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    for (const folder of folders) {
      const program = path.join(folder, name);
      if (isProgram(program)) return program;
    }
  }
  throw new Error("there is no Chromium here: `scripts/tools chromium` installs it");
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** How the browser is run: without what it would do on its own behind the page's back. */
export const BROWSER_FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
