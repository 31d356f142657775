// A machine of a test's own: home, config, tmux server, model, daemon, projects. All of it is in one temporary folder
// and ends with it.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "../generated/ccm.d.ts";
import { endProcessesOf } from "./processes.ts";
import { CLAUDE, PROGRAMS } from "./programs.ts";
import { Stub } from "./stub.ts";
import type { Supabase } from "./supabase.ts";

// Claude Code takes any key that begins like one, if its home approves of the last 20 characters.
const KEY = "sk-ant-dummy-00000000000000000000";

/** How long anything may take before a test gives up. */
export const PATIENCE = 60_000;

export type Api = Client<paths>;
export type NewTask = Omit<components["schemas"]["CreateTask"], "project_id">;

/** How many tasks the API takes at once. */
const BULK = 1000;

/** Looks again and again until there is something. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await pause(20);
  }
}

interface DaemonInfo {
  pid: number;
  address: string;
}

export interface MachineOptions {
  /** Where agents live. Only those in tmux have a terminal. */
  runtime?: "tmux" | "process";
  hostname?: string;
  /** Whether a model is there for its agents. */
  model?: boolean;
}

export class Machine {
  private daemon: ChildProcess | undefined;
  private info: DaemonInfo | undefined;

  private constructor(
    readonly folder: string,
    private readonly model: Stub | undefined,
    private readonly environment: Record<string, string>,
  ) {}

  /** A machine that is set up and whose daemon runs. */
  static async start(options: MachineOptions = {}): Promise<Machine> {
    const folder = await realpath(await mkdtemp(path.join(tmpdir(), "ccm-web-")));
    for (const name of ["home", "tmp", "tmux", "work"]) await mkdir(path.join(folder, name));
    const stub = options.model === false ? undefined : await Stub.start(path.join(folder, "requests"));
    const home = path.join(folder, "home");
    const approved = { approved: [KEY.slice(-20)], rejected: [] };
    const state = { hasCompletedOnboarding: true, customApiKeyResponses: approved };
    await writeFile(path.join(home, ".claude.json"), JSON.stringify(state));
    // Nothing of whoever runs this.
    const machine = new Machine(folder, stub, {
      PATH: [PROGRAMS, CLAUDE, process.env["PATH"]].join(path.delimiter),
      HOME: home,
      CCM_HOME: path.join(folder, "ccm"),
      TMPDIR: path.join(folder, "tmp"),
      TMUX_TMPDIR: path.join(folder, "tmux"),
      CLAUDE_CODE_TMPDIR: path.join(folder, "tmp"),
      LANG: "C.UTF-8",
      TERM: "xterm-256color",
      ANTHROPIC_BASE_URL: stub?.url ?? "",
      ANTHROPIC_API_KEY: KEY,
      CLAUDE_CODE_MAX_RETRIES: "1",
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
      DISABLE_AUTOUPDATER: "1",
      DISABLE_TELEMETRY: "1",
      DISABLE_ERROR_REPORTING: "1",
    });
    try {
      await machine.setUp(options);
      await machine.startDaemon();
      // A daemon that is started again has to come back where it was.
      await machine.set("web_ui.port", new URL(machine.url).port);
    } catch (error) {
      await machine.end();
      throw error;
    }
    return machine;
  }

  private async setUp(options: MachineOptions): Promise<void> {
    const hostname = ["--hostname", options.hostname ?? "testbox"];
    await this.run("ccm-orchestrator", ["init", "--yes", "--no-service", "--no-start", ...hostname]);
    for (const [key, value] of [
      ["web_ui.port", "0"],
      ["agents.runtime", options.runtime ?? "process"],
      ["agents.tmux_socket", "ccm-test"],
      ["resources.max_queue_size", "1000000"],
    ] as const) {
      await this.set(key, value);
    }
  }

  /** A path below the machine's folder. */
  path(...below: string[]): string {
    return path.join(this.folder, ...below);
  }

  /** What answers its agents. */
  get stub(): Stub {
    if (this.model === undefined) throw new Error("this machine has no model");
    return this.model;
  }

  /** Where its page is, by the name that browsers are signed in under. */
  get url(): string {
    return `http://localhost:${new URL(this.apiUrl).port}`;
  }

  private get apiUrl(): string {
    if (this.info === undefined) throw new Error("no daemon runs");
    return `http://${this.info.address}`;
  }

  /** Sets a key of the machine's config. */
  async set(key: string, value: string): Promise<void> {
    await this.ccm(["config", "set", key, value]);
  }

  /** Runs `ccm` to its good end and returns what it printed. */
  ccm(args: string[], cwd = this.path("work")): Promise<string> {
    return this.run("ccm", args, cwd);
  }

  /** Shares its queue with the other machines of a Supabase project. */
  async connect(place: Supabase): Promise<void> {
    const given = ["--supabase-url", place.url, "--supabase-key", place.key, "--email", place.email];
    const args = ["supabase", "connect", ...given, "--password-stdin"];
    await this.run("ccm-orchestrator", args, this.path("work"), `${place.password}\n`);
  }

  /** Runs a command of tmux at the server of the agents. */
  async tmux(args: string[]): Promise<string> {
    const command = ["-N", "-L", "ccm-test", ...args];
    const { stdout } = await promisify(execFile)("tmux", command, { env: this.environment });
    return stdout;
  }

