// @ts-check
/// <reference lib="dom" />
/*
 * The figures of the front page, read from /metrics, and their plot.
 */
import { element, make } from "./page.js";

/** How many readings the plot shows, and the time between two, in milliseconds. */
const POINTS = 60;
const PERIOD_MS = 2000;
/** The distances between the marks of the upright axis: whole numbers. */
const STEPS = Array.from({ length: 9 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();

/** @type {{ at: number, published: number, delivered: number } | undefined} */
let before;
/** @type {[number[], (number | null)[], (number | null)[]]} */
const series = [[], [], []];
/** @type {any} */
let plot;
/** The chart library. Undefined until it is there. @type {any} */
let uPlot;
loadLibrary();

/** Without the library there are figures, but no plot. */
function loadLibrary() {
  try {
    Intl.getCanonicalLocales(navigator.language);
  } catch {
    // Some systems have a language such as "en-US@posix", at which the library throws.
    Object.defineProperty(navigator, "language", { value: "en-US" });
  }
  const script = make("script", { src: new URL("uplot.js", import.meta.url).href });
  script.onload = () => {
    ({ uPlot } = /** @type {any} */ (globalThis));
    redrawPlot();
  };
  document.head.append(script);
}

/**
 * Reads the Prometheus text.
 *
 * @param {string} text
 * @returns {Map<string, number>} The values by name and labels.
 */
function parseMetrics(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    const space = line.lastIndexOf(" ");
    if (space > 0 && !line.startsWith("#")) {
      values.set(line.slice(0, space), Number(line.slice(space + 1)));
    }
  }
  return values;
}

/** @param {number} value */
function short(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(0)}k` : String(Math.round(value));
}

/** @param {number} seconds */
function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString();
}

/**
 * Labels each tick of an axis.
 *
 * @param {(value: number) => string} label
 */
function eachTick(label) {
  return (/** @type {unknown} */ _plot, /** @type {number[]} */ ticks) => ticks.map(label);
}

/**
 * Shows what the metrics say.
 *
 * @param {string} text
 */
export function showFigures(text) {
  const metrics = parseMetrics(text);
  const at = performance.now();
  const published = metrics.get("river_messages_published_total") ?? 0;
  const delivered = metrics.get("river_messages_delivered_total") ?? 0;
  const seconds = before === undefined ? 1 : (at - before.at) / 1000;
  // After a restart the counters start again at 0.
  const rate = (/** @type {number} */ now, /** @type {number | undefined} */ then) =>
    then === undefined || now < then ? 0 : (now - then) / seconds;
  const rates = [rate(published, before?.published), rate(delivered, before?.delivered)];
  before = { at, published, delivered };
  const now = Date.now() / 1000;
  series[0].push(now);
  series[1].push(rates[0]);
  series[2].push(rates[1]);
  for (const values of series) if (values.length > POINTS) values.shift();

  let subscribers = 0;
  const list = element("transports");
  list.replaceChildren();
  for (const [name, value] of metrics) {
    const transport = /^river_subscribers\{transport="([^"]+)"\}$/.exec(name)?.[1];
    if (transport === undefined) continue;
    subscribers += value;
    if (value === 0) continue;
    list.append(make("li", {}, make("b", {}, short(value)), ` ${transport}`));
  }
  element("subscribers").textContent = short(subscribers);
  element("channels").textContent = short(metrics.get("river_channels") ?? 0);
  element("in").textContent = short(rates[0]);
  element("out").textContent = short(rates[1]);
  element("figures").hidden = false;
  drawPlot();
}

function drawPlot() {
  if (uPlot === undefined) return;
  const place = element("plot");
  const size = { width: place.clientWidth, height: place.clientHeight };
  if (plot !== undefined) return plot.setData(series);
  const style = getComputedStyle(place);
  /** @param {string} name */
  const colour = (name) => getComputedStyle(element(name)).color;
  const quiet = getComputedStyle(element("note")).color;
  const grid = { stroke: getComputedStyle(place).borderTopColor, width: 1 };
  const axis = { stroke: quiet, grid, ticks: { show: false } };
  const font = `12px ${style.fontFamily}`;
  const line = { width: 2, points: { show: false } };
  plot = new uPlot(
    {
      ...size,
      cursor: { show: false },
      legend: { show: false },
      // The last label of the time axis needs room on the right.
      padding: [null, 36, null, null],
      scales: {
        x: {
          range: (
            /** @type {unknown} */ _,
            /** @type {number} */ _min,
            /** @type {number} */ max,
          ) => [max - POINTS * PERIOD_MS / 1000, max],
        },
        y: {
          range: (
            /** @type {unknown} */ _,
            /** @type {number} */ _min,
            /** @type {number} */ max,
          ) => [0, Math.max(10, max * 1.15)],
        },
      },
      axes: [
        { ...axis, font, size: 38, gap: 10, space: 90, values: eachTick(clock) },
        { ...axis, font, size: 48, incrs: STEPS, values: eachTick(short) },
      ],
      series: [
        {},
        { ...line, label: "in", stroke: colour("in") },
        { ...line, label: "out", stroke: colour("out") },
      ],
    },
    series,
    place,
  );
}

function redrawPlot() {
  plot?.destroy();
  plot = undefined;
  if (!element("figures").hidden) drawPlot();
}
addEventListener("resize", redrawPlot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawPlot);
