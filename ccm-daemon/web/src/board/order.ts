import type { Schema } from "../api/client";

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

/** How many agents there are of each state, the ones that matter most first. */
export function tally(agents: Agent[]): [Schema["AgentStateName"], number][] {
  const counts = new Map<Schema["AgentStateName"], number>();
  for (const { state } of agents) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].sort(([one], [other]) => URGENCY[one] - URGENCY[other]);
}
