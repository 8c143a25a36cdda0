// Who receives events, and how far each has got.

import { el, table } from "./dom.js";
import { bytes, count } from "./format.js";

export async function subscribers({ main, signal, reopen }) {
  const rows = table("Subscribers", ["Name", "From", "Over", "States", "Behind", "Queued"]);
  const none = el("p", { class: "empty" }, "Reading the subscribers");
  main.replaceChildren(el("h1", {}, "Subscribers"), rows.whole, none);
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
