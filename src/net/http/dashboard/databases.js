// The databases that resq built.

import * as api from "./api.js";
import { el, field, table } from "./dom.js";
import { time } from "./format.js";
import { afterTyping, pages, refresher, remember } from "./list.js";

const VERDICTS = { same: "as it should be", differs: "different", unknown: "unknown" };

/** What `resqctl check` found last, with its lines to unfold. */
function checked(drift) {
  if (!drift) return "–";
  const words = [`${VERDICTS[drift.verdict] ?? drift.verdict}, `, time(drift.at)];
  if (drift.verdict === "same") return words;
  const lines = drift.found.map((line) => el("li", {}, line));
  return el("details", { "data-drift": drift.verdict }, el("summary", {}, words), el("ul", {}, lines));
}

export async function databases({ main, parameters, signal, reopen }) {
  const input = (name) => el("input", { name, type: "search", value: parameters[name] ?? "", autocomplete: "off" });
  const choice = el("select", { name: "drift" }, el("option", { value: "" }, "all"),
    Object.entries(VERDICTS).map(([value, words]) => el("option", { value, selected: parameters.drift === value }, words)));
  const form = el("form", { class: "filters", role: "search", on: {
    submit: (event) => event.preventDefault(), input: () => filtered(),
  } }, field("Name begins with", input("name")), field("Type", input("type")), field("Last check", choice));
  const filter = () => Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()]));
  const rows = table("Databases, by name", ["Database", "Job", "Type", "State", "Version", "Template", "Built", "Last check"]);
  const list = pages({
    table: rows, empty: "No database matches.",
    async fetch(after, limit) {
      const { databases, next } = await api.get("/databases", { ...filter(), after, limit }, signal);
      return { items: databases, next };
    },
    row: (one) => rows.row([
      one.db_name, el("a", { href: `#/jobs/${one.res_id}` }, one.res_name ?? `#${one.res_id}`), one.res_type,
      one.dropping_at ? "being dropped" : one.state === "making" ? "being built" : one.state,
      String(one.version), el("code", { title: one.template_version }, one.template_version.slice(0, 12)), time(one.created_at),
      checked(one.drift),
    ]),
  });
  main.replaceChildren(el("h1", {}, "Databases"), form, ...list.parts);
  const reload = refresher(() => list.load(), signal);
  const filtered = afterTyping(() => {
    remember("databases", filter());
    reload.changed();
  }, signal);
  const changed = () => reload.changed();
  reopen({ subs: ["InProgress", "Completed", "Error", "Dropped"], on: { event: changed, gap: changed } });
  await list.load();
}
