// What all paged lists have in common: load a page, load more, and load again when something has changed.

import { el, notice } from "./dom.js";

/**
 * Loads again at most every 250 ms, and four times slower than the answers come: a busy queue costs the database little.
 * Nothing happens unless `changed` is called.
 */
export function refresher(load, signal) {
  let isRunning = false, isWanted = false, timer = 0;
  const run = async () => {
    timer = 0;
    isRunning = true;
    isWanted = false;
    const begun = performance.now();
    await load().catch((error) => error.name === "AbortError" || signal.aborted || notice(error.message, true));
    isRunning = false;
    if (isWanted && !signal.aborted) timer = setTimeout(run, Math.max(250, 4 * (performance.now() - begun)));
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return {
    changed() {
      isWanted = true;
      if (!isRunning && !timer && !signal.aborted) timer = setTimeout(run, 100);
    },
  };
}

/**
 * A list that grows by pages. `fetch(after, limit)` → { items, next }; `row(item)` → a row of `table`, or null.
 * Loading again replaces what is shown by as many items from the start.
 */
export function pages({ table, fetch, row, empty }) {
  let next = null, shown = 0, last = Promise.resolve();
  const showMore = () => load(false).catch((error) => error.name === "AbortError" || notice(error.message, true));
  const more = el("button", { type: "button", class: "quiet", hidden: true, on: { click: showMore } }, "Show more");
  const none = el("p", { class: "empty", hidden: true }, empty);
  // One page at a time: what is asked for next depends on what came before.
  const load = (again = true) => last = last.catch(() => {}).then(() => loadNow(again));
  const loadNow = async (again) => {
    if (!again && next === null) return;
    const limit = again ? Math.min(1000, Math.max(50, shown)) : 50;
    const page = await fetch(again ? null : next, limit);
    const rows = page.items.map(row);
    if (again) {
      shown = 0;
      table.body.replaceChildren(...rows);
    } else {
      table.body.append(...rows);
    }
    shown += rows.length;
    next = page.next;
    more.hidden = next === null;
    none.hidden = shown > 0 || next !== null;
  };
  return { parts: [table.whole, none, more], load };
}

/** A listener for input: calls `run` once typing has paused, unless the view has ended by then. */
export function afterTyping(run, signal, pause_ms = 150) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => signal.aborted || run(), pause_ms);
  };
}

/** Keeps the filter in the address, so that it can be linked and the browser's Back works. */
export function remember(view, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  history.replaceState(null, "", `#/${view}${query.size ? `?${query}` : ""}`);
}
