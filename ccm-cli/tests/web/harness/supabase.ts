// A Supabase project of a test's own (tests/supabase/examples/supabase-place.rs): a real PostgreSQL with the real migration,
// and the double of what is in front of it.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";

import { SUPABASE } from "./programs.ts";

export class Supabase {
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: Interface,
    readonly url: string,
    readonly key: string,
    readonly email: string,
    readonly password: string,
  ) {}

  static async start(): Promise<Supabase> {
    const child = spawn(SUPABASE, [], { stdio: ["pipe", "pipe", "inherit"] });
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(new Error("the Supabase project of the test did not start")));
    });
    const lines = createInterface({ input: child.stdout });
    const first = await Promise.race([next(lines), failed]);
    const { url, key, email, password } = JSON.parse(first) as Record<"url" | "key" | "email" | "password", string>;
    return new Supabase(child, lines, url, key, email, password);
  }

  /** Nobody can reach it any more. */
  cut(): Promise<void> {
    return this.tell("cut");
  }

  /** It can be reached again, where it was. */
  mend(): Promise<void> {
    return this.tell("mend");
  }

  private async tell(what: string): Promise<void> {
    const answered = next(this.lines);
    this.child.stdin?.write(`${what}\n`);
    await answered;
  }

  async end(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    // It ends its database and its server, and then itself.
    child.stdin?.end();
    await ended;
  }
}

function next(lines: Interface): Promise<string> {
  return new Promise((resolve) => lines.once("line", resolve));
}
