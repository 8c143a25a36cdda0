// Jobs: filters, selection, and actions on the selected ones or on all that match.

import * as api from "./api.js";
import { button, el, field, notice, status, table } from "./dom.js";
import { addJob } from "./add.js";
import { confirm } from "./confirm.js";
import { count, time } from "./format.js";
import { afterTyping, pages, refresher, remember } from "./list.js";

export const JOB_STATES = ["New", "InProgress", "Completed", "Error"];
const CHANGES = {
  retry: { from: "error", verb: "Retry", past: "returned to the queue", what: "failed" },
  cancel: { from: "new", verb: "Cancel", past: "cancelled", what: "waiting" },
};

export async function jobs({ main, parameters, signal, reopen, mayAct }) {
  const selected = new Set();
  const text = (name, label, hint) => el("input", {
    name, type: "search", value: parameters[name] ?? "", placeholder: hint, autocomplete: "off", "aria-label": label,
  });
  const choice = el("select", { name: "status" }, el("option", { value: "" }, "all"),
    [["new", "new"], ["in_progress", "in progress"], ["done", "done"], ["error", "error"]].map(([value, words]) =>
      el("option", { value, selected: parameters.status === value }, words)));
  const form = el("form", { class: "filters", role: "search", on: {
    submit: (event) => event.preventDefault(), input: () => filtered(), change: () => filtered(),
  } }, field("Status", choice), field("Name begins with", text("name", "Name begins with", "shop-")),
  field("Type", text("type", "Type", "default")), field("Database", text("database", "Database", "res_shop_17")));
  const filter = () => Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value.trim()])
    .filter(([, value]) => value));

  const all = el("input", { type: "checkbox", "aria-label": "Select all shown", on: { change: () => selectShown() } });
  const columns = [mayAct ? "Select" : null, "Job", "Status", "Name", "Type", "Attempts", "Changed", "Last error"];
  const rows = table("Jobs, newest first", columns.filter(Boolean));
  if (mayAct) rows.whole.querySelector("th").replaceChildren(all);
  const list = pages({
    table: rows, empty: "No job matches.",
    async fetch(after, limit) {
      const { jobs, next } = await api.get("/jobs", { ...filter(), after, limit }, signal);
      return { items: jobs, next };
    },
    row(job) {
      const id = String(job.res_id);
      const box = el("input", { type: "checkbox", value: id, checked: selected.has(id), "aria-label": `Select job ${id}`,
        on: { change: (event) => select(id, event.target.checked) } });
      const link = el("a", { href: `#/jobs/${id}` }, `#${id}`);
      const error = el("span", { class: "cut", title: job.last_error ?? "" }, job.last_error ?? "");
      const cells = [link, status(job.status), job.res_name, job.res_type, count(job.attempts), time(job.updated_at), error];
      return rows.row(mayAct ? [box, ...cells] : cells, { "data-id": id });
    },
  });

  const chosen = el("span", { role: "status", "aria-live": "polite" });
  const bulk = Object.entries(CHANGES).map(([change, { verb, what }]) => [
    button(`${verb} selected`, () => act(change, { ids: [...selected] }), { "data-act": `${change}-selected` }),
    button(`${verb} all ${what} that match`, () => act(change, { filter: matching(change) }), { "data-act": `${change}-all` }),
  ]);
  const bar = mayAct ? el("div", { class: "buttons acts" }, button("Add a job", () => addJob()), bulk.flat(), chosen) : null;
  main.replaceChildren(el("h1", {}, "Jobs"), form, bar ?? "", ...list.parts);

  function matching(change) {
    return { ...filter(), status: CHANGES[change].from };
  }

  function select(id, isChosen) {
    isChosen ? selected.add(id) : selected.delete(id);
    showChosen();
  }

  function selectShown() {
    for (const box of rows.body.querySelectorAll("input[type=checkbox]")) {
      box.checked = all.checked;
      all.checked ? selected.add(box.value) : selected.delete(box.value);
    }
    showChosen();
  }

  function showChosen() {
    chosen.textContent = selected.size ? `${count(selected.size)} selected` : "";
    for (const [one] of bulk) one.disabled = selected.size === 0;
    const { status } = filter();
    Object.values(CHANGES).forEach(({ from }, i) => (bulk[i][1].disabled = Boolean(status) && status !== from));
  }

  /** Counts first, then asks, then acts. */
  async function act(change, which) {
    const { verb, past, what } = CHANGES[change];
    try {
      const dry = await api.post(`/jobs/${change}`, { ...which, dry_run: true });
      if (Number(dry.count) === 0) return notice(`None of them is ${what}: there is nothing to ${change}.`);
      const many = `${count(dry.count, dry.capped)} ${dry.count === 1 ? "job" : "jobs"}`;
      const reason = await confirm({
        title: `${verb} ${many}?`, action: `${verb} ${many}`, isDangerous: change === "cancel",
        text: which.ids ? "Those selected which that concerns." : "All that match the filter now, shown or not.",
      });
      if (reason === null) return;
      const done = await api.post(`/jobs/${change}`, { ...which, ...(reason ? { reason } : {}) });
      selected.clear();
      all.checked = false;
      notice(done.batch === null ? `${count(done.count)} ${past}.` : `Started; a daemon works it off. See the audit, ${done.batch}.`);
      showChosen();
      reload.changed();
    } catch (error) {
      notice(error.message, true);
    }
  }

  const reload = refresher(() => list.load(), signal);
  const filtered = afterTyping(() => {
    selected.clear();
    remember("jobs", filter());
    showChosen();
    reload.changed();
  }, signal);

  showChosen();
  reopen({ subs: JOB_STATES, on: { event: () => reload.changed(), gap: () => reload.changed() } });
  await list.load();
}
