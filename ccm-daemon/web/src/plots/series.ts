import type { Schema } from "../api/client";
import { count, counted, duration, money, short } from "../format";

type Stats = Schema["Stats"];
type Bucket = Stats["buckets"][number];

/** A line of a plot. It has a colour and a dash, so that nobody needs the colour to tell lines apart. */
export interface Line {
  name: string;
  token: string;
  dash?: number[];
  values: (number | null)[];
}

export interface Plotted {
  title: string;
  /** The whole in a sentence: what a screen reader says of the picture. */
  sum: string;
  /** In seconds, as many as each line has values. */
  times: number[];
  lines: Line[];
  write: (value: number) => string;
  /** What the marks of the axis may be apart, and how they are written, if not as values are. */
  marks: { apart: number[]; write?: (value: number) => string };
  /** Whether values are numbers of things that happened in a part of the time, or what was the case then. */
  bars: boolean;
}

/** Whole numbers only, because half a task is none. */
const WHOLE = decades(0);
const MONEY = { apart: decades(-3), write: (usd: number) => (usd === 0 ? "$0" : `$${+usd.toPrecision(3)}`) };
const TIME = {
  apart: [1, 2, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30].map((m) => m * 60), ...decades(0).map((h) => h * 3_600)],
  write: (seconds: number) => (seconds === 0 ? "0" : duration(seconds * 1_000)),
};
/** Kibibytes and what is made of them. */
export const SIZES = { apart: Array.from({ length: 50 }, (_, power) => 2 ** power) };

function decades(from: number): number[] {
  return Array.from({ length: 15 }, (_, at) => [1, 2, 5].map((one) => one * 10 ** (from + at))).flat();
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export const PERIODS = {
  "1h": { title: "1 hour", part: MINUTE, parts: 60 },
  "24h": { title: "24 hours", part: 15 * MINUTE, parts: 96 },
  "7d": { title: "7 days", part: 2 * HOUR, parts: 84 },
  "30d": { title: "30 days", part: 8 * HOUR, parts: 90 },
} as const;

export type Period = keyof typeof PERIODS;

export function periodOf(text: string | null): Period {
  return text !== null && Object.hasOwn(PERIODS, text) ? (text as Period) : "24h";
}

/** The time up to now in whole parts: what is read a moment later has the same parts, so that nothing trembles. */
export function span(period: Period, now: number): { from: string; to: string; buckets: number } {
  const { part, parts } = PERIODS[period];
  const end = Math.ceil((now + 1) / part) * part;
  const at = (ms: number) => new Date(ms).toISOString();
  return { from: at(end - parts * part), to: at(end), buckets: parts };
}

export function isQuiet({ buckets }: Stats): boolean {
  return buckets.every(({ created, succeeded, failed, cancelled, started, runs }) =>
    [created, succeeded, failed, cancelled, started, runs].every((number) => number === 0),
  );
}

export function plotted(stats: Stats): Plotted[] {
  const { buckets } = stats;
  const times = buckets.map(({ start }) => Date.parse(start) / 1_000);
  const of = (pick: (bucket: Bucket) => number | null | undefined) => buckets.map((bucket) => pick(bucket) ?? null);
  const sum = (pick: (bucket: Bucket) => number) => buckets.reduce((total, bucket) => total + pick(bucket), 0);

  const started = sum(({ started }) => started);
  const waited = sum(({ started, wait_mean_s }) => started * (wait_mean_s ?? 0));
  const longest = Math.max(0, ...buckets.map(({ wait_max_s }) => wait_max_s ?? 0));
  const spent = sum(({ cost_usd }) => cost_usd);

  return [
    {
      title: "Tasks",
      sum: `${count(sum((b) => b.created))} created, ${count(sum((b) => b.succeeded))} succeeded, ${count(sum((b) => b.failed))} failed, ${count(sum((b) => b.cancelled))} cancelled`,
      times,
      bars: true,
      write: (value) => count(value),
      marks: { apart: WHOLE },
      lines: [
        { name: "Created", token: "--accent", values: of((b) => b.created) },
        { name: "Succeeded", token: "--good", dash: [8, 3], values: of((b) => b.succeeded) },
        { name: "Failed", token: "--bad", dash: [3, 3], values: of((b) => b.failed) },
        { name: "Cancelled", token: "--ink-soft", dash: [1, 3], values: of((b) => b.cancelled) },
      ],
    },
    {
      title: "Waiting time",
      sum:
        started === 0
          ? "nothing was started"
          : `${counted(started, "task")} waited ${duration((waited / started) * 1_000)} on average, ${duration(longest * 1_000)} at most`,
      times,
      bars: false,
      write: (value) => duration(value * 1_000),
      marks: TIME,
      lines: [
        { name: "On average", token: "--accent", values: of((b) => b.wait_mean_s) },
        { name: "At most", token: "--warn", dash: [3, 3], values: of((b) => b.wait_max_s) },
      ],
    },
    {
      title: "Cost",
      sum: `${money(spent)} for ${counted(
        sum(({ runs }) => runs),
        "run",
      )} that ended`,
      times,
      bars: true,
      write: money,
      marks: MONEY,
      lines: [{ name: "Cost", token: "--accent", values: of((b) => b.cost_usd) }],
    },
    {
      title: "Tokens",
      sum: `${short(sum((b) => b.input_tokens))} read, ${short(sum((b) => b.output_tokens))} written, ${short(sum((b) => b.cache_read_tokens))} read from the cache, ${short(sum((b) => b.cache_write_tokens))} written to it`,
      times,
      bars: true,
      write: short,
      marks: { apart: WHOLE },
      lines: [
        { name: "Read", token: "--accent", values: of((b) => b.input_tokens) },
        { name: "Written", token: "--good", dash: [8, 3], values: of((b) => b.output_tokens) },
        { name: "Read from the cache", token: "--busy", dash: [3, 3], values: of((b) => b.cache_read_tokens) },
        { name: "Written to the cache", token: "--warn", dash: [1, 3], values: of((b) => b.cache_write_tokens) },
      ],
    },
  ];
}
