/** What the page says in passing. It goes by itself; what has to stay is said where it belongs. */
export interface Note {
  id: number;
  text: string;
  bad: boolean;
}

const STAYS_MS = 6_000;
let last = 0;

export const notes = $state<Note[]>([]);

export function say(text: string, bad = false): void {
  const id = ++last;
  notes.push({ id, text, bad });
  setTimeout(() => drop(id), bad ? 2 * STAYS_MS : STAYS_MS);
}

export function drop(id: number): void {
  const at = notes.findIndex((note) => note.id === id);
  if (at !== -1) notes.splice(at, 1);
}
