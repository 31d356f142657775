import "@xterm/xterm/css/xterm.css";

import { type ITheme, Terminal } from "@xterm/xterm";

import { colours } from "../ui/colours";
import type { Screen } from "./pane.svelte";
import { declareStyles, numbered } from "./policy";

declareStyles();

const LARGEST_PX = 15;
/** What can still be read; a screen that would have to be smaller scrolls. */
const READABLE_PX = 11;
const SMALLEST_PX = 3;
const SCROLLBACK = 2_000;

const ANSI = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] as const;

export type Pressed = "escape" | "tab" | "interrupt" | "up" | "down";

export interface Hands {
  typed(text: string): void;
  pasted(text: string): void;
  leave(): void;
}

/** xterm.js as this page has it: sized and coloured by the page, and a trap for nobody's keys. */
export class Picture {
  #terminal: Terminal;
  #typing = false;
  #whole = false;
  #room = 0;
  #away: (() => void)[] = [];

  constructor(
    private readonly host: HTMLElement,
    name: string,
    hands: Hands,
  ) {
    this.#terminal = new Terminal({
      fontFamily: getComputedStyle(host).getPropertyValue("--mono"),
      fontSize: READABLE_PX,
      scrollback: SCROLLBACK,
      disableStdin: true,
      cursorInactiveStyle: "outline",
      // Colours are the program's own; whatever they are, people can read them.
      minimumContrastRatio: 4.5,
      logLevel: "off",
    });
    numbered(() => this.#terminal.open(host));
    this.paint();
    this.#terminal.onData((text) => this.#typing && hands.typed(text));
    this.#terminal.attachCustomKeyEventHandler((event) => this.#isForTerminal(event, hands));
    const { textarea } = this.#terminal;
    textarea?.setAttribute("aria-label", `Keys for ${name}`);
    if (textarea) textarea.tabIndex = -1;
    this.#listen(host, "paste", (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (this.#typing) hands.pasted((event as ClipboardEvent).clipboardData?.getData("text/plain") ?? "");
    });
    const room = new ResizeObserver(([entry]) => {
      this.#room = entry?.contentRect.width ?? 0;
      this.fit();
    });
    room.observe(host.parentElement ?? host);
    this.#away.push(() => room.disconnect());
  }

  screen({ columns, rows, content }: Screen): void {
    const resized = columns !== this.#terminal.cols || rows !== this.#terminal.rows;
    if (resized) this.#terminal.resize(columns, rows);
    this.#terminal.write(content);
    if (resized) this.fit();
  }

  output(bytes: Uint8Array): void {
    this.#terminal.write(bytes);
  }

  /** Moves through what was printed before, as far as it is kept; tells whether there was somewhere to go. */
  scroll(pages: number): boolean {
    const { active } = this.#terminal.buffer;
    const room = pages < 0 ? active.viewportY : active.baseY - active.viewportY;
    if (room <= 0) return false;
    this.#terminal.scrollPages(pages);
    return true;
  }

  /** Presses a key that the keyboard at hand may not have. */
  press(key: Pressed): void {
    const { applicationCursorKeysMode } = this.#terminal.modes;
    const arrow = (letter: string) => `\x1b${applicationCursorKeysMode ? "O" : "["}${letter}`;
    const sent = { escape: "\x1b", tab: "\t", interrupt: "\x03", up: arrow("A"), down: arrow("B") }[key];
    this.#terminal.input(sent);
    this.#terminal.focus();
  }

  set typing(on: boolean) {
    this.#typing = on;
    this.#terminal.options.disableStdin = !on;
    if (this.#terminal.textarea) this.#terminal.textarea.tabIndex = on ? 0 : -1;
    if (on) this.#terminal.focus();
    else this.#terminal.blur();
  }

  set spoken(on: boolean) {
    this.#terminal.options.screenReaderMode = on;
  }

  /** Whether the whole width is to be seen, however small. */
  set whole(on: boolean) {
    this.#whole = on;
    this.fit();
  }

  /** As large as the room allows: the pane has a size of its own, which no reader changes. */
  fit(): void {
    const room = this.#room;
    const screen = this.host.querySelector<HTMLElement>(".xterm-screen");
    const size = this.#terminal.options.fontSize ?? READABLE_PX;
    if (!screen || room === 0 || screen.offsetWidth === 0) return;
    const least = this.#whole ? SMALLEST_PX : READABLE_PX;
    const fitting = Math.floor(((size * room) / screen.offsetWidth) * 4) / 4;
    const next = Math.min(LARGEST_PX, Math.max(least, fitting));
    if (Math.abs(next - size) >= 0.25) this.#terminal.options.fontSize = next;
  }

  /** Takes the page's colours, as they are in its theme now. */
  paint(): void {
    const colour = colours(this.host);
    const theme: ITheme = {
      background: colour("--terminal"),
      foreground: colour("--ink"),
      cursor: colour("--accent"),
      cursorAccent: colour("--terminal"),
      selectionBackground: colour("--terminal-marked"),
    };
    for (const name of ANSI) {
      theme[name] = colour(`--ansi-${name}`);
      theme[`bright${name.charAt(0).toUpperCase()}${name.slice(1)}` as keyof ITheme & `bright${string}`] = colour(
        `--ansi-bright-${name}`,
      );
    }
    this.#terminal.options.theme = theme;
  }

  dispose(): void {
    for (const away of this.#away) away();
    this.#terminal.dispose();
  }

  #isForTerminal(event: KeyboardEvent, { leave }: Hands): boolean {
    // Whoever only looks moves on with Tab and has the page's own keys.
    if (!this.#typing) return false;
    const { ctrlKey, metaKey, shiftKey, key } = event;
    if (ctrlKey && key === ".") {
      event.preventDefault();
      if (event.type === "keydown") leave();
      return false;
    }
    const pastes = (ctrlKey && shiftKey && key.toLowerCase() === "v") || (shiftKey && key === "Insert");
    const copies = ctrlKey && key.toLowerCase() === "c" && this.#terminal.hasSelection();
    return !(pastes || copies || metaKey);
  }

  #listen(target: EventTarget, kind: string, then: (event: Event) => void): void {
    target.addEventListener(kind, then, { capture: true });
    this.#away.push(() => target.removeEventListener(kind, then, { capture: true }));
  }
}
