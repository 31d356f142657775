import type { Agent } from "../state/machine.svelte";
import { bytes } from "../format";
import { type Line, type Plotted, SIZES } from "./series";

interface Sample {
  time: number;
  of: Map<string, number>;
}

/** An hour, at a sample every five seconds. */
const KEPT = 720;
const APART_MS = 4_000;
/** More lines than these nobody can tell apart. */
const SHOWN = 8;

const TOKENS = ["--accent", "--good", "--bad", "--busy", "--ansi-magenta", "--warn", "--ink", "--ink-soft"];
const DASHES = [undefined, [8, 3], [3, 3], [1, 3]];

/** What agents' memory was while somebody looked. The daemon keeps none of it. */
export class Memory {
  #samples: Sample[] = [];

  /** Whether there is something new to draw. */
  note(agents: Agent[], now: number): boolean {
    if (now - (this.#samples.at(-1)?.time ?? 0) < APART_MS) return false;
    const of = new Map<string, number>();
    for (const { name, memory_bytes } of agents) if (memory_bytes != null) of.set(name, memory_bytes);
    this.#samples.push({ time: now, of });
    if (this.#samples.length > KEPT) this.#samples.shift();
    return true;
  }

  plotted(): Plotted {
    const most = new Map<string, number>();
    for (const { of } of this.#samples) {
      for (const [name, size] of of) most.set(name, Math.max(size, most.get(name) ?? 0));
    }
    const names = [...most].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
    const lines = names.map(([name], at): Line => {
      const values = this.#samples.map(({ of }) => of.get(name) ?? null);
      return { name, token: TOKENS[at % TOKENS.length] ?? "--accent", dash: DASHES[at % DASHES.length], values };
    });
    const now = [...(this.#samples.at(-1)?.of.values() ?? [])];
    return {
      title: "Memory of agents",
      sum: `${bytes(now.reduce((sum, size) => sum + size, 0))} now`,
      times: this.#samples.map(({ time }) => time / 1_000),
      lines,
      write: bytes,
      marks: SIZES,
      bars: false,
    };
  }
}
