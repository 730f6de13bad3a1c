// The scripted client: OpenClaw's handshake by hand, with every part open to being wrong.
//
// Written from the protocol pages and the recordings, so that the suites can do what no well-behaved
// library does: sign a foreign nonce, offer a dead token, ask for a role it never had.
import crypto from 'node:crypto';
import WebSocket from 'ws';

export const OPERATOR = ['operator.admin', 'operator.read', 'operator.write', 'operator.pairing', 'operator.approvals'];

const url64 = (bytes) => Buffer.from(bytes).toString('base64url');

/** Headers of a client that is not on this host, as a proxy would pass it on. */
export const AFAR = { 'X-Forwarded-For': '203.0.113.7' };

/** A new Ed25519 device. */
export function newDevice() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  return {
    deviceId: crypto.createHash('sha256').update(raw).digest('hex'),
    publicKey: url64(raw),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    sign: (text) => url64(crypto.sign(null, Buffer.from(text), privateKey)),
  };
}

/**
 * Connects and answers the challenge. `o`: {device, token, deviceToken, role, scopes, client, commands,
 * protocol: [min, max], origin, headers, twist(params, nonce)}. Resolves, also when refused, with a `Session`.
 */
export async function connect(url, o = {}) {
  const s = new Session(url, o);
  const { nonce, ts } = await s.challenge;
  const client = { id: 'cli', version: '1.0.0', platform: 'linux', mode: 'cli', ...o.client };
  const role = o.role ?? 'operator', scopes = o.scopes ?? (role === 'node' ? [] : OPERATOR);
  const [minProtocol, maxProtocol] = o.protocol ?? [4, 4];
  const params = { minProtocol, maxProtocol, client, role, scopes, caps: o.caps ?? [] };
  if (o.commands) params.commands = o.commands;
  const auth = { token: o.token, deviceToken: o.deviceToken, password: o.password, bootstrapToken: o.bootstrapToken };
  if (Object.values(auth).some((v) => v !== undefined)) params.auth = auth;
  if (o.device) {
    const slot = o.token ?? o.deviceToken ?? o.bootstrapToken ?? '';
    const family = (client.deviceFamily ?? '').trim().toLowerCase();
    const text = ['v3', o.device.deviceId, client.id, client.mode, role, scopes.join(','), ts, slot, nonce, client.platform.trim().toLowerCase(), family].join('|');
    params.device = { id: o.device.deviceId, publicKey: o.device.publicKey, signature: o.device.sign(text), signedAt: ts, nonce };
  }
  o.twist?.(params, nonce);
  const answer = await s.send('connect', params).catch((closed) => ({ ok: false, error: null, closed }));
  s.hello = answer.ok ? answer.payload : null;
  s.deviceId = o.device?.deviceId;
  s.refusal = answer.ok ? null : answer.error;
  if (!answer.ok) await s.closed;
  return s;
}

class Session {
  constructor(url, { origin, headers }) {
    this.events = [];
    this.waiting = new Map();
    this.ws = new WebSocket(url, { origin, headers });
    this.closed = new Promise((ok) => this.ws.once('close', (code, reason) => ok({ code, reason: String(reason) })));
    this.challenge = new Promise((ok, no) => {
      this.heard = (event) => { if (event.event === 'connect.challenge') ok(event.payload); };
      this.ws.once('error', no);
      this.closed.then((how) => no(new Error(`closed before the challenge: ${how.code} ${how.reason}`)));
    });
    this.ws.on('message', (data) => this.#take(JSON.parse(String(data))));
    this.closed.then((how) => {
      this.closedWith = how;
      for (const { no } of this.waiting.values()) no(Object.assign(new Error(`closed: ${how.code} ${how.reason}`), how));
    });
  }

  #take(frame) {
    if (frame.type === 'res') return this.waiting.get(frame.id)?.ok(frame);
    this.events.push(frame);
    this.heard(frame);
    this.onevent?.(frame);
  }

  /** Sends a request; resolves with the response frame, rejects when the socket closes first. */
  send(method, params) {
    const id = crypto.randomUUID();
    return new Promise((ok, no) => {
      if (this.closedWith) return no(Object.assign(new Error(`closed: ${this.closedWith.code} ${this.closedWith.reason}`), this.closedWith));
      this.waiting.set(id, { ok, no });
      this.ws.send(JSON.stringify({ type: 'req', id, method, params }));
    }).finally(() => this.waiting.delete(id));
  }

  /** Sends a request that has to succeed; resolves with its payload. */
  async call(method, params = {}) {
    const answer = await this.send(method, params);
    if (!answer.ok) throw new Error(`${method}: ${JSON.stringify(answer.error)}`);
    return answer.payload;
  }

  /** Resolves with the first event of this name, past or future. */
  event(name, fits = () => true) {
    const past = this.events.find((e) => e.event === name && fits(e.payload));
    if (past) return Promise.resolve(past);
    return new Promise((ok, no) => {
      this.onevent = (e) => { if (e.event === name && fits(e.payload)) ok(e); };
      this.closed.then((how) => no(new Error(`closed while waiting for ${name}: ${how.code}`)));
    });
  }

  get token() { return this.hello?.auth?.deviceToken; }

  async close() {
    this.ws.close();
    await this.closed;
  }
}
