// Numbers, durations and times as words. Integers above 2^53 arrive as strings and stay exact.

export function count(value, isMore = false) {
  if (value === null || value === undefined) return "–";
  const digits = String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  return isMore ? `${digits}+` : digits;
}

export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value === 0 ? "0" : value < 10 ? value.toFixed(1) : count(Math.round(value));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Number(seconds);
  if (s < 0.001) return "0 s";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

export function bytes(n) {
  return n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

/** A server's time, `2026-11-25 10:00:00` or RFC 3339, both UTC; null: it is none. */
export function parse(text) {
  if (!text) return null;
  const time = new Date(/[Zz]$/.test(text) ? text : `${text.replace(" ", "T")}Z`);
  return Number.isNaN(time.getTime()) ? null : time;
}

/** The time in the reader's zone, with the server's own words as a tooltip. */
export function time(text) {
  const at = parse(text);
  const element = document.createElement("time");
  if (!at) {
    element.textContent = text || "–";
    return element;
  }
  const isToday = at.toDateString() === new Date().toDateString();
  element.dateTime = at.toISOString();
  element.title = `${text} (UTC)`;
  element.textContent = isToday ? at.toLocaleTimeString() : at.toLocaleString();
  return element;
}
