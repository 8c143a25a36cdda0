// The form that turns a token into a login.

import * as api from "./api.js";
import { el, field } from "./dom.js";

export function login(done) {
  const token = el("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const error = el("p", { class: "error", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      error.textContent = "";
      await api.logIn(token.value);
      await done();
    } catch (refused) {
      error.textContent = `Not logged in: ${refused.message}.`;
      token.select();
    }
  };
  const back = el("button", { type: "button", class: "quiet", on: { click: done } }, "Back");
  return [
    el("form", { class: "login card", on: { submit } }, el("h1", {}, "Log in"),
      el("p", {}, "With http.token of the settings you may act, with http.read_token you may read."),
      field("Token", token), error,
      el("div", { class: "buttons" }, el("button", { type: "submit" }, "Log in"), back)),
  ];
}
