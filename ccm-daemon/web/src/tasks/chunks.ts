/** So many rows are read at a time. */
export const CHUNK = 100;
/** So many chunks are kept: what was scrolled past long ago is read again, and memory stays as it is. */
const KEPT = 30;

/** A long list of which only the parts are known that somebody looked at. */
export class Chunks<T> {
  #chunks = new Map<number, T[]>();

  get(at: number): T | undefined {
    return this.#chunks.get(Math.floor(at / CHUNK))?.[at % CHUNK];
  }

  has(chunk: number): boolean {
    return this.#chunks.has(chunk);
  }

  put(chunk: number, items: T[]): void {
    // The one that was put last goes last.
    this.#chunks.delete(chunk);
    this.#chunks.set(chunk, items);
    for (const oldest of this.#chunks.keys()) {
      if (this.#chunks.size <= KEPT) break;
      this.#chunks.delete(oldest);
    }
  }

  /** Everything but these is no longer as it was. */
  keepOnly(chunks: number[]): void {
    for (const chunk of this.#chunks.keys()) if (!chunks.includes(chunk)) this.#chunks.delete(chunk);
  }

  clear(): void {
    this.#chunks.clear();
  }
}

/** The chunks in which the rows from `from` to before `to` are. */
export function chunksOf(from: number, to: number): number[] {
  if (to <= from) return [];
  const first = Math.floor(from / CHUNK);
  const last = Math.floor((to - 1) / CHUNK);
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}
