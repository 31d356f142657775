import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Screen } from "./pane.svelte";

/** A WebSocket whose other end is the test. */
class Socket {
  static made: Socket[] = [];
  sent: unknown[] = [];
  binaryType = "";
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number }) => void;

  constructor(
    readonly url: URL,
    readonly protocols: string[],
  ) {
    Socket.made.push(this);
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  close(): void {}

  screen(input = false): void {
    const cursor = { column: 0, row: 0, visible: true };
    const data = { type: "screen", columns: 80, rows: 24, cursor, alternate: false, input, content: "hi" };
    this.onmessage?.({ data: JSON.stringify(data) });
  }
}

vi.stubGlobal("WebSocket", Socket);
vi.stubGlobal("location", { origin: "http://box:1", href: "http://box:1/agents/a", pathname: "/", search: "" });
vi.stubGlobal("localStorage", { getItem: () => "secret" });
const { Pane } = await import("./pane.svelte");

const shown = { screens: [] as Screen[], output: [] as number[] };
let pane: InstanceType<typeof Pane>;

function last(): Socket {
  const socket = Socket.made.at(-1);
  if (!socket) throw new Error("nothing was connected");
  return socket;
}

beforeEach(() => {
  vi.useFakeTimers();
  Socket.made = [];
  shown.screens = [];
  shown.output = [];
  pane = new Pane("a/b", {
    screen: (screen) => shown.screens.push(screen),
    output: (bytes) => shown.output.push(...bytes),
  });
});

afterEach(() => {
  pane.close();
  vi.useRealTimers();
});

it("asks for the pane as this page, and to type only if that is wanted", () => {
  pane.open(false);
  expect(last().url.href).toBe("ws://box:1/api/v1/agents/a%2Fb/terminal");
  expect(last().protocols).toEqual(["ccm.terminal.v1", "ccm.csrf.secret"]);
  pane.open(true);
  expect(last().url.search).toBe("?input=true");
});

it("shows screens and output, and leaves what it does not know", () => {
  pane.open(false);
  last().screen();
  last().onmessage?.({ data: JSON.stringify({ type: "later" }) });
  last().onmessage?.({ data: new Uint8Array([1, 2]).buffer });
  expect(shown.screens).toHaveLength(1);
  expect(shown.output).toEqual([1, 2]);
  expect(pane.standing).toEqual({ is: "live", typing: false });
});

it("comes back after the daemon stopped, more and more slowly", () => {
  pane.open(true);
  last().screen(true);
  last().onclose?.({ code: 1001 });
  for (const count of [2, 3, 4]) {
    vi.advanceTimersByTime(5_000 * 1.25);
    expect(Socket.made).toHaveLength(count);
    last().onclose?.({ code: 1006 });
  }
  vi.advanceTimersByTime(500);
  expect(Socket.made).toHaveLength(4);
  pane.now();
  expect(last().url.search).toBe("?input=true");
  last().screen(true);
  expect(pane.standing).toEqual({ is: "live", typing: true });
});

it("stays away from an agent that sleeps", () => {
  pane.open(false);
  last().onclose?.({ code: 4003 });
  vi.advanceTimersByTime(60_000);
  expect(Socket.made).toHaveLength(1);
  expect(pane.standing).toMatchObject({ is: "ended", end: { then: "up" } });
});

it("hears nothing more of a connection that it left", () => {
  pane.open(false);
  const old = last();
  pane.open(true);
  old.screen();
  old.onclose?.({ code: 1001 });
  vi.advanceTimersByTime(60_000);
  expect(shown.screens).toEqual([]);
  expect(Socket.made).toHaveLength(2);
});

it("sends keys as bytes and pastes as messages", () => {
  pane.open(true);
  last().screen(true);
  pane.type("é");
  pane.paste("a\nb");
  const [typed, pasted] = last().sent;
  expect([...(typed as Uint8Array)]).toEqual([0xc3, 0xa9]);
  expect(JSON.parse(pasted as string)).toEqual({ type: "paste", text: "a\nb" });
});
