import "uplot/dist/uPlot.min.css";

import uPlot from "uplot";

import type { Plotted } from "./series";

const HEIGHT_PX = 200;
const DAY_S = 24 * 60 * 60;
/** A single sample is no time at all. */
const LEAST_S = 60;
const SHORT_S = 10 * 60;

const SECONDS = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A plot in its place, in colours that the page has now. */
export class Drawing {
  #plot: uPlot;
  #room: ResizeObserver;

  constructor(
    place: HTMLElement,
    plotted: Plotted,
    colour: (token: string) => string,
    seen: (at: number | null) => void,
  ) {
    const axis = {
      stroke: colour("--ink-soft"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: `12px ${getComputedStyle(place).fontFamily}`,
    };
    const width = () => Math.max(100, place.clientWidth);
    const mark = plotted.marks.write ?? plotted.write;
    const steps = uPlot.paths.stepped?.({ align: 1 });
    this.#plot = new uPlot(
      {
        width: width(),
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
          // By the data, because of a single time uPlot makes a range of its own, of a day and more.
          x: {
            range: ({ data: [times] }, first, last) => {
              const end = times.at(-1) ?? last;
              return [Math.min(times[0] ?? first, end - LEAST_S), end];
            },
          },
          y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
        },
        axes: [
          { ...axis, size: 32, space: 70, values: (plot, splits) => times(splits, plot) },
          { ...axis, size: 74, space: 40, incrs: plotted.marks.apart, values: (_, splits) => splits.map(mark) },
        ],
        series: [
          {},
          ...plotted.lines.map(({ name, token, dash }) => ({
            label: name,
            stroke: colour(token),
            width: 2,
            dash,
            paths: plotted.bars ? steps : undefined,
            points: { show: !plotted.bars, size: 5 },
            spanGaps: false,
          })),
        ],
        hooks: { setCursor: [(plot) => seen(plot.cursor.idx ?? null)] },
      },
      data(plotted),
      place,
    );
    this.#room = new ResizeObserver(() => {
      if (width() !== this.#plot.width) this.#plot.setSize({ width: width(), height: HEIGHT_PX });
    });
    this.#room.observe(place);
  }

  show(plotted: Plotted): void {
    this.#plot.setData(data(plotted));
  }

  dispose(): void {
    this.#room.disconnect();
    this.#plot.destroy();
  }
}

function data({ times, lines }: Plotted): uPlot.AlignedData {
  return [times, ...lines.map(({ values }) => values)];
}

/** A clock for a day, dates for more. */
function times(splits: number[], { scales }: uPlot): string[] {
  const { min, max } = scales["x"] ?? {};
  const length = (max ?? 0) - (min ?? 0);
  const format = length > 1.5 * DAY_S ? DATE : length > SHORT_S ? CLOCK : SECONDS;
  return splits.map((seconds) => format.format(seconds * 1_000));
}
