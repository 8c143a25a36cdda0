// The form that enqueues a job.

import * as api from "./api.js";
import { el, field, notice } from "./dom.js";

export function addJob() {
  const input = (name, props = {}) => el("input", { name, autocomplete: "off", ...props });
  const error = el("p", { class: "error", role: "alert" });
  const form = el("form", { on: { submit: add } }, el("h2", { id: "add" }, "Add a job"),
    field("Name", input("name", { required: true, maxlength: 255 })), field("Type", input("type", { maxlength: 64, value: "default" })),
    field("URL (optional)", input("url", { maxlength: 500 })),
    field("Priority, smaller first", input("priority", { type: "number", value: 0, min: -32768, max: 32767 })),
    field("Delay in seconds", input("delay_s", { type: "number", value: 0, min: 0 })),
    field("Reason, for the audit (optional)", input("reason", { maxlength: 1000 })), error,
    el("div", { class: "buttons" }, el("button", { type: "submit" }, "Add"),
      el("button", { type: "button", class: "quiet", on: { click: () => dialog.close() } }, "Cancel")));
  const dialog = el("dialog", { "aria-labelledby": "add", on: { close: () => dialog.remove() } }, form);

  async function add(event) {
    event.preventDefault();
    const { name, type, url, priority, delay_s: delay, reason } = Object.fromEntries(new FormData(form));
    const job = { name, type, priority: Number(priority), delay_s: Number(delay) };
    try {
      const { res_id: id } = await api.post("/jobs", { ...job, ...(url ? { url } : {}), ...(reason ? { reason } : {}) });
      dialog.close();
      notice(`Job ${id} was added.`);
    } catch (refused) {
      error.textContent = refused.message;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
}
