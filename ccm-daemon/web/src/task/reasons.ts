import type { Schema } from "../api/client";

interface Told {
  /** What happened, as one says it. */
  what: string;
  /** What to do about it. */
  then: string;
}

const AGAIN = "Retry it when that is mended.";

/** What the reasons of the daemon mean for a person. */
const REASONS: Record<Schema["Reason"], Told> = {
  exit_code: { what: "The agent's program ended with an error", then: `Its log says more. ${AGAIN}` },
  agent_error: { what: "The agent said that it failed", then: "The transcript says where. Retry it, or tell it more." },
  no_result: { what: "The agent's program ended without a result", then: "Look at its log, and retry it." },
  lost: { what: "The run was cut", then: "Its agent was stopped or the machine restarted. Retry it." },
  lost_output: { what: "A part of the output is missing", then: "Look at what was done before you retry it." },
  timeout: { what: "It took longer than it may", then: "Give it a longer timeout or a smaller task." },
  memory_limit: {
    what: "It used more memory than it may",
    then: "Raise the limit in the settings, or make the task smaller.",
  },
  output_limit: {
    what: "It wrote more output than it may",
    then: "Raise the limit in the settings, or have it write less.",
  },
  not_started: { what: "The agent's program could not be started", then: "ccm doctor in a terminal finds out why." },
  unstoppable: {
    what: "Something of the run can't be ended",
    then: "End the processes that are named, then retry it.",
  },
  budget: {
    what: "It cost more than it may",
    then: "Raise the budget in the project's settings, or make the task smaller.",
  },
  rate_limited: { what: "The model's provider asked to wait", then: "It goes on by itself when the time is over." },
  config_untrusted: {
    what: "The project's settings changed and nobody trusted them yet",
    then: "Look at them on the project's page and trust them there.",
  },
  project_missing: {
    what: "The project's folder is not where it was",
    then: "Bring it back, or register it at its new place.",
  },
  agent_stopped: { what: "The project's agent is stopped", then: "Start it on the project's page." },
  agent_taken: { what: "A person has taken the agent over", then: "Hand it back, and it goes on with its tasks." },
  project_removed: { what: "The project was removed", then: "Register it again to do this." },
  interrupted: {
    what: "A person interrupted the agent",
    then: "Tell it below what it is to do next, or cancel the task.",
  },
  remote_unapproved: {
    what: "It came from another machine and waits for somebody's leave",
    then: "Look at its text, then let it run or refuse it.",
  },
  remote_denied: {
    what: "The project takes no tasks from other machines",
    then: "Its machine has that as remote_tasks in the project's settings.",
  },
  lease_lost: {
    what: "This machine's lease of the task ended",
    then: "Another machine that fits may run it. It goes on by itself.",
  },
  cancelled: { what: "Somebody called it off", then: "" },
};

export function told(reason: Schema["Reason"]): Told {
  return REASONS[reason] ?? { what: String(reason).replaceAll("_", " "), then: "" };
}
