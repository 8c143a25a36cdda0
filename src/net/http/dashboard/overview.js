// All that matters at a glance: a sentence, numbers, the last hours, and who serves.

import * as api from "./api.js";
import { button, el, notice, table } from "./dom.js";
import { ahead, append, chart } from "./charts.js";
import { confirm } from "./confirm.js";
import { count, duration, rate, time } from "./format.js";

const RANGES = { "15 minutes": 900, "1 hour": 3600, "6 hours": 21600 };

/** What an operator should know, worst first: { level, text }. Pure. */
export function concerns(o) {
  const found = [];
  for (const { reason } of o.reasons) found.push({ level: "bad", text: reason });
  if (o.paused) found.push({ level: "warn", text: "The queue is paused: no jobs are claimed" });
  const live = o.daemons?.filter((daemon) => daemon.lease_s > 0) ?? null;
  if (live?.length === 0) found.push({ level: "bad", text: "No daemon holds a lease: no jobs are run" });
  if (!o.paused && o.oldest_waiting_s > 300) {
    found.push({ level: "warn", text: `The oldest ready job has waited for ${duration(o.oldest_waiting_s)}` });
  }
  for (const { reason } of o.warnings) found.push({ level: "warn", text: reason });
  return found;
}

/** A tile: a number with its name and a line below it. */
function tile(name, href = null) {
  const value = el("span", { class: "number" }, "–");
  const note = el("span", { class: "note" }, " ");
  const parts = [el("span", { class: "name" }, name), value, note];
  const whole = href ? el("a", { class: "tile card", href }, parts) : el("div", { class: "tile card" }, parts);
  return {
    whole,
    set(text, below = "", level = "") {
      value.textContent = text;
      note.textContent = below || " ";
      whole.dataset.level = level;
    },
  };
}

