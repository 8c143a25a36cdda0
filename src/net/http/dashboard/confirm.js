// The question before an action. A native dialog: Escape closes it, and the focus stays inside.

import { el, field } from "./dom.js";

/** Asks; the reason given (may be empty), or null if the user decided against it. */
export function confirm({ title, text, action, isDangerous = false }) {
  return new Promise((answer) => {
    const reason = el("input", { type: "text", maxlength: 1000, autocomplete: "off" });
    const dialog = el("dialog", { "aria-labelledby": "question" },
      el("form", { method: "dialog" }, el("h2", { id: "question" }, title), el("p", {}, text),
        field("Reason, for the audit (optional)", reason),
        el("div", { class: "buttons" },
          el("button", { value: "yes", class: isDangerous ? "danger" : "" }, action),
          el("button", { value: "", class: "quiet", formnovalidate: true }, "Cancel"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes" ? reason.value.trim() : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    reason.focus();
  });
}
