// Charts of the last hours. uPlot draws; this file knows the ranges, the colours and what a reader of the screen hears.

import { el } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A value with none before and none after it, which no line can show. */
const isAlone = (values, at) => (values[at] ?? null) !== null && (values[at - 1] ?? values[at + 1] ?? null) === null;

/**
 * A chart. `lines`: [{ name, key, colour }], where `key` names a column of the series. `show(value)` words a value. `blank`
 * says why values are missing, and is shown where most of them are.
 * Returns { figure, draw(columns, from, to) }; columns: { time: [seconds], [key]: [value or null] }.
 */
export function chart(title, lines, show, signal, blank = "") {
  const place = el("div", { class: "plot", "aria-hidden": "true" });
  const legend = el("ul", { class: "legend" });
  const values = lines.map((line) => {
    const value = el("span", { class: "value" }, "–");
    legend.append(el("li", {}, el("span", { class: "swatch", "data-colour": line.colour }), `${line.name} `, value));
    return value;
  });
  const why = el("p", { class: "why", hidden: true }, blank);
  const figure = el("figure", { class: "card chart" }, el("figcaption", {}, el("h2", {}, title), legend), why, place);
  let plot = null, drawn = null;

  const words = (at) => lines.forEach((line, i) => {
    values[i].textContent = show(drawn.columns[line.key]?.[at] ?? null);
  });

  const make = () => {
    plot?.destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    plot = new uPlot({
      width: Math.max(200, place.clientWidth), height: 130, legend: { show: false }, padding: [8, 4, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => [drawn.from, drawn.to] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, size: 24, space: 70, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 56, space: 34, values: (_, ticks) => ticks.map((tick) => show(tick)) },
      ],
      series: [{}, ...lines.map((line) => ({
        stroke: colour(line.colour), width: 1.5, spanGaps: false,
        points: {
          show: false, size: 5, fill: colour(line.colour),
          filter: (u, series) => u.data[series].flatMap((_, at) => (isAlone(u.data[series], at) ? [at] : [])),
        },
        fill: lines.length === 1 ? `${colour(line.colour)}22` : undefined,
      }))],
      hooks: { setCursor: [(u) => words(u.cursor.idx ?? drawn.columns.time.length - 1)] },
    }, data(), place);
  };

  const data = () => [drawn.columns.time, ...lines.map((line) => drawn.columns[line.key] ?? [])];
  const draw = (columns, from, to) => {
    drawn = { columns, from, to };
    const seen = columns.time.flatMap((time, at) => (time >= from ? [at] : []));
    const missing = seen.filter((at) => lines.every((line) => (columns[line.key]?.[at] ?? null) === null));
    why.hidden = !blank || 2 * missing.length < seen.length || seen.length === 0;
    if (plot) plot.setData(data());
    else make();
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) words(columns.time.length - 1);
  };

  document.addEventListener("theme", () => drawn && make(), { signal });
  const resize = new ResizeObserver(() => {
    if (plot && place.clientWidth > 0) plot.setSize({ width: place.clientWidth, height: 130 });
  });
  resize.observe(place);
  signal.addEventListener("abort", () => {
    resize.disconnect();
    plot?.destroy();
  });
  return { figure, draw };
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** The columns with one more point, without those older than `keep` points. */
export function append(columns, point, keep) {
  for (const [key, value] of Object.entries(point)) {
    const column = (columns[key] ??= []);
    column.push(value);
    if (column.length > keep) column.shift();
  }
}

/** The columns with one more point, whose time is not over yet; `interval` is that between two points, in seconds. */
export function ahead(columns, point, interval) {
  const last = columns.time.at(-1) ?? interval * (Math.floor(Date.now() / 1000 / interval) - 1);
  const values = { ...point, time: last + interval };
  const keys = Object.keys({ ...columns, ...values });
  return Object.fromEntries(keys.map((key) => [key, [...columns[key] ?? [], values[key] ?? null]]));
}
