import type { Schema } from "../api/client";

type Task = Pick<Schema["Task"], "sharing" | "state">;
type Machine = Schema["Machine"];

/** The other machine that runs a task or is to, if it is one. */
export function otherMachine({ sharing }: Pick<Task, "sharing">): Machine | undefined {
  const machine = sharing?.runs_on;
  return machine && !machine.this ? machine : undefined;
}

/** Whether this machine does not run it: another one does, or none has taken it yet. */
export function isElsewhere({ sharing }: Pick<Task, "sharing">): boolean {
  return sharing !== undefined && sharing.runs_on?.this !== true;
}

/** Whether its state is one that may have changed since its machine was heard of. */
export function mayBeOld(task: Task): boolean {
  return isElsewhere(task) && (task.state === "queued" || task.state === "running");
}

/** Where a task is, in a word or two; nothing for what is on this machine. */
export function place(task: Pick<Task, "sharing">): string {
  if (!isElsewhere(task)) return "";
  return otherMachine(task)?.hostname ?? "any machine";
}

/** How it stands with a task between the machines, in a sentence. */
export function between({ sharing, state }: Task): string {
  if (sharing === undefined) return "";
  const host = sharing.runs_on?.hostname;
  const unsent = sharing.sent ? "" : " What was done here is not sent yet.";
  if (host === undefined) return `No machine has taken it yet; any may that has its repository and fits.${unsent}`;
  if (!sharing.heard) return `It waits for ${host} to hear of it.${unsent}`;
  return `${SAID[state](host)}${unsent}`;
}

const SAID: Record<Schema["TaskStateName"], (host: string) => string> = {
  queued: (host) => `${host} has it in its queue, by what it said last.`,
  running: (host) => `${host} runs it, and this is what it said last.`,
  succeeded: (host) => `It was done on ${host}.`,
  failed: (host) => `It was tried on ${host}.`,
  cancelled: (host) => `It was called off on ${host}.`,
};

/** What was asked of its machine and is not seen to be done yet. */
export function wishWords(wish: Schema["WishName"], host: string): string {
  switch (wish) {
    case "cancel":
      return `${host} is asked to call it off, and has not said yet that it did.`;
    case "retry":
      return `${host} is asked to do it again, and has not said yet that it does.`;
    case "answer":
      return `An answer was sent to ${host}, which has not said to have it yet.`;
  }
}
