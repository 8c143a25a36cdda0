// The frame of the page: which view is shown, its stream, the login and the theme. Each view is a function that gets the
// context below, fills `main` and returns what its stream wants; it ends when `signal` aborts.

import * as api from "./api.js";
import { el, notice } from "./dom.js";
import { open } from "./stream.js";
import { login } from "./login.js";
import { overview } from "./overview.js";
import { jobs } from "./jobs.js";
import { job } from "./job.js";
import { databases } from "./databases.js";
import { events } from "./events.js";
import { subscribers } from "./subscribers.js";
import { audit } from "./audit.js";
import { rollouts } from "./rollouts.js";

const VIEWS = { overview, jobs, databases, rollouts, events, subscribers, audit };
const main = document.getElementById("main");
const state = { right: null, canLogIn: false, stream: null, ends: new AbortController(), overview: null };

/** `#/jobs/17?status=error` as a view's name, what follows it, and its parameters. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, item] = path.split("/").map(decodeURIComponent);
  return { name: name || "overview", item, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

function links() {
  const list = document.getElementById("views");
  for (const name of Object.keys(VIEWS)) {
    list.append(el("li", {}, el("a", { href: `#/${name}`, "data-view": name }, name[0].toUpperCase() + name.slice(1))));
  }
}

function mark(name) {
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.view === name) {
      link.setAttribute("aria-current", "page");
      const list = link.closest("nav");
      list.scrollLeft = Math.max(0, link.offsetLeft - list.clientWidth / 2);
    } else {
      link.removeAttribute("aria-current");
    }
  }
}

const CONNECTION = { live: "Live", lost: "Reconnecting", refused: "Logged out" };

function connection(name) {
  const place = document.getElementById("connection");
  place.dataset.state = name;
  // Another view's stream is no news to a screen reader.
  const words = CONNECTION[name] ?? place.textContent;
  if (place.textContent !== words) place.textContent = words;
}

async function show() {
  state.ends.abort();
  state.stream?.close();
  state.stream = null;
  state.ends = new AbortController();
  const { signal } = state.ends;
  const address = location.hash;
  delete main.dataset.shown;
  if (state.right === null) {
    main.replaceChildren(...login(begin));
    return;
  }
  const { name, item, parameters } = place();
  const view = name === "jobs" && item ? job : VIEWS[name];
  if (!view) {
    main.replaceChildren(el("h1", {}, "There is no such view"), el("p", {}, el("a", { href: "#/overview" }, "Overview")));
    return;
  }
  mark(name);
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · resq`;
  const reopen = (wants) => {
    state.stream?.close();
    connection("connecting");
    state.stream = open({ ...wants, watch: ["overview", ...(wants.watch ?? [])] }, {
      ...wants.on,
      state(name) {
        if (signal.aborted) return;
        connection(name);
        if (name === "refused") begin();
        wants.on?.state?.(name);
      },
      watch(message) {
        if (message.overview) state.overview = message.overview;
        wants.on?.watch?.(message);
      },
    });
  };
  const context = { main, item, parameters, signal, reopen, mayAct: state.right === "act", last: state.overview };
  main.setAttribute("aria-busy", "true");
  try {
    await view(context);
    if (!signal.aborted) main.dataset.shown = address;
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (error.status === 401) return begin();
    main.replaceChildren(el("h1", {}, "This view cannot be shown"), el("p", {}, error.message),
      el("button", { type: "button", on: { click: show } }, "Try again"));
    reopen({});
    // A restart, or a database that is away: over soon.
    if (error.status === 0 || error.status === 503) {
      const again = setTimeout(show, 1000);
      signal.addEventListener("abort", () => clearTimeout(again));
    }
  } finally {
    if (!signal.aborted) main.setAttribute("aria-busy", "false");
  }
}

/** Learns what this browser may do, then shows what the address asks for. */
async function begin() {
  try {
    const session = await api.right();
    state.right = session.right;
    state.canLogIn = session.login;
  } catch (error) {
    connection("lost");
    main.replaceChildren(el("h1", {}, "resqd does not answer"), el("p", {}, error.message));
    setTimeout(begin, 2000);
    return;
  }
  const button = document.getElementById("login");
  button.hidden = !state.canLogIn;
  button.textContent = state.right === null ? "Log in" : state.right === "act" ? "Log out" : "Log in to act";
  document.body.dataset.right = state.right ?? "none";
  await show();
}

async function changeLogin() {
  if (state.right === "act") {
    await api.logOut().catch((error) => notice(error.message, true));
    await begin();
  } else {
    state.right = null;
    state.ends.abort();
    state.stream?.close();
    main.replaceChildren(...login(begin));
  }
}

/** A link with `#token=…` logs in at once; the token leaves the address and the history. */
async function logInByLink() {
  const token = new URLSearchParams(location.hash.replace(/^#/, "")).get("token");
  if (token === null) return;
  history.replaceState(null, "", "#/overview");
  await api.logIn(token).catch((error) => notice(error.message, true));
}

const THEMES = ["system", "light", "dark"];

function theme(name) {
  document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("resq-theme", name);
  document.dispatchEvent(new Event("theme"));
}

links();
const kept = localStorage.getItem("resq-theme");
theme(THEMES.includes(kept) ? kept : "system");
document.getElementById("theme").addEventListener("click", () => {
  theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});
document.getElementById("login").addEventListener("click", changeLogin);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
addEventListener("hashchange", async () => {
  await logInByLink();
  await (state.right === null ? begin() : show());
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
// A browser may keep a page that was left, with its stream; it comes back as if it had never been away.
addEventListener("pagehide", () => {
  state.ends.abort();
  state.stream?.close();
});
addEventListener("pageshow", (event) => event.persisted && begin());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
await logInByLink();
await begin();
