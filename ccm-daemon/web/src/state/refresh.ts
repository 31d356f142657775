/**
 * Reads something anew after it changed: at once when it was quiet, and under a flood of changes never more than a small
 * share of the time.
 */
export class Refresh {
  #wanted = false;
  #busy = false;
  #free = 0;

  constructor(
    private readonly read: () => Promise<unknown>,
    private readonly pauseMs = 250,
  ) {}

  want(): void {
    this.#wanted = true;
    if (!this.#busy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#wanted) {
      const wait = this.#free - performance.now();
      if (wait > 0) await new Promise((wake) => setTimeout(wake, wait));
      this.#wanted = false;
      const begun = performance.now();
      // Whoever reads tells of failures; without contact the next reload reads everything.
      await this.read().catch(() => undefined);
      const took = performance.now() - begun;
      this.#free = performance.now() + Math.max(this.pauseMs, 4 * took);
    }
    this.#busy = false;
  }
}
