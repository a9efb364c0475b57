// Chips -> requests within the server's limits, at most two in flight, each tried again where the
// server asks for that.

const IN_FLIGHT = 2;
const MOST_FILES = 32; // a request: answers come while others are on their way
const PART_OVERHEAD = 1024; // bytes, more than the headers of one part
const TRIES = 6;
const LONGEST_WAIT_S = 60;
const LONGEST_NAME = 200;

/** The request was refused, or never answered: a stable code, and a message for people. */
export class Refusal extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Chips wait here; `answer(item, result)` is called once for each, `wait(seconds)` before a pause. */
export class Queue {
  constructor({ answer, wait, key, limits }) {
    Object.assign(this, { answer, wait, key, limits });
    this.waiting = [];
    this.running = 0;
    this.abort = new AbortController();
  }

  add(items) {
    this.waiting.push(...items);
    while (this.running < IN_FLIGHT && this.waiting.length > 0) this.#work();
  }

  /** Forget what waits and end what is on its way; nothing of it is answered any more. */
  clear() {
    this.waiting = [];
    this.abort.abort();
    this.abort = new AbortController();
  }

  async #work() {
    this.running += 1;
    try {
      while (this.waiting.length > 0) await this.#request(this.abort.signal);
    } finally {
      this.running -= 1;
    }
  }

  async #request(signal) {
    const batch = this.#take();
    const finish = (item, result) => signal.aborted || this.answer(item, result);
    const readable = [];
    for (const item of batch) {
      const failure = await unreadable(item.file, this.limits);
      if (failure) finish(item, failure);
      else readable.push(item);
    }
    if (readable.length === 0) return;
    try {
      const { results, model } = await this.#send(readable, signal);
      readable.forEach((item, i) => finish(item, { ...results[i], version: model.version }));
    } catch (error) {
      if (signal.aborted) return;
      const { code, message } = error instanceof Refusal ? error : fault(error);
      for (const item of readable) finish(item, failed(code, message));
    }
  }

  /** The next chips that fit into one request; all of one set of options. */
  #take() {
    const { options } = this.waiting[0];
    let bytes = PART_OVERHEAD * 4; // the options
    let count = 0;
    for (const { file, options: other } of this.waiting) {
      bytes += file.size + PART_OVERHEAD;
      const full = count === Math.min(MOST_FILES, this.limits.max_files);
      if (count > 0 && (full || other !== options || bytes > this.limits.max_request_bytes)) break;
      count += 1;
    }
    return this.waiting.splice(0, count);
  }

  async #send(items, signal) {
    const form = new FormData();
    for (const { file } of items) form.append("files", file, file.name.slice(-LONGEST_NAME));
    form.append("explain", "true");
    for (const [name, value] of Object.entries(items[0].options)) form.append(name, value);
    const request = { method: "POST", body: form, signal };
    const body = await ask("v1/classify", { request, key: this.key, wait: this.wait });
    if (body.results?.length !== items.length) {
      throw new Refusal("bad_answer", "the server's answer does not fit what was sent");
    }
    return body;
  }
}

/** The JSON of a path of the API, tried again after 429, 503 and a broken connection. */
export async function ask(path, { request = {}, key, wait = () => {} }) {
  let pause = 0;
  for (let tries = 1; ; tries += 1) {
    const secret = key();
    const headers = secret ? { Authorization: `Bearer ${secret}` } : {};
    let refusal;
    try {
      const response = await fetch(path, { ...request, headers });
      const body = await response.json().catch(() => ({}));
      if (response.ok || body.results) return body;
      pause = retryAfter(response.headers.get("Retry-After"));
      refusal = refused(response.status, body);
      if (![429, 503].includes(response.status)) throw refusal;
    } catch (error) {
      if (error.name === "AbortError" || error === refusal) throw error;
      refusal = new Refusal("no_answer", "the server does not answer; look whether it runs");
      pause = null;
    }
    pause ??= 2 ** (tries - 1) / 2;
    if (tries === TRIES || pause > LONGEST_WAIT_S) throw refusal;
    wait(pause);
    await sleep(pause, request.signal);
  }
}

/** Seconds in a Retry-After header, which holds a number or a date; null where there is none. */
function retryAfter(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

function refused(status, body) {
  const { code = `http_${status}`, message = "the server refused the request" } = body.error ?? {};
  return new Refusal(code, message, status);
}

/** Why a file cannot be sent, as a result, or null. Folders and vanished files show only here. */
async function unreadable(file, { max_bytes, max_request_bytes }) {
  const most = Math.min(max_bytes, max_request_bytes - 5 * PART_OVERHEAD);
  if (file.size > most) return failed("too_large", `${file.size} bytes; the limit is ${most}`);
  try {
    await file.slice(0, 1).arrayBuffer();
    return null;
  } catch (error) {
    return failed("unreadable", `the browser cannot read it: ${error.message}`);
  }
}

function failed(code, message) {
  return { status: "error", error: { code, message } };
}

function fault(error) {
  console.error(error);
  return { code: "internal_error", message: `the page failed: ${error.message}` };
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
