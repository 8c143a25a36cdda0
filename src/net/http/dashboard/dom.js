// Elements from text. Nothing here takes markup: a name, a payload or an error can only become text.

/** An element. `props`: attributes; `class`; `on`, an object of listeners. Children are nodes or text; null is skipped. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (text, click, props = {}) => el("button", { type: "button", on: { click }, ...props }, text);

/** A table that stays one for screen readers when a narrow window shows its rows as cards. */
export function table(caption, columns) {
  const cells = columns.map((name) => el("th", { scope: "col", role: "columnheader" }, name));
  const body = el("tbody", { role: "rowgroup" });
  const whole = el("table", { role: "table" }, el("caption", { class: "hidden-text" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, cells)), body);
  const row = (values, props = {}) => el("tr", { role: "row", ...props }, values.map((value, at) =>
    el("td", { role: "cell", "data-label": columns[at] }, ...[value].flat())));
  return { whole: el("div", { class: "table" }, whole), body, row };
}

/** A field with its label. */
export function field(label, input) {
  return el("label", { class: "field" }, el("span", {}, label), input);
}

/** A status as a word and a mark, so that it does not depend on colour. */
export function status(name) {
  const words = { new: "New", in_progress: "In progress", done: "Done", error: "Error" };
  const marks = { new: "○", in_progress: "◐", done: "●", error: "▲" };
  return el("span", { class: `status ${words[name] ? name : ""}` },
    el("span", { "aria-hidden": "true" }, marks[name] ?? "?"), ` ${words[name] ?? "unknown"}`);
}

let clears = 0;

/** Says something to the user, seen and heard. */
export function notice(text, isError = false) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.classList.toggle("error", isError);
  place.classList.add("shown");
  clearTimeout(clears);
  clears = setTimeout(() => place.classList.remove("shown"), isError ? 12000 : 5000);
}
