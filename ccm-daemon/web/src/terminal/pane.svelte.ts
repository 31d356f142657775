import type { Schema } from "../api/client";
import { socketProtocols } from "../api/session";
import { end, type End } from "./ends";
import { keys, texts } from "./pieces";

export type Screen = Schema["TerminalMessageScreen"];

/** What shows a pane. */
export interface Shown {
  screen(screen: Screen): void;
  output(bytes: Uint8Array): void;
}

/** How the page stands with a terminal. */
export type Standing = { is: "connecting" } | { is: "live"; typing: boolean } | { is: "ended"; end: End };

const PROTOCOL = "ccm.terminal.v1";
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5_000;

/** A connection to an agent's pane, which comes back by itself where that makes sense. */
export class Pane {
  standing = $state.raw<Standing>({ is: "connecting" });

  #socket: WebSocket | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #pause = FIRST_RETRY_MS;
  #typing = false;

  constructor(
    private readonly agent: string,
    private readonly shown: Shown,
  ) {}

  open(typing: boolean): void {
    this.close();
    this.#typing = typing;
    this.#pause = FIRST_RETRY_MS;
    this.#connect();
  }

  /** Tries at once what would be tried in a while. */
  now(): void {
    if (this.#retry !== undefined) this.#connect();
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close(1000);
  }

  type(text: string): void {
    for (const part of keys(text)) this.#socket?.send(part);
  }

  paste(text: string): void {
    for (const part of texts(text)) {
      const message: Schema["TerminalInput"] = { type: "paste", text: part };
      this.#socket?.send(JSON.stringify(message));
    }
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.standing.is !== "ended") this.standing = { is: "connecting" };
    const url = new URL(`/api/v1/agents/${encodeURIComponent(this.agent)}/terminal`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.#typing) url.searchParams.set("input", "true");
    const socket = new WebSocket(url, socketProtocols(PROTOCOL));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#socket === socket && this.#take(data as string | ArrayBuffer);
    socket.onclose = ({ code }) => this.#socket === socket && this.#ended(code);
    this.#socket = socket;
  }

  #take(data: string | ArrayBuffer): void {
    if (typeof data !== "string") return this.shown.output(new Uint8Array(data));
    const message = JSON.parse(data) as Schema["TerminalMessage"];
    // Other kinds may be added.
    if (message.type !== "screen") return;
    this.#pause = FIRST_RETRY_MS;
    this.standing = { is: "live", typing: message.input };
    this.shown.screen(message);
  }

  #ended(code: number): void {
    this.#socket = undefined;
    const how = end(code);
    this.standing = { is: "ended", end: how };
    if (how.then !== "retry") return;
    this.#retry = setTimeout(() => this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LAST_RETRY_MS);
  }
}
