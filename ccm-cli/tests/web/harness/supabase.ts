// A Supabase project of a test's own (tests/supabase/examples/place.rs): a real PostgreSQL with the real
// migration, and the double of what is in front of it.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { SUPABASE } from "./programs.ts";

export class Supabase {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
    readonly key: string,
    /** Whose project it is. */
    readonly email: string,
    readonly password: string,
  ) {}

  /** One with a user in it. */
  static async start(): Promise<Supabase> {
    const child = spawn(SUPABASE, [], { stdio: ["pipe", "pipe", "inherit"] });
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", () => reject(new Error("the Supabase project of the test did not start")));
    });
    const lines = createInterface({ input: child.stdout });
    const first = new Promise<string>((resolve) => lines.once("line", resolve));
    const about = JSON.parse(await Promise.race([first, failed])) as Record<"url" | "key" | "email" | "password", string>;
    return new Supabase(child, about.url, about.key, about.email, about.password);
  }

  /** Nobody can reach it any more. */
  async cut(): Promise<void> {
    for (const path of ["/auth", "/rest", "/realtime"]) {
      await this.post("/_double/faults", { path, kind: "request_lost" });
    }
    await this.post("/_double/realtime/refuse", { refuse: true });
    await this.post("/_double/realtime/cut", {});
  }

  /** It can be reached again. */
  async mend(): Promise<void> {
    await this.post("/_double/faults/clear", {});
  }

  private async post(path: string, body: object): Promise<void> {
    const headers = { apikey: this.key, "content-type": "application/json" };
    const answer = await fetch(`${this.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
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
