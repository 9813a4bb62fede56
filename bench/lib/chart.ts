/**
 * Draws ratios on a logarithmic scale, readable on light and dark. A dot is the median, a line goes
 * from the lowest round to the highest, and a bar is the goal.
 *
 * @module
 */
// @ts-types="npm:@types/d3-scale@4.0.9"
import { scaleLog } from "d3-scale";

/** One row of the chart. */
export interface Ratio {
  /** The contestants. */
  readonly name: string;
  /** The median over the rounds. */
  readonly median: number;
  /** The lowest round. */
  readonly min: number;
  /** The highest round. */
  readonly max: number;
  /** The goal: the least or the most that the median may be. */
  readonly goal: { readonly atLeast: number } | { readonly atMost: number };
}

const WIDTH = 900;
const LABELS = 430;
const NUMBERS = 150;
const ROW = 26;
const TOP = 64;
const BOTTOM = 44;

const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.small { font-size: 11px; fill: #59636e; }
.grid { stroke: #d1d9e0; }
.one { stroke: #59636e; }
.goal { stroke: #9a6700; stroke-width: 2; }
.met { fill: #1a7f37; stroke: #1a7f37; }
.missed { fill: #bc4c00; stroke: #bc4c00; }
.number { font-variant-numeric: tabular-nums; text-anchor: end; }
.middle { text-anchor: middle; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .small { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .one { stroke: #9198a1; }
  .goal { stroke: #d29922; }
  .met { fill: #3fb950; stroke: #3fb950; }
  .missed { fill: #f0883e; stroke: #f0883e; }
}`;

/** Whether a ratio's median meets its goal. */
export function isMet({ median, goal }: Ratio): boolean {
  return "atLeast" in goal ? median >= goal.atLeast : median <= goal.atMost;
}

/** The goal as text. */
export function goalText({ goal }: Ratio): string {
  return "atLeast" in goal ? `\u2265 ${goal.atLeast}` : `\u2264 ${goal.atMost}`;
}

/**
 * Returns the chart as an SVG document.
 *
 * @param notes Lines below the chart.
 */
export function drawChart(
  title: string,
  ratios: readonly Ratio[],
  notes: readonly string[],
): string {
  const ends = ratios.flatMap(({ min, max, goal }) => [min, max, ...Object.values(goal)]);
  const scale = scaleLog()
    .domain([Math.min(0.5, ...ends) * 0.9, Math.max(2, ...ends) * 1.1])
    .range([LABELS, WIDTH - NUMBERS]);
  const bottom = TOP + ratios.length * ROW;
  const height = bottom + BOTTOM + notes.length * 16;
  const ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].filter((tick) =>
    tick >= scale.domain()[0] && tick <= scale.domain()[1]
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}</style>
<text class="title" x="16" y="28">${escape(title)}</text>
<text class="small" x="16" y="46">Dot: median of the rounds. Line: their range. Bar: goal.</text>
${ticks.map((tick) => drawTick(tick, scale(tick), bottom)).join("\n")}
${ratios.map((ratio, index) => drawRow(ratio, scale, TOP + (index + 0.5) * ROW)).join("\n")}
${
    notes.map((note, index) =>
      `<text class="small" x="16" y="${bottom + BOTTOM + index * 16}">${escape(note)}</text>`
    ).join("\n")
  }
</svg>
`;
}

function drawTick(tick: number, x: number, bottom: number): string {
  const kind = tick === 1 ? "one" : "grid";
  return `<line class="${kind}" x1="${px(x)}" x2="${px(x)}" y1="${TOP}" y2="${bottom}"/>` +
    `<text class="small middle" x="${px(x)}" y="${bottom + 16}">${tick}\u00d7</text>`;
}

function drawRow(ratio: Ratio, scale: (value: number) => number, y: number): string {
  const { name, median, min, max, goal } = ratio;
  const kind = isMet(ratio) ? "met" : "missed";
  const at = px(scale(Object.values(goal)[0]));
  return [
    `<text x="16" y="${y + 4}">${escape(name)}</text>`,
    `<line class="goal" x1="${at}" x2="${at}" y1="${y - 9}" y2="${y + 9}"/>`,
    `<line class="${kind}" x1="${px(scale(min))}" x2="${px(scale(max))}" y1="${y}" y2="${y}"/>`,
    `<circle class="${kind}" cx="${px(scale(median))}" cy="${y}" r="5"/>`,
    `<text class="number" x="${WIDTH - 16}" y="${y + 4}">` +
    `${median.toFixed(2)}\u00d7 (${goalText(ratio)})</text>`,
  ].join("");
}

function px(value: number): string {
  return value.toFixed(1);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