  /** Writes a file into the machine's folder. */
  async write(name: string, content: string): Promise<void> {
    await writeFile(this.path(name), content);
  }

  private async run(program: string, args: string[], cwd = this.path("work"), input = ""): Promise<string> {
    const ran = promisify(execFile)(path.join(PROGRAMS, program), args, {
      cwd,
      env: this.environment,
      timeout: PATIENCE,
      maxBuffer: 64 * 1024 * 1024,
    });
    // One that reads nothing may be gone by now.
    ran.child.stdin?.on("error", () => {});
    // The pipe would keep a program waiting that reads what it is given.
    ran.child.stdin?.end(input);
    return (await ran).stdout.trim();
  }

  /** Starts the daemon and waits until it is ready. */
  async startDaemon(): Promise<void> {
    const child = spawn(path.join(PROGRAMS, "ccm-daemon"), [], {
      cwd: this.path("work"),
      env: this.environment,
      stdio: "ignore",
    });
    this.daemon = child;
    this.info = await until("the daemon is ready", async () => {
      if (child.exitCode !== null) throw new Error(`the daemon ended:\n${await this.log()}`);
      const text = await readFile(this.path("ccm/run/daemon.json"), "utf8").catch(() => "{}");
      const { pid, address } = JSON.parse(text) as Partial<DaemonInfo>;
      // The file may be of the daemon before.
      if (pid === undefined || pid !== child.pid || address === undefined) return undefined;
      const headers = { Authorization: await this.authorization() };
      const answer = await fetch(`http://${address}/ready`, { headers }).catch(() => undefined);
      return answer?.ok === true && { pid, address };
    });
  }

  /** Ends the daemon as service managers do (or as nobody should); agents go on. */
  async stopDaemon(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.daemon;
    this.daemon = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async restartDaemon(): Promise<void> {
    await this.stopDaemon();
    await this.startDaemon();
  }

  private async log(): Promise<string> {
    return readFile(this.path("ccm/logs/daemon.log"), "utf8").catch(() => "");
  }

  private async authorization(): Promise<string> {
    return `Bearer ${(await readFile(this.path("ccm/token"), "utf8")).trim()}`;
  }

  /** A client that may do everything. */
  async api(): Promise<Api> {
    const headers = { Authorization: await this.authorization() };
    return createClient<paths>({ baseUrl: this.apiUrl, headers });
  }

  /** An address that signs one browser in. */
  signInAddress(): Promise<string> {
    return this.ccm(["ui", "--no-open"]);
  }

  /** A project whose agent is Claude Code, which asks before it does anything. */
  async project(name: string, settings: Record<string, string> = {}): Promise<Project> {
    const folder = this.path("work", name);
    await mkdir(folder, { recursive: true });
    const id = await this.ccm(["init"], folder);
    const project = new Project(this, name, id, folder);
    for (const [key, value] of Object.entries({ "agent.permission_mode": "default", ...settings })) {
      await project.set(key, value);
    }
    return project;
  }

  /** A project whose agent runs `command` with each task's text on its standard input. */
  async commandProject(name: string, command: string[]): Promise<Project> {
    return this.project(name, {
      // In this order, because a driver without its program is refused.
      "agent.command": JSON.stringify(command),
      "agent.driver": "command",
    });
  }

  async end(): Promise<void> {
    // The daemon first, or it would mend what is being taken down.
    await this.stopDaemon("SIGKILL");
    await endProcessesOf(this.path("ccm"));
    await this.model?.end();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}

/** A project of a machine. */
export class Project {
  constructor(
    private readonly machine: Machine,
    readonly name: string,
    readonly id: string,
    readonly folder: string,
  ) {}

  /** Sets a key of the project's config, and trusts it. */
  async set(key: string, value: string): Promise<void> {
    await this.machine.ccm(["config", "set", "--project", key, value], this.folder);
  }

  /** Puts a task in the queue and returns its id. */
  async task(text: string, more: Omit<NewTask, "text"> = {}): Promise<string> {
    const api = await this.machine.api();
    const body = { project_id: this.id, text, ...more };
    const { data, error } = await api.POST("/api/v1/tasks", { body });
    if (data === undefined) throw new Error(JSON.stringify(error));
    return data.id;
  }

  /** Puts many tasks in the queue, the last one first in lists. */
  async tasks(count: number, make: (number: number) => NewTask): Promise<void> {
    const api = await this.machine.api();
    for (let done = 0; done < count; done += BULK) {
      const length = Math.min(BULK, count - done);
      const tasks = Array.from({ length }, (_, at) => ({ project_id: this.id, ...make(done + at) }));
      const { error } = await api.POST("/api/v1/tasks/bulk", { body: { tasks } });
      if (error !== undefined) throw new Error(JSON.stringify(error));
    }
  }

  /** Keeps its queue from being worked off. */
  async pause(): Promise<void> {
    await this.machine.ccm(["project", "pause"], this.folder);
  }

  /** Writes a file into the project's folder. */
  async write(name: string, content: string, mode = 0o644): Promise<void> {
    const file = path.join(this.folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
    await chmod(file, mode);
  }

  /** What is in a file of the project's folder; nothing if it is not there. */
  async read(name: string): Promise<string | undefined> {
    return readFile(path.join(this.folder, name), "utf8").catch(() => undefined);
  }
}
