// Rollouts of migrations: how far each has come, what failed, and what an operator can do to one.

import * as api from "./api.js";
import { confirm } from "./confirm.js";
import { button, el, notice, table } from "./dom.js";
import { count, time } from "./format.js";
import { pages, refresher } from "./list.js";

const ENDED = ["finished", "aborted"];

export async function rollouts({ main, signal, reopen, mayAct }) {
  const rows = table("Rollouts, newest first", ["Rollout", "State", "Wave", "Databases", "Failed", "Started", "Ended", ""]);
  const noted = table("Databases that failed, wait or are under way", ["Database", "Job", "State", "Why"]);
  const part = el("section", { hidden: true }, el("h2", {}, "Databases of the newest rollout"), noted.whole);

  async function act(one, action, words) {
    const reason = await confirm({ ...words, title: `${words.action} rollout ${one.id}?` });
    if (reason === null) return;
    try {
      await api.post(`/rollouts/${one.id}/${action}`, reason ? { reason } : {});
      notice("Done.");
      reload.changed();
    } catch (refused) {
      notice(refused.message, true);
    }
  }

  const acts = (one) => el("div", { class: "buttons" }, ...[
    ["running", "unconfirmed"].includes(one.state) && button("Pause", () => act(one, "pause", {
      action: "Pause", text: "Databases that are under way are completed; no others are begun." })),
    ["paused", "unconfirmed"].includes(one.state) && button("Resume", () => act(one, "resume", {
      action: "Resume", text: "It goes on with the next databases." })),
    !ENDED.includes(one.state) && button("Abort", () => act(one, "abort", {
      action: "Abort", text: "Databases that are under way are completed; the others stay as they are.", isDangerous: true })),
  ].filter(Boolean));

  const list = pages({
    table: rows, empty: "There was no rollout yet. `resqctl migrate start` starts one.",
    async fetch(after, limit) {
      const { rollouts: items, next } = await api.get("/rollouts", { after, limit }, signal);
      if (after === null) await readNoted(items[0]);
      return { items, next };
    },
    row: (one) => rows.row([
      String(one.id), one.state, one.wave === 0 ? "canaries" : `${one.wave} of ${one.last_wave}`,
      `${count(one.migrated)} of ${count(one.databases)}`, count(one.failed), time(one.started_at),
      one.ended_at ? time(one.ended_at) : "", mayAct ? acts(one) : "",
    ]),
  });

  async function readNoted(newest) {
    const found = newest ? (await api.get(`/rollouts/${newest.id}`, {}, signal)).noted : [];
    part.hidden = found.length === 0;
    noted.body.replaceChildren(...found.map((one) => noted.row([
      one.db_name, el("a", { href: `#/jobs/${one.res_id}` }, `#${one.res_id}`), one.state, one.message ?? "",
    ])));
  }

  main.replaceChildren(el("h1", {}, "Rollouts"), ...list.parts, part);
  const reload = refresher(() => list.load(), signal);
  const changed = () => reload.changed();
  const subs = ["Migrated", "MigrationFailed", "RolloutStarted", "RolloutHalted", "RolloutFinished"];
  reopen({ subs, on: { event: changed, gap: changed } });
  await list.load();
}
