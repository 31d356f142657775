/** Which rows of a long list are in the page: those that are seen, and some more so that scrolling finds them there. */
export function visible(
  top: number,
  height: number,
  row: number,
  count: number,
  more = 10,
): { from: number; to: number } {
  const from = Math.max(0, Math.min(count, Math.floor(top / row)) - more);
  return { from, to: Math.min(count, Math.ceil((top + height) / row) + more) };
}

/** Where to scroll so that a row is seen whole: nowhere if it is. `cover` is how much of the top something else covers. */
export function revealed(at: number, row: number, top: number, height: number, cover = 0): number {
  const begin = at * row;
  if (begin < top) return begin;
  const end = begin + row + cover;
  return end > top + height ? end - height : top;
}
