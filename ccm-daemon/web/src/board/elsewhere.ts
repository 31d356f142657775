import type { Schema } from "../api/client";

type Machine = Schema["Machine"];
type Project = Schema["Project"];
type System = Schema["System"];

/** What an agent did when its machine was heard of last, for people. */
export function did(state: Schema["AgentStateName"]): string {
  if (state === "waiting") return "waited for a person";
  if (state === "unresponsive") return "did not answer";
  return `was ${state}`;
}

/** Another machine with its projects, as it was when it was heard of last. */
export interface There {
  machine: Machine;
  revoked: string | undefined;
  projects: Project[];
}

/** Projects of other machines by machine, in the order of the machines' names. */
export function grouped(projects: Project[], systems: System[]): There[] {
  const groups = new Map<string, There>();
  for (const project of projects) {
    const { machine } = project;
    if (!machine) continue;
    const revoked = systems.find(({ id }) => id === machine.id)?.revoked_at;
    const group = groups.get(machine.id) ?? { machine, revoked, projects: [] };
    group.projects.push(project);
    groups.set(machine.id, group);
  }
  const all = [...groups.values()];
  for (const group of all) group.projects.sort((one, other) => one.name.localeCompare(other.name));
  return all.sort((one, other) => one.machine.hostname.localeCompare(other.machine.hostname));
}
