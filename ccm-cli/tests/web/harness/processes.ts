// Ending what a machine left running, known by the home in its environment and never by a name.

import { readdir, readFile } from "node:fs/promises";
import { platform } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

/** Ends every process that was started for the machine with this home. */
export async function endProcessesOf(home: string): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    const left = platform() === "linux" ? await processesOf(home) : await hostsOf(home);
    if (left.length === 0) return;
    left.forEach(end);
    // One that is ending is still there for a moment.
    await pause(10);
  }
  throw new Error(`processes of ${home} can't be ended`);
}

async function processesOf(home: string): Promise<number[]> {
  const wanted = `CCM_HOME=${home}`;
  const found = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const environment = await readFile(`/proc/${name}/environ`, "utf8").catch(() => "");
    if (environment.split("\0").includes(wanted)) found.push(pid);
  }
  return found;
}

/** The hosts of agents; each ends with what belongs to it. */
async function hostsOf(home: string): Promise<number[]> {
  const agents = await readdir(path.join(home, "agents")).catch(() => []);
  const found = [];
  for (const agent of agents) {
    const text = await readFile(path.join(home, "agents", agent, "host.json"), "utf8").catch(() => "{}");
    const host = JSON.parse(text) as { process?: { pid?: number } };
    const pid = host.process?.pid;
    if (pid !== undefined && lives(pid)) found.push(pid);
  }
  return found;
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