export async function overview({ main, signal, reopen, mayAct, last }) {
  const headline = el("p", { class: "headline", role: "status", "aria-live": "polite" }, "Reading the state");
  const details = el("ul", { class: "concerns" });
  const pause = button("Pause the queue", () => togglePause(), { class: "quiet act" });
  const tiles = {
    waiting: tile("Waiting", "#/jobs?status=new"), oldest: tile("Oldest waiting"),
    running: tile("Running", "#/jobs?status=in_progress"), done: tile("Done per second", "#/jobs?status=done"),
    errors: tile("Failed", "#/jobs?status=error"), latency: tile("Enqueued to done, p95"),
    events: tile("Events per second", "#/events"), subscribers: tile("Subscribers", "#/subscribers"),
  };
  const latency = chart("Enqueued to done", [{ name: "p50", key: "p50_s", colour: "--c2" },
    { name: "p95", key: "p95_s", colour: "--c1" }, { name: "p99", key: "p99_s", colour: "--c3" }], duration, signal,
  "Blank while no job ends.");
  const charts = [
    chart("Jobs", [{ name: "waiting", key: "new", colour: "--c1" }, { name: "running", key: "in_progress", colour: "--c2" },
      { name: "failed", key: "error", colour: "--c3" }], count, signal,
    "Recorded only while a page is open or the metrics are read."),
    chart("Finished per second", [{ name: "done", key: "done_per_s", colour: "--c2" },
      { name: "failed", key: "error_per_s", colour: "--c3" }], rate, signal),
    latency,
    chart("Events per second", [{ name: "events", key: "events_per_s", colour: "--c1" }], rate, signal),
  ];
  const range = el("select", { "aria-label": "Range of the charts", on: { change: () => draw() } },
    Object.entries(RANGES).map(([name, s]) => el("option", { value: s, selected: s === 3600 }, name)));
  const daemons = table("Daemons", ["Daemon", "Since", "Lease", "Jobs"]);
  const node = el("dl", { class: "facts" });
  main.replaceChildren(
    el("h1", { class: "hidden-text" }, "Overview"),
    el("section", { class: "summary card", "aria-label": "Summary" }, el("div", {}, headline, details), mayAct ? pause : null),
    el("section", { class: "tiles", "aria-label": "Numbers" }, Object.values(tiles).map((one) => one.whole)),
    el("div", { class: "row" }, el("h2", {}, "The last hours"), range),
    el("section", { class: "charts", "aria-label": "Charts" }, charts.map((one) => one.figure)),
    el("section", { class: "pair" },
      el("div", { class: "card" }, el("h2", {}, "Daemons"), daemons.whole),
      el("div", { class: "card" }, el("h2", {}, "Database and this daemon"), node)));

  let paused = null, columns = { time: [] }, keep = 2160, now = {};
  const draw = () => {
    const current = ahead(columns, now, 10);
    const to = Math.max(current.time.at(-1), Math.floor(Date.now() / 1000) - 60);
    for (const one of charts) one.draw(one === latency ? columns : current, to - Number(range.value), to);
  };

  async function togglePause() {
    const words = paused
      ? { title: "Resume the queue?", text: "All daemons claim jobs again.", action: "Resume" }
      : { title: "Pause the queue?", text: "Running jobs finish; no daemon claims another one.", action: "Pause" };
    const reason = await confirm(words);
    if (reason === null) return;
    try {
      await api.post(paused ? "/queue/resume" : "/queue/pause", reason ? { reason } : {});
      notice(paused ? "Resumed." : "Paused.");
    } catch (error) {
      notice(error.message, true);
    }
  }

  let silence = 0;
  const unknown = () => {
    headline.textContent = "The state is unknown";
    headline.dataset.level = "bad";
    details.replaceChildren(el("li", { "data-level": "bad" },
      "Nothing has arrived for 5 s: resqd is not reached, or its database does not answer. What is shown below is older."));
  };
  signal.addEventListener("abort", () => clearTimeout(silence));

  const show = (o) => {
    clearTimeout(silence);
    silence = setTimeout(unknown, 5000);
    paused = o.paused;
    pause.textContent = paused ? "Resume the queue" : "Pause the queue";
    const found = concerns(o);
    const worst = found.some((one) => one.level === "bad") ? "bad" : found.length ? "warn" : "good";
    const sentence = worst === "good" ? "All is well"
      : `${found.length} ${found.length === 1 ? "thing needs" : "things need"} attention`;
    if (headline.textContent !== sentence) headline.textContent = sentence;
    headline.dataset.level = worst;
    details.replaceChildren(...found.map((one) => el("li", { "data-level": one.level }, one.text)));

    const known = (value) => (value === null || value === undefined ? null : Number(value));
    now = {
      new: known(o.jobs?.new), in_progress: known(o.jobs?.in_progress), error: known(o.jobs?.error),
      done_per_s: o.done_per_s, error_per_s: o.error_per_s, events_per_s: o.events_per_s,
    };
    const jobs = o.jobs ?? {}, more = new Set(jobs.capped ?? []);
    const delayed = Number(jobs.delayed ?? 0);
    tiles.waiting.set(count(jobs.new, more.has("new")), delayed ? `${count(delayed)} of them delayed` : "");
    tiles.oldest.set(o.oldest_waiting_s === null && o.jobs ? "none" : duration(o.oldest_waiting_s), "",
      o.oldest_waiting_s > 300 ? "warn" : "");
    tiles.running.set(count(jobs.in_progress, more.has("in_progress")), `${o.workers_busy} of ${o.workers} workers here`);
    tiles.done.set(rate(o.done_per_s), `${count(jobs.done, more.has("done"))} done`);
    tiles.errors.set(count(jobs.error, more.has("error")), o.error_per_s > 0 ? `${rate(o.error_per_s)} per second` : "",
      Number(jobs.error) > 0 ? "warn" : "");
    tiles.latency.set(duration(o.p95_s), o.p50_s === null ? "nothing finished in the last minute"
      : `p50 ${duration(o.p50_s)}, p99 ${duration(o.p99_s)}`);
    tiles.events.set(rate(o.events_per_s), `up to number ${count(o.head_seq)}`);
    tiles.subscribers.set(count(o.subscribers), o.lag_max > 0 ? `${count(o.lag_max)} events behind at most` : "none behind");

    daemons.body.replaceChildren(...(o.daemons ?? []).map((daemon) => daemons.row([
      daemon.owner, time(daemon.started_at),
      daemon.lease_s > 0 ? `valid for ${duration(daemon.lease_s)}` : `ended ${duration(-daemon.lease_s)} ago`,
      count(daemon.jobs),
    ], { "data-level": daemon.lease_s > 0 ? "" : "warn" })));
    const facts = [["Server", o.host ?? "not reached"], ["Version", o.server ?? "–"], ["Global database", o.global_db],
      ["Pool", `${count(o.pool_connections)} connections`], ["Events not numbered yet", count(o.outbox)],
      ["Ephemeral events dropped", count(o.dropped_ephemeral)], ["resqd", o.version]];
    node.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  };

  if (last) show(last);
  reopen({ on: { watch(message) {
    if (signal.aborted || !message.overview) return;
    show(message.overview);
    const { point } = message.overview;
    if (point && point.time > (columns.time.at(-1) ?? 0)) append(columns, point, keep);
    draw();
  } } });
  const series = await api.get("/series", {}, signal);
  const since = series.columns.time.at(-1) ?? 0;
  const early = columns; // Points that arrived while the answer was on its way.
  columns = series.columns;
  early.time.forEach((at, i) => at > since
    && append(columns, Object.fromEntries(Object.keys(early).map((key) => [key, early[key][i]])), keep));
  keep = Math.max(keep, columns.time.length);
  if (columns.time.at(-1) - columns.time[0] < RANGES["15 minutes"]) range.value = RANGES["15 minutes"];
  draw();
}
