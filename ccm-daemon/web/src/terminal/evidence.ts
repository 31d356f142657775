/** Who said how an agent is doing, for people. */
const SOURCES: Record<string, string> = {
  engine: "decided by the daemon",
  host: "said by the agent's host",
  gate: "seen at the run's start",
  exit_record: "read from how its last run ended",
  lock: "seen by the lock of its host",
  tmux: "seen in tmux",
  stream: "said by the coding program itself",
};

export function source(name: string): string {
  return SOURCES[name] ?? name;
}
