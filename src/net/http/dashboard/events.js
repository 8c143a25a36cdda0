// The live tail of the event log. Events are kept and drawn within bounds, a batch per frame, whatever their rate.

import * as api from "./api.js";
import { button, el, field, notice } from "./dom.js";
import { count, time } from "./format.js";
import { eventsOf } from "./stream.js";
import { afterTyping, remember } from "./list.js";

export const SHOWN = 1000; // Lines in the page.
export const WAITING = 10000; // Events that wait to be drawn, while paused or in a hidden window.

/** What arrived and is not drawn yet: the newest ones, and how many older ones gave way. Pure. */
export function buffer(limit) {
  let items = [], dropped = 0;
  return {
    push(item) {
      items.push(item);
      if (items.length > 2 * limit) {
        dropped += items.length - limit;
        items = items.slice(-limit);
      }
    },
    get size() { return Math.min(items.length, limit); },
    /** All of it, at most `limit`, and how many gave way. */
    take() {
      const over = Math.max(0, items.length - limit);
      const taken = { items: items.slice(over), dropped: dropped + over };
      [items, dropped] = [[], 0];
      return taken;
    },
  };
}

export async function events({ main, parameters, signal, reopen }) {
  const states = el("input", { name: "state", type: "search", value: parameters.state ?? "", placeholder: "Completed Err*",
    autocomplete: "off", "aria-describedby": "patterns" });
  const words = el("input", { name: "text", type: "search", value: parameters.text ?? "", autocomplete: "off" });
  const pause = button("Pause", () => setPaused(!isPaused), { "aria-pressed": "false" });
  const info = el("p", { class: "note", role: "status", "aria-live": "polite" });
  const tail = el("ol", { class: "tail", reversed: true, tabindex: "0", "aria-label": "Events, newest first" });
  const form = el("form", { class: "filters", role: "search", on: { submit: (e) => e.preventDefault(), input: () => filtered() } },
    field("States", states), field("Payload contains", words), pause);
  main.replaceChildren(el("h1", {}, "Events"), form,
    el("p", { id: "patterns", class: "note" }, "States apart by spaces; a * at the end matches any rest."), info, tail);

  let isPaused = false, received = 0, lost = 0, frame = 0, begun = 0;
  let waiting = buffer(WAITING);
  const patterns = () => states.value.split(/[\s,]+/).filter(Boolean);
  const matches = (event) => words.value === "" || event.raw.includes(words.value);

  function line(event) {
    if (event.gap) {
      const what = { pruned: "Older events were deleted before they could be shown.", beyond_head: "The log ends before the number asked for.",
        replaced: "The log was replaced by another one, as after a restore; it begins here.",
        dropped: `${count(event.ephemeral)} ephemeral events were dropped.` };
      return el("li", { class: "gap" }, what[event.gap] ?? "Events are missing here.");
    }
    const number = event.seq === "0" ? "ephemeral" : `#${event.seq}`;
    const long = event.raw.length > 300;
    const body = long
      ? el("details", {}, el("summary", {}, el("code", {}, `${event.raw.slice(0, 300)}…`)), el("pre", {}, event.raw.slice(0, 100000)))
      : el("code", {}, event.raw);
    return el("li", { "data-seq": event.seq }, el("span", { class: "seq" }, number), time(event.time),
      el("strong", {}, event.state), body);
  }

  function draw() {
    frame = 0;
    if (isPaused || signal.aborted) return showInfo();
    const { items, dropped } = waiting.take();
    lost += dropped;
    const newest = items.slice(-SHOWN).reverse();
    lost += items.length - newest.length;
    const part = document.createDocumentFragment();
    part.append(...newest.map(line));
    tail.prepend(part);
    while (tail.childElementCount > SHOWN) tail.lastElementChild.remove();
    showInfo();
  }

  function showInfo() {
    const parts = [`${count(received)} received`];
    if (isPaused) parts.push(`paused, ${count(waiting.size)} waiting`);
    if (lost) parts.push(`${count(lost)} passed by undrawn, see resqctl events`);
    info.textContent = `${parts.join("; ")}.`;
    tail.dataset.received = received;
  }

  function add(event) {
    if (!event.gap) {
      if (!matches(event)) return;
      received += 1;
    }
    waiting.push(event);
    frame ||= requestAnimationFrame(draw);
  }

  function setPaused(value) {
    isPaused = value;
    pause.textContent = isPaused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(isPaused));
    draw();
  }

  /** Begins with the newest events of the log, then follows it from there. */
  async function begin() {
    const mine = ++begun;
    const wanted = patterns();
    const state = wanted.length === 1 ? wanted[0] : "";
    const { body, text } = await api.getText("/events", { state, limit: 100 }, signal);
    // The filter has changed meanwhile.
    if (mine !== begun) return;
    [received, lost, waiting] = [0, 0, buffer(WAITING)];
    tail.replaceChildren();
    if (wanted.length < 2) eventsOf(text, body.events).forEach(add);
    reopen({ subs: wanted.length ? wanted : ["*"], since: String(body.next), on: { event: add, gap: add } });
    showInfo();
  }

  const filtered = afterTyping(() => {
    remember("events", { state: states.value, text: words.value });
    begin().catch((error) => error.name === "AbortError" || notice(error.message, true));
  }, signal, 300);

  signal.addEventListener("abort", () => cancelAnimationFrame(frame));
  await begin();
}
