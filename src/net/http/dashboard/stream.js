// The page's one connection for live data: Server-Sent Events, read by hand because a browser's EventSource cannot receive
// events whose names it does not know. Resumes after the last number that it has seen.

const SILENCE_MS = 20000; // The daemon sends something at least every 15 s.
const LONGEST_PAUSE_MS = 5000;

/** Splits a stream into its messages: calls `message(id, data)`; either may be null. */
export function parser(message) {
  let rest = "", id = null, data = [];
  const line = (text) => {
    if (text === "") {
      if (id !== null || data.length) message(id, data.length ? data.join("\n") : null);
      id = null;
      data = [];
    } else if (text.startsWith("id:")) {
      id = text.slice(3).trim();
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text[5] === " " ? 6 : 5));
    }
  };
  return (chunk) => {
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(line);
  };
}

/**
 * Opens a stream. `wants`: { subs: [pattern…], since, watch: [topic…] }. `on`: { event, gap, watch, state }.
 * An event is { seq, state, time, payload, raw }; `seq` is text, `raw` the payload as it was published.
 */
export function open(wants, on) {
  let position = wants.since ?? null, log = null, pause = 250, isClosed = false;
  let abort = new AbortController(), timer = 0, silence = 0;

  /** Numbers of another log mean other events: all of them are new here. */
  const enter = (name) => {
    const isOther = log !== null && log !== name;
    log = name;
    if (!isOther) return;
    position = "0";
    on.gap?.({ gap: "replaced" });
    abort.abort();
  };

  const receive = (id, data) => {
    if (abort.signal.aborted) return;
    if (data === null) {
      if (id !== null) position = id;
      return;
    }
    const message = JSON.parse(data);
    if (message.log_id) {
      enter(message.log_id);
      return;
    }
    if (message.overview || message.subscribers) {
      on.watch?.(message);
    } else if (message.gap) {
      on.gap?.(message);
    } else {
      const seq = id ?? "0";
      on.event?.({ seq, state: message.state, time: message.time, payload: message.payload, raw: payload(data) });
    }
    if (id !== null) position = id;
  };

  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => abort.abort(), SILENCE_MS);
  };

  const connect = async () => {
    abort = new AbortController();
    const query = new URLSearchParams();
    for (const sub of wants.subs ?? []) query.append("sub", sub);
    for (const topic of wants.watch ?? []) query.append("watch", topic);
    const headers = { Accept: "text/event-stream" };
    if (position !== null) headers["Last-Event-ID"] = position;
    let refused = null;
    try {
      listen();
      const response = await fetch(`/api/v1/stream?${query}`, { headers, signal: abort.signal, cache: "no-store" });
      if (!response.ok) {
        refused = response.status;
        throw new Error(await response.text());
      }
      on.state?.("live");
      pause = 250;
      const feed = parser(receive);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        listen();
        feed(value);
      }
    } catch {
      // The connection ended or never was one: whatever the reason, the next one goes on where this one ended.
    }
    clearTimeout(silence);
    // Also after an error of our own: an answer that nobody reads stays open.
    abort.abort();
    if (isClosed) return;
    on.state?.(refused === 401 ? "refused" : "lost", refused);
    if (refused === 401) return;
    timer = setTimeout(connect, pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  };

  connect();
  return {
    close() {
      isClosed = true;
      clearTimeout(timer);
      clearTimeout(silence);
      abort.abort();
    },
  };
}

/** The events of an answer of the JSON interface, in the form of those of a stream. `text` is the answer as it was sent. */
export function eventsOf(text, events) {
  const list = text.slice(text.lastIndexOf('"events":[{"seq":') + 10, text.lastIndexOf("]"));
  const lines = list.split(/,(?=\{"seq":\d+,"time":"[^"]*","state":"[^"]*","payload":)/);
  return events.map((event, i) => {
    const seq = /^\{"seq":(\d+)/.exec(lines[i] ?? "")?.[1] ?? String(event.seq);
    return { ...event, seq, raw: lines.length === events.length ? payload(lines[i]) : JSON.stringify(event.payload) };
  });
}

/** The payload within an event's line, where it is the last part: parsing it would round great numbers. */
function payload(line) {
  const key = '"payload":';
  const at = line.indexOf(key);
  return at < 0 ? "" : line.slice(at + key.length, line.lastIndexOf("}"));
}
