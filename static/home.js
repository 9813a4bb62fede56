// @ts-check
/// <reference lib="dom" />
/*
 * The front page: commands with this server's address, a live channel, and figures from /metrics.
 */
import { River, version } from "./client.js";

const CHANNEL = "public-channel";
/** How often the figures are read, in milliseconds, and how many readings the plot shows. */
const PERIOD_MS = 2000;
const POINTS = 60;
const MAX_MESSAGES = 100;

const base = new URL(".", location.href);

/** @param {string} id */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} id */
function input(id) {
  return /** @type {HTMLInputElement} */ (element(id));
}

// Commands.

const commands = {
  subscribe: `curl -N -d "name=${CHANNEL}" ${base}subscribe`,
  publish: `curl -d "name=${CHANNEL}&data=hello" ${base}publish`,
  catchup: `curl -N "${base}subscribe?name=${CHANNEL}&seq=0"`,
  embed: `<script type="module">
import { River } from
  "${base}client.js";
const river =
  new River("${base}");
river.subscribe("${CHANNEL}",
  ({ data }) => alert(data));
</script>`,
};
for (const [id, command] of Object.entries(commands)) element(id).textContent = command;
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    const code = element(/** @type {string} */ (button.getAttribute("data-copy")));
    try {
      await navigator.clipboard.writeText(code.textContent ?? "");
      button.textContent = "Copied";
    } catch {
      // The browser forbids copying. Select the text, so that Ctrl-C copies it.
      getSelection()?.selectAllChildren(code);
      button.textContent = "Ctrl-C";
    }
    setTimeout(() => button.textContent = "Copy", 1500);
  });
}
element("version").textContent = `push server ${version}`;

// The live channel.

let token = sessionStorage.getItem("river:token") ?? undefined;
const river = new River(base, { token: () => token });

/**
 * @param {string} text
 * @param {string} [seq]
 */
function show(text, seq) {
  const list = element("messages");
  const item = document.createElement("li");
  if (seq === undefined) {
    item.className = "note";
  } else {
    const number = document.createElement("span");
    number.className = "seq";
    number.textContent = seq;
    item.append(number);
  }
  item.append(text);
  list.prepend(item);
  while (list.children.length > MAX_MESSAGES) list.lastElementChild?.remove();
}

river.addEventListener("status", (event) => {
  const { state, transport, delay, reason } = /** @type {CustomEvent} */ (event).detail;
  const label = element("state");
  label.dataset.state = state;
  if (state === "open") label.textContent = `live over ${transport}`;
  else if (state === "reconnecting") label.textContent = `retry in ${(delay / 1000).toFixed(1)} s`;
  else label.textContent = state;
  if (state === "closed") element("note").textContent = `Disconnected: ${reason}.`;
});
river.subscribe(CHANNEL, ({ seq, data }) => show(data, String(seq)), {
  onGap: ({ from, to, reason }) =>
    show(reason === "restart" ? "The server restarted" : `Missed ${from} to ${to} (${reason})`),
});
element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { value } = input("text");
  input("text").value = "";
  try {
    await river.publish(CHANNEL, value);
  } catch (error) {
    element("note").textContent = `Not published: ${/** @type {Error} */ (error).message}`;
  }
});

// Figures.

/** @type {{ at: number, published: number, delivered: number } | undefined} */
let before;
/** @type {[number[], (number | null)[], (number | null)[]]} */
const series = [[], [], []];
/** @type {any} */
let plot;

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

/** @param {Map<string, number>} metrics */
function showFigures(metrics) {
  element("unlock").hidden = true;
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
    const item = document.createElement("li");
    const count = document.createElement("b");
    count.textContent = short(value);
    item.append(count, ` ${transport}`);
    list.append(item);
  }
  element("subscribers").textContent = short(subscribers);
  element("channels").textContent = short(metrics.get("river_channels") ?? 0);
  element("in").textContent = short(rates[0]);
  element("out").textContent = short(rates[1]);
  element("figures").hidden = false;
  drawPlot();
}

function drawPlot() {
  const place = element("plot");
  const size = { width: place.clientWidth, height: place.clientHeight };
  if (plot !== undefined) return plot.setData(series);
  const style = getComputedStyle(place);
  /** @param {string} name */
  const colour = (name) => getComputedStyle(element(name)).color;
  const quiet = getComputedStyle(element("note")).color;
  const grid = { stroke: getComputedStyle(element("messages")).borderTopColor, width: 1 };
  const axis = { stroke: quiet, grid, ticks: { show: false } };
  const font = `12px ${style.fontFamily}`;
  const line = { width: 2, points: { show: false } };
  const { uPlot } = /** @type {any} */ (globalThis);
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
        { ...axis, font, space: 90, values: eachTick(clock) },
        { ...axis, font, size: 48, values: eachTick(short) },
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

async function refresh() {
  if (document.hidden) return;
  try {
    const headers = new Headers();
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    const response = await fetch(new URL("metrics", base), { headers });
    if (response.ok) return showFigures(parseMetrics(await response.text()));
    if (response.status !== 401 && response.status !== 403) return;
    element("figures").hidden = true;
    // A server without a key shows its figures only on its own machine. No key can help here.
    const local = (await response.json()).error.code === "local_only";
    if (local) clearInterval(refreshing);
    element("unlock").hidden = local;
    element("elsewhere").hidden = !local;
  } catch {
    // The server cannot be reached. The state in the header shows it.
  }
}
element("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = input("token").value;
  sessionStorage.setItem("river:token", token);
  // The client gave up because it had no valid token. Start again.
  if (river.status.state === "closed") location.reload();
  else refresh();
});
document.addEventListener("visibilitychange", refresh);
const refreshing = setInterval(refresh, PERIOD_MS);
refresh();
