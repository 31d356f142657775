import type { Schema } from "../api/client";

type Device = Schema["Device"];
type Project = Schema["Project"];
type System = Schema["System"];

/** A machine, from what it told itself and what the service knows of it. */
export interface Known {
  id: string;
  hostname: string;
  this: boolean;
  type: string | undefined;
  tags: string[];
  version: string | undefined;
  /** When it was heard of last: by the service, or here. */
  seen: string | undefined;
  /** When it was shut out. */
  revoked: string | undefined;
  /** Whether the service knows it, so that it can be shut out. */
  registered: boolean;
  projects: Project[];
}

/** Every machine that either knows: this one first, those that were shut out last. */
export function together(systems: System[], devices: Device[], projects: Project[]): Known[] {
  const ids = [...new Set([...systems.map(({ id }) => id), ...devices.map(({ id }) => id)])];
  const known = ids.map((id): Known => {
    const system = systems.find((one) => one.id === id);
    const device = devices.find((one) => one.id === id);
    const isThis = system?.this ?? device?.this ?? false;
    return {
      id,
      hostname: system?.hostname ?? device?.hostname ?? id,
      this: isThis,
      type: system?.type,
      tags: system?.tags ?? [],
      version: system?.version,
      seen: latest(system?.last_seen, device?.last_seen),
      revoked: device?.revoked_at ?? system?.revoked_at,
      registered: device !== undefined,
      projects: projects.filter(({ system_id }) => system_id === id),
    };
  });
  const rank = (one: Known) => (one.this ? 0 : one.revoked === undefined ? 1 : 2);
  return known.sort((one, two) => rank(one) - rank(two) || one.hostname.localeCompare(two.hostname));
}

/** The later one of two times, as far as they are known. */
export function latest(one: string | null | undefined, two: string | null | undefined): string | undefined {
  if (one == null || two == null) return one ?? two ?? undefined;
  return Date.parse(one) >= Date.parse(two) ? one : two;
}
