// The stub of the model: it answers what the text of a task says (../stub/directives.md).

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { STUB } from "./programs.ts";

/** What Claude Code was told that a tool gave. */
export interface ToolResult {
  text: string;
  isError: boolean;
}

interface Block {
  type: string;
  tool_use_id?: string;
  text?: string;
  content?: string | Block[];
  is_error?: boolean;
}

interface Recorded {
  path: string;
  body: { messages?: { role: string; content: string | Block[] }[] };
}

export class Stub {
  private constructor(
    private readonly child: ChildProcess,
    private readonly record: string,
    readonly url: string,
  ) {}

  static async start(record: string): Promise<Stub> {
    const child = spawn(STUB, ["--record", record], { stdio: ["pipe", "pipe", "inherit"] });
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    const lines = createInterface({ input: child.stdout });
    // The first line says where it is; the others are read so that it can go on writing.
    const first = new Promise<string>((resolve) => lines.once("line", resolve));
    const url = (await Promise.race([first, failed])).replace(/^# /, "").trim();
    return new Stub(child, record, url);
  }

  /** Lets go on what waits at a gate, and whatever comes to it later. */
  open(gate: string): void {
    this.child.stdin?.write(`open ${gate}\n`);
  }

  /** Everything that tools gave so far, as the model was told. */
  toolResults(): ToolResult[] {
    const turns = this.requests().filter((request) => request.path === "/v1/messages");
    // A conversation is sent whole each time, so what was said counts once.
    const seen = new Map<string, ToolResult>();
    for (const turn of turns) {
      for (const message of turn.body.messages ?? []) {
        if (typeof message.content === "string") continue;
        for (const block of message.content) {
          if (block.type !== "tool_result") continue;
          const result = { text: textOf(block.content), isError: block.is_error === true };
          seen.set(block.tool_use_id ?? "", result);
        }
      }
    }
    return [...seen.values()];
  }

  /** Everything that people said in conversations so far. */
  userTexts(): string[] {
    const texts = new Set<string>();
    for (const request of this.requests()) {
      for (const message of request.body.messages ?? []) {
        if (message.role !== "user") continue;
        if (typeof message.content === "string") texts.add(message.content);
        else message.content.forEach((block) => block.text !== undefined && texts.add(block.text));
      }
    }
    return [...texts];
  }

  private requests(): Recorded[] {
    const lines = readFileSync(this.record, "utf8").split("\n");
    // The last one may be half written.
    lines.pop();
    return lines.map((line) => JSON.parse(line) as Recorded);
  }

  async end(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}

function textOf(content: string | Block[] | undefined): string {
  if (typeof content === "string") return content;
  return (content ?? []).map((block) => block.text ?? "").join("");
}
