// Who receives events, and how far each has got; and the positions that are kept for consumers.

import * as api from "./api.js";
import { el, table } from "./dom.js";
import { bytes, count, time } from "./format.js";

export async function subscribers({ main, signal, reopen }) {
  const rows = table("Subscribers", ["Name", "From", "Over", "States", "Behind", "Queued"]);
  const none = el("p", { class: "empty" }, "Reading the subscribers");
  const kept = table("Consumers", ["Consumer", "Position", "Behind", "States", "Last client", "Stored"]);
  const part = el("section", { hidden: true }, el("h2", {}, "Consumers"), kept.whole);
  main.replaceChildren(el("h1", {}, "Subscribers"), rows.whole, none, part);
  async function readConsumers() {
    if (signal.aborted) return;
    try {
      const { consumers } = await api.get("/consumers", { limit: 1000 }, signal);
      part.hidden = consumers.length === 0;
      kept.body.replaceChildren(...consumers.map((one) => kept.row([
        one.name, String(one.position), Number(one.lag) ? `${count(one.lag)} events` : "no",
        one.states.join(" "), one.client ?? "(an operator)", time(one.updated_at),
      ])));
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    setTimeout(readConsumers, 5000);
  }
  readConsumers();
  reopen({ watch: ["subscribers"], on: { watch({ subscribers: list, count: total }) {
    if (!list || signal.aborted) return;
    rows.body.replaceChildren(...list.map((one) => rows.row([
      one.name || "(no name)", one.peer, one.protocol.toUpperCase(), one.states.join(" "),
      Number(one.lag) ? `${count(one.lag)} events` : "no", bytes(one.queued_bytes),
    ])));
    none.hidden = list.length > 0 && total <= list.length;
    none.textContent = list.length === 0 ? "Nothing subscribes, but for this page." : `${count(total - list.length)} more are not shown.`;
  } } });
}
