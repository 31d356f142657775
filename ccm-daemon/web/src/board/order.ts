import type { Schema } from "../api/client";
import { doing } from "../ui/states";

type Agent = Schema["Agent"];
type Project = Schema["Project"];

/** A project with its agents. */
export interface Pair {
  project: Project;
  agents: Agent[];
}

/** Who needs a person is first, then who has trouble, then who works. */
const URGENCY: Record<Schema["AgentStateName"], number> = {
  waiting: 0,
  unresponsive: 1,
  failed: 1,
  parked: 2,
  working: 3,
  starting: 3,
  stopping: 3,
  idle: 4,
  stopped: 5,
};

function urgency({ project, agents }: Pair): number {
  const least = Math.min(5, ...agents.map((agent) => URGENCY[agent.state] ?? 4));
  return project.detail ? Math.min(least, 2) : least;
}

export function ordered(projects: Project[], agents: Agent[]): Pair[] {
  const pairs = projects.map((project) => ({
    project,
    agents: agents.filter((agent) => agent.project_id === project.id),
  }));
  return pairs.sort(
    (one, other) => urgency(one) - urgency(other) || one.project.name.localeCompare(other.project.name),
  );
}

/** What several of them do, where that is said in another way. */
const MANY: Record<string, string> = { "needs you": "need you", "does not answer": "do not answer" };

/** How many agents do what, the ones that matter most first: `2 need you, 1 idle`. */
export function tally(agents: Agent[]): string {
  const sorted = [...agents].sort((one, other) => URGENCY[one.state] - URGENCY[other.state]);
  const counts = new Map<string, number>();
  for (const agent of sorted) counts.set(doing(agent), (counts.get(doing(agent)) ?? 0) + 1);
  return [...counts].map(([words, number]) => `${number} ${number === 1 ? words : (MANY[words] ?? words)}`).join(", ");
}
