// Clients that call all the time, and the books of what befalls them: the same for a gateway with OpenClaw behind it
// (upstream.mjs) and for OpenClaw alone (alone.mjs).
import assert from 'node:assert/strict';
import { until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

export const SCOPES = ['operator.read', 'operator.write'];
export const pause = (ms) => new Promise((ok) => setTimeout(ok, ms));
/** What `promise` gives, or null after `ms`. */
export const soon = (ms, promise) => Promise.race([promise, pause(ms).then(() => null)]);
/** What `promise` gives, within `ms`. */
export const within = (ms, what, promise) => {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${what}: nothing within ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
/** Whether a `chat` event ends the run `id`. */
export const ends = (id) => (p) => p.runId === id && ['final', 'error', 'aborted'].includes(p.state);

export class Fleet {
  /**
   * Clients of the gateway at `url`. `token()` is the shared token of now. An answer that says "come again later" is
   * right only after `waitMs`.
   */
  constructor(url, token, waitMs) {
    Object.assign(this, { url, token, waitMs, running: true });
    this.books = { calls: 0, answers: 0, late: 0, lost: 0, longestMs: 0, closed: 0, mustGo: 0, refused: 0, events: 0, gaps: 0 };
    this.closes = [];
    this.wrong = [];
    /** Connections that the plan of an edit named, by their ids: they may go. */
    this.doomed = new Set();
  }

  /** Attaches a client, or says why not. */
  async attach(name, o = { device: newDevice(), scopes: SCOPES }) {
    const client = new Client(this, name, o);
    await client.open();
    return client;
  }

  note(text) {
    this.wrong.push(`${new Date().toISOString().slice(11, 23)} ${text}`);
  }

  /** Waits until each of `clients` was answered well several times after now. */
  answered(what, clients, ms) {
    const were = clients.map((c) => c.answered);
    return until(`everyone to be answered after ${what}`, () => clients.every((c, i) => c.answered > were[i] + 3), ms);
  }
}

/** A client that keeps the books of its answers, its events' numbers and its end. */
class Client {
  constructor(fleet, name, o) {
    Object.assign(this, { fleet, name, o, answered: 0 });
  }

  async open() {
    const { fleet, name } = this;
    const s = await connect(fleet.url, { token: fleet.token(), ...this.o });
    assert.ok(s.hello, `${name}: ${JSON.stringify(s.refusal)}`);
    this.s = s;
    let seq = s.events.findLast((e) => typeof e.seq === 'number')?.seq;
    s.ws.on('message', (data) => {
      const frame = JSON.parse(String(data));
      if (frame.type !== 'event' || typeof frame.seq !== 'number') return;
      fleet.books.events++;
      if (seq !== undefined && frame.seq !== seq + 1) fleet.books.gaps++;
      seq = frame.seq;
    });
    s.closed.then((how) => {
      if (!fleet.running) return;
      if (fleet.doomed.has(s.hello.server.connId)) return fleet.books.mustGo++;
      fleet.books.closed++;
      fleet.closes.push(`${name} ${how.code} ${how.reason}`);
    });
  }

  /** Calls, and judges: an answer is right, or late for a gateway that was away for longer than it is waited for. */
  async call(method, params, fits = () => true) {
    const { fleet, s } = this, since = Date.now();
    fleet.books.calls++;
    const answer = await s.send(method, params).catch(() => null);
    if (!fleet.running) return;
    const took = Date.now() - since;
    // It was under way when its connection had to go.
    if (!answer) return fleet.doomed.has(s.hello.server.connId) ? fleet.books.calls-- : fleet.books.lost++;
    fleet.books.answers++;
    fleet.books.longestMs = Math.max(fleet.books.longestMs, took);
    const { code, retryAfterMs } = answer.error ?? {};
    if (answer.ok && fits(answer.payload)) return this.answered++;
    if (code === 'UNAVAILABLE' && retryAfterMs > 0 && took > fleet.waitMs * 0.9) return fleet.books.late++;
    fleet.note(`${this.name} ${method} after ${took} ms: ${JSON.stringify(answer.error ?? answer.payload)?.slice(0, 400)}`);
    await pause(200);
  }

  /** What agents do all day. */
  async loop() {
    while (this.fleet.running && !this.s.closedWith) {
      await this.call('sessions.list', {}, (p) => Array.isArray(p.sessions));
      await this.call('tools.invoke', { name: 'sessions_list', args: {} }, (p) => p.ok !== false);
      await this.call('health', {}, (p) => p.ok === true);
      await pause(200);
    }
  }

  /** The same, attached again whenever it was closed, as its program would be; what then is refused is counted. */
  async loopForGood() {
    while (this.fleet.running) {
      await this.loop();
      while (this.fleet.running && this.s.closedWith) {
        await this.open().catch(async (e) => {
          // While nobody listens there is nobody who refuses.
          if (!/ECONNREFUSED|before the challenge/.test(e.message)) {
            this.fleet.books.refused++;
            this.fleet.note(e.message.slice(0, 300));
          }
          await pause(500);
        });
      }
    }
  }
}
