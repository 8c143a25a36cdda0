// One job: what its row says, and what happened to it in the order of time.

import * as api from "./api.js";
import { button, el, notice, status } from "./dom.js";
import { confirm } from "./confirm.js";
import { count, parse, time } from "./format.js";
import { JOB_STATES } from "./jobs.js";
import { refresher } from "./list.js";
import { eventsOf } from "./stream.js";

export async function job({ main, item, signal, reopen, mayAct }) {
  const title = el("h1", {}, `Job ${item}`);
  const facts = el("dl", { class: "facts" });
  const error = el("pre", { class: "error", hidden: true });
  const acts = el("div", { class: "buttons acts" });
  const timeline = el("ol", { class: "timeline" });
  const note = el("p", { class: "note", hidden: true }, "The log may hold more events of this job than were found.");
  main.replaceChildren(el("p", {}, el("a", { href: "#/jobs" }, "← Jobs")), title, el("div", { class: "card" }, facts, error, acts),
    el("h2", {}, "What happened"), el("div", { class: "card" }, timeline, note));
  document.title = `Job ${item} · resq`;

  async function act(path, words, body = {}) {
    const reason = await confirm(words);
    if (reason === null) return;
    try {
      await api.post(path, { ...body, ...(reason ? { reason } : {}) });
      notice("Done.");
      if (path.startsWith("/databases")) location.hash = "#/jobs";
      else reload.changed();
    } catch (refused) {
      notice(refused.message, true);
    }
  }

  const load = async () => {
    const { body: row, text } = await api.getText(`/jobs/${encodeURIComponent(item)}`, {}, signal);
    title.replaceChildren(`Job ${row.res_id}: ${row.res_name} `, status(row.status));
    const limit = row.max_attempts === null ? "the setting" : count(row.max_attempts);
    const values = [["Type", row.res_type], ["URL", row.res_url], ["Priority", row.priority],
      ["Attempts", `${count(row.attempts)}; limit: ${limit}`], ["Runs not before", row.run_at && time(row.run_at)],
      ["Database", row.db_name], ["Daemon", row.owner], ["Added", time(row.created_at)], ["Changed", time(row.updated_at)]];
    facts.replaceChildren(...values.filter(([, value]) => value !== null && value !== undefined)
      .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    error.hidden = !row.last_error;
    error.textContent = row.last_error ?? "";
    const happened = [
      ...row.errors.map((e) => ({ at: parse(e.at), when: e.at, what: `Attempt ${e.attempt} failed`, text: e.message, isBad: true })),
      ...eventsOf(text, row.events).map((e) => ({
        at: parse(e.time), when: e.time, what: `${e.state}, event ${e.seq}`, text: e.raw, isBad: e.state === "Error",
      })),
    ].sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
    timeline.replaceChildren(...happened.map(({ when, what, text, isBad }) => el("li", { class: isBad ? "bad" : "" },
      el("div", { class: "what" }, el("strong", {}, what), " ", time(when)), el("pre", {}, text))));
    note.hidden = row.events_complete;
    if (!mayAct) return;
    const id = String(row.res_id), ids = [row.res_id];
    acts.replaceChildren(...[
      row.status === "error" && button("Retry", () => act("/jobs/retry", {
        title: `Retry job ${id}?`, text: "It returns to the queue with fresh attempts.", action: "Retry" }, { ids })),
      row.status === "new" && button("Cancel the job", () => act("/jobs/cancel", {
        title: `Cancel job ${id}?`, text: "It ends in error without being run.", action: "Cancel the job", isDangerous: true }, { ids })),
      row.status !== "in_progress" && button("Drop", () => act(`/databases/${id}/drop`, {
        title: `Drop job ${id}?`, action: "Drop for good", isDangerous: true,
        text: row.db_name ? `The database ${row.db_name} with all its data, and the job's row.` : "The job's row.",
      }), { class: "danger" }),
    ].filter(Boolean));
  };

  const reload = refresher(load, signal);
  const isOwn = ({ payload }) => String(payload?.res_id) === item;
  reopen({ subs: JOB_STATES, on: { event: (event) => isOwn(event) && reload.changed(), gap: () => reload.changed() } });
  await load();
}
