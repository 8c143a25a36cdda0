// What operators did, newest first.

import * as api from "./api.js";
import { el, table } from "./dom.js";
import { count, time } from "./format.js";
import { pages, refresher } from "./list.js";

function progress({ count: changed, batch }) {
  if (!batch) return count(changed);
  const refused = Number(batch.refused) ? `, ${count(batch.refused)} refused by the server` : "";
  return `${count(changed)}${refused}, ${batch.ended_at ? "complete" : "goes on"}`;
}

export async function audit({ main, signal, reopen }) {
  const rows = table("Actions, newest first", ["When", "Who", "Action", "Target", "Jobs", "Reason"]);
  const list = pages({
    table: rows, empty: "Nothing was done by hand so far.",
    async fetch(after, limit) {
      const { actions, next } = await api.get("/audit", { after, limit }, signal);
      return { items: actions, next };
    },
    row: (one) => rows.row([
      time(one.at), one.who, one.action, el("span", { class: "cut", title: one.target }, one.target), progress(one), one.reason ?? "",
    ]),
  });
  main.replaceChildren(el("h1", {}, "Audit"), ...list.parts);
  const reload = refresher(() => list.load(), signal);
  let known = null;
  reopen({ on: { watch({ overview }) {
    const latest = overview?.audit ?? null;
    if (latest !== null && known !== null && latest !== known) reload.changed();
    known = latest;
  } } });
  await list.load();
}
