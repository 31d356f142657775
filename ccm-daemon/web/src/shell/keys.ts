/** What single keys do. A view that has more of its own names them in `OF_VIEWS`, so that the help shows all. */
export interface Shortcut {
  keys: string;
  what: string;
}

export const EVERYWHERE: Shortcut[] = [
  { keys: "q", what: "to the next question" },
  { keys: "a / d", what: "allow / deny the question (or the task of another machine) that has the focus" },
  { keys: "n", what: "new task" },
  { keys: "g b", what: "board" },
  { keys: "g q", what: "questions" },
  { keys: "g t", what: "tasks" },
  { keys: "g p", what: "plots" },
  { keys: "g e", what: "events" },
  { keys: "g y", what: "sync" },
  { keys: "g s", what: "settings" },
  { keys: "/", what: "search, where there is a search" },
  { keys: "j / k", what: "down / up in the list of tasks; Enter opens, x chooses" },
  { keys: "?", what: "this help" },
];

export const GO: Record<string, string> = {
  b: "/",
  q: "/asks",
  t: "/tasks",
  c: "/changes",
  p: "/plots",
  e: "/events",
  y: "/sync",
  s: "/settings",
};

/** Whether a key that was pressed there is text, or belongs to something that takes keys itself. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.closest("input, textarea, select, [data-takes-keys], dialog") !== null;
}
