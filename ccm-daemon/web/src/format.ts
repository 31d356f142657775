/** How figures and times are written, everywhere the same. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  const of = (size: number) => Math.floor(ms / size);
  if (ms < SECOND) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < MINUTE) return `${of(SECOND)} s`;
  if (ms < HOUR) return pair(of(MINUTE), "min", Math.floor((ms % MINUTE) / SECOND), "s");
  if (ms < DAY) return pair(of(HOUR), "h", Math.floor((ms % HOUR) / MINUTE), "min");
  return pair(of(DAY), "d", Math.floor((ms % DAY) / HOUR), "h");
}

function pair(first: number, firstUnit: string, second: number, secondUnit: string): string {
  return second === 0 ? `${first} ${firstUnit}` : `${first} ${firstUnit} ${second} ${secondUnit}`;
}

/** `just now`, `4 min ago`, `in 2 h`: one unit, because more is noise at a glance. */
export function ago(then: number, now: number): string {
  const past = now - then;
  const size = Math.abs(past);
  if (size < 5 * SECOND) return "just now";
  const [unit, name] =
    size < MINUTE ? [SECOND, "s"] : size < HOUR ? [MINUTE, "min"] : size < DAY ? [HOUR, "h"] : [DAY, "d"];
  const text = `${Math.floor(size / (unit as number))} ${name}`;
  return past > 0 ? `${text} ago` : `in ${text}`;
}

const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** Date and time as a wall clock here has them. */
export function moment(time: string | number | Date): string {
  return FULL.format(new Date(time));
}

export function clockTime(time: string | number | Date): string {
  return CLOCK.format(new Date(time));
}

export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export function money(usd: number): string {
  if (usd === 0) return "$0";
  return usd < 0.01 ? "under $0.01" : `$${usd.toFixed(2)}`;
}

const COUNT = new Intl.NumberFormat("en-US");

export function count(number: number): string {
  return COUNT.format(number);
}

/** `1 task`, `2 tasks`. */
export function counted(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Tokens and the like at a glance: `950`, `12.3k`, `4.5M`. */
export function short(number: number): string {
  if (number < 1_000) return String(number);
  if (number < 999_950) return `${(number / 1_000).toFixed(1)}k`;
  return `${(number / 1_000_000).toFixed(1)}M`;
}
