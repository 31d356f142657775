// What can go wrong on purpose.

/**
 * Faults of requests: `{ path, method?, times?, kind, ... }`. `path` is how the path begins; `times` how many requests it is
 * for (all, if it is missing). Kinds:
 *
 * - `request_lost`: the line breaks, and nothing is done.
 * - `answer_lost`: it is done, and the line breaks.
 * - `answer_cut`: it is done, and the line breaks in the middle of the answer.
 * - `status` with `status`, and `body` and `headers` if given: nothing is done.
 * - `delay` with `ms`: it is done that much later.
 * - `slow_answer` with `ms`: it is done, and answered that much later.
 */
export class Faults {
  #faults = [];

  add(fault) {
    this.#faults.push({ times: Infinity, ...fault });
  }

  clear() {
    this.#faults = [];
  }

  /** The faults of a request. Each counts it. */
  take(method, path) {
    const found = this.#faults.filter(
      (fault) => path.startsWith(fault.path) && (!fault.method || fault.method === method) && fault.times > 0,
    );
    // Of several that end a request only the first is used up.
    const ending = found.find((fault) => fault.kind !== "delay" && fault.kind !== "slow_answer");
    const taken = found.filter((fault) => fault === ending || fault.kind === "delay" || fault.kind === "slow_answer");
    for (const fault of taken) fault.times -= 1;
    this.#faults = this.#faults.filter((fault) => fault.times > 0);
    return taken;
  }

  /** How many are left. */
  get left() {
    return this.#faults.length;
  }
}

/** The requests that came, for whoever waits for one. */
export class Seen {
  #seen = [];
  #waiting = new Set();

  note(method, path, status) {
    this.#seen.push({ method, path, status });
    for (const look of this.#waiting) look();
  }

  clear() {
    this.#seen = [];
  }

  #count(prefix) {
    return this.#seen.filter(({ path }) => path.startsWith(prefix)).length;
  }

  /** How many came whose path begins so, as soon as there are `atLeast`, or after `ms`. */
  async count(prefix, atLeast = 0, ms = 10_000) {
    if (this.#count(prefix) < atLeast) {
      await new Promise((resolve) => {
        const timer = setTimeout(end, ms);
        const look = () => this.#count(prefix) >= atLeast && end();
        const waiting = this.#waiting;
        waiting.add(look);
        function end() {
          clearTimeout(timer);
          waiting.delete(look);
          resolve();
        }
      });
    }
    return this.#count(prefix);
  }
}
