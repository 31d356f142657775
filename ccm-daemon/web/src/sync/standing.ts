import type { Schema } from "../api/client";
import { counted } from "../format";
import type { Look } from "../ui/states";

type SyncState = Schema["SyncState"];

/** How sharing is, for people: a sign, and what it means for them. */
export interface Standing {
  look: Look;
  /** In a sentence or two; what the daemon has to say beside it follows. */
  means: string;
  /** Whether it goes on by itself, is to be waited for, or somebody has to do something. */
  kind: "off" | "good" | "waits" | "stopped";
}

function stopped(words: string, means: string): Standing {
  return { look: { tone: "bad", sign: "!", words }, means, kind: "stopped" };
}

const KEPT = "What is done here is kept and sent later.";

export function standing({ condition, pending, set_aside, detail, to_do }: SyncState): Standing {
  switch (condition) {
    case "off":
      // One that somebody switched off keeps what it has to send, and says how it goes on.
      return {
        look: { tone: "rest", sign: "■", words: to_do == null ? "off" : "switched off" },
        means: to_do == null ? "This machine shares nothing. Everything is on it alone." : sentence(detail),
        kind: "off",
      };
    case "starting":
      return {
        look: { tone: "busy", sign: "▷", words: "starting" },
        means: "The service was not spoken to yet.",
        kind: "waits",
      };
    case "ready":
      if (pending > 0) {
        return {
          look: { tone: "busy", sign: "▶", words: "sending" },
          means: `${counted(pending, "change is", "changes are")} on the way to the service.`,
          kind: "good",
        };
      }
      return {
        look: { tone: "good", sign: "✓", words: "up to date" },
        means: set_aside > 0 ? "All that can be exchanged is." : "Everything is exchanged.",
        kind: "good",
      };
    case "offline":
      return {
        look: { tone: "warn", sign: "‖", words: "waiting" },
        means: `The service can't be reached now. ${KEPT}`,
        kind: "waits",
      };
    case "stuck":
      return stopped("stuck", `It was tried often, in vain. It is tried again, but rarely. ${KEPT}`);
    case "signed_out":
      return stopped("signed out", `Somebody has to sign in again. ${KEPT}`);
    case "revoked":
      return stopped("shut out", "This machine was shut out. Nothing of it is taken any more; what is on it stays.");
    case "outdated":
      return stopped("too old", `This program is too old for the service. ${KEPT}`);
    case "twin":
      return stopped("doubled", `Another machine writes under this one's identity, so nothing is exchanged. ${KEPT}`);
    default:
      return {
        look: { tone: "rest", sign: "·", words: String(condition).replaceAll("_", " ") },
        means: "",
        kind: "waits",
      };
  }
}

/** What to type in a terminal against it, where that is one command. */
export function remedy({ condition }: SyncState): string | undefined {
  switch (condition) {
    case "signed_out":
    case "revoked":
      return "ccm supabase connect";
    case "stuck":
      return "ccm sync status";
    default:
      return undefined;
  }
}

/** What the daemon says, as a sentence of its own. A name that it begins with stays as it is written. */
export function sentence(text: string): string {
  const isWord = /^[a-z]+(?![\w.])/.test(text);
  const begun = isWord ? `${text.charAt(0).toUpperCase()}${text.slice(1)}` : text;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** What an exchange came to. */
export function roundWords({ sent, received, complete, state }: Schema["SyncRound"]): string {
  const parts = [
    sent === 0 ? "nothing to send" : `${counted(sent, "change")} sent`,
    received === 0 ? "nothing new" : `${counted(received, "change")} of other machines received`,
  ];
  const left = state.pending > 0 ? ` ${counted(state.pending, "change waits", "changes wait")} still.` : "";
  const goesOn = complete ? "" : " There is more, and it goes on by itself.";
  return `${sentence(parts.join(", "))}${left}${goesOn}`;
}

/** What an object is that machines share, by the name of its kind. */
const KINDS: Record<string, string> = {
  system: "This machine",
  project: "Project",
  task: "Task",
  wish: "Wish",
  report: "State of the task",
  run: "Attempt",
  ask: "Question",
  transcript: "Part of a transcript",
  conflict: "Decision of a conflict",
};

export function kindWords(kind: string): string {
  return KINDS[kind] ?? kind.replaceAll("_", " ");
}
