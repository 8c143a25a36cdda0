// Requests to the JSON interface. An error carries the daemon's own words.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "resqd does not answer");
  }
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: what is between here and resqd answered.
  }
  if (!response.ok) throw new Refused(response.status, body?.error ?? `${response.status} ${response.statusText}`);
  return { body, text };
}

/** Reads `/api/v1` + path. Empty parameters are left out. */
export async function get(path, parameters = {}, signal = undefined) {
  return (await getText(path, parameters, signal)).body;
}

/** As `get`, with the text as it was sent. */
export async function getText(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.append(name, value);
  }
  const tail = query.size ? `?${query}` : "";
  return request(`/api/v1${path}${tail}`, { signal });
}

const asJson = (body) => ({
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

export const post = async (path, body = {}) => (await request(`/api/v1${path}`, asJson(body))).body;

/** What this browser may do: "act", "read", or null before a login. */
export const right = async () => (await request("/login", {})).body;

export const logIn = async (token) => (await request("/login", asJson({ token }))).body;

export const logOut = async () => (await request("/logout", asJson({}))).body;
