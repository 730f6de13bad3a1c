// Clients that erase their stored device token because of the words of a refusal.
//
// Three rules are in the field. `text`: OpenClaw's Node client since 2026.1 erases when a 1008 close holds
// "device token mismatch" and it has no explicit token. `code`: since 2026.8 also when the refusal's code is
// AUTH_DEVICE_TOKEN_MISMATCH and the stored token was sent. `any`: older Control UIs and several libraries
// erase on any refused connect while they also have the shared token. The first two go through every
// refusal and may lose the token only where an operator took the role away. The third cannot be saved from
// a refusal, so a paired device must never meet one: not while files change, not while the gateway stops.
//
// To see it fail: let `Refusal::SharedMismatch` or `Waiting` say "device token mismatch" (as 2026.2.17 does
// for six different failures), or let a paired device with a wrong bearer token fall through to the shared
// token's verdict in `auth::policy::paired`.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gateway, until } from './gateway.mjs';
import { AFAR, connect, newDevice } from './wire.mjs';

const READ = ['operator.read'];

class Eraser {
  constructor(rule, device, token, shared) {
    Object.assign(this, { rule, device, token, shared, erased: 0, refusals: [] });
  }

  /** Connects as its rule's client does, `o` twists it; erases as its rule's client does. */
  async attach(url, o = {}) {
    const sent = this.rule === 'any' ? (this.token ?? this.shared) : this.token;
    const s = await connect(url, { device: this.device, token: sent, scopes: READ, ...o });
    if (s.hello) {
      this.token = s.token ?? this.token;
      return s;
    }
    const { code, reason } = s.closedWith;
    if (s.refusal) this.refusals.push(s.refusal);
    const words = code === 1008 && reason.toLowerCase().includes('device token mismatch');
    const named = s.refusal?.details?.code === 'AUTH_DEVICE_TOKEN_MISMATCH';
    const erases = { text: words, code: words || named, any: Boolean(s.refusal) && this.token && this.shared }[this.rule];
    if (erases) {
      this.erased += 1;
      this.token = undefined;
    }
    return s;
  }
}

let g, admin;
before(async () => {
  g = await Gateway.start('erase');
  admin = await connect(g.url, { token: g.token });
});
after(() => g?.end());

const restart = async (signal, env) => {
  await g.restart(signal, env);
  admin = await connect(g.url, { token: g.token });
};

/** A device that an operator's token paired, with its token. */
async function pair(scopes = READ) {
  const device = newDevice();
  const s = await connect(g.url, { device, token: g.token, scopes });
  assert.ok(s.token, JSON.stringify(s.refusal));
  await s.close();
  return [device, s.token];
}

const spoilt = (change) => ({ twist: (params) => change(params.device) });
const stranger = newDevice();

/** Every refusal: what is sent, what has to come back, and what has to be so before. */
const refusals = [
  { name: 'wrong shared token, no device', send: { device: undefined, token: 'wrong' }, code: 'AUTH_TOKEN_MISMATCH' },
  { name: 'wrong shared token, unknown device', send: { device: stranger, token: 'wrong' }, code: 'AUTH_TOKEN_MISMATCH' },
  { name: 'nothing at all', send: { device: undefined, token: undefined }, code: 'DEVICE_IDENTITY_REQUIRED' },
  { name: 'no token, unknown device', send: { device: stranger, token: undefined }, code: 'AUTH_TOKEN_MISSING' },
  { name: 'somebody else’s device token', send: { device: stranger }, code: 'AUTH_TOKEN_MISMATCH' },
  { name: 'a made-up device token, unknown device', send: { device: stranger, token: undefined, deviceToken: 'x'.repeat(43) }, code: 'PAIRING_REQUIRED' },
  { name: 'bad signature', send: spoilt((d) => { d.signature = 'A'.repeat(86); }), code: 'DEVICE_AUTH_SIGNATURE_INVALID' },
  { name: 'foreign nonce', send: spoilt((d) => { d.nonce = 'of-another-connection'; }), code: 'DEVICE_AUTH_NONCE_MISMATCH' },
  { name: 'no nonce', send: spoilt((d) => { delete d.nonce; }), code: 'DEVICE_AUTH_NONCE_REQUIRED' },
  { name: 'id is not the key’s', send: spoilt((d) => { d.id = '0'.repeat(64); }), code: 'DEVICE_AUTH_DEVICE_ID_MISMATCH' },
  { name: 'key is no key', send: spoilt((d) => { d.publicKey = 'AAAA'; }), code: 'DEVICE_AUTH_PUBLIC_KEY_INVALID' },
  { name: 'protocol 1 to 2', send: { protocol: [1, 2] }, code: 'PROTOCOL_MISMATCH' },
  { name: 'a role that does not exist', send: { role: 'king' }, code: undefined },
  { name: 'origin not allowed', send: { origin: 'https://elsewhere.example', client: { id: 'openclaw-control-ui', mode: 'ui' } }, code: 'CONTROL_UI_ORIGIN_NOT_ALLOWED' },
  { name: 'role not approved', send: { role: 'node', scopes: [], headers: AFAR }, code: 'PAIRING_REQUIRED' },
  { name: 'a dead setup code', send: { device: stranger, token: undefined, bootstrapToken: 'spent' }, code: 'AUTH_BOOTSTRAP_TOKEN_INVALID' },
  {
    name: 'wrong shared token, paired device, where the key alone is not enough', code: 'AUTH_TOKEN_MISMATCH',
    send: { token: 'wrong' }, config: (gateway) => { gateway.auth.deviceKeyProof = false; },
  },
  {
    name: 'token of the other role, where the key alone is not enough', code: 'AUTH_SCOPE_MISMATCH',
    send: async () => {
      const [device] = await pair();
      const node = await connect(g.url, { device, token: g.token, role: 'node' });
      return { device, token: node.token };
    },
    config: (gateway) => { gateway.auth.deviceKeyProof = false; },
  },
  {
    name: 'too many guesses', code: 'AUTH_RATE_LIMITED',
    send: async () => {
      await until('the limiter to lock', async () => {
        const s = await connect(g.url, { token: `guess ${Math.random()}`, headers: AFAR });
        return s.refusal.details.code === 'AUTH_RATE_LIMITED';
      });
      return { device: stranger, token: 'one more', headers: AFAR };
    },
  },
];

for (const rule of ['text', 'code']) {
  describe(`the ${rule} rule`, () => {
    for (const { name, send, code, config } of refusals) {
      test(`keeps its token: ${name}`, async () => {
        const eraser = new Eraser(rule, ...(await pair()));
        if (config) {
          g.edit((c) => config(c.gateway));
          await restart();
        }
        const refused = await eraser.attach(g.url, typeof send === 'function' ? await send() : send);
        if (config) {
          g.edit((c) => { delete c.gateway.auth.deviceKeyProof; });
          await restart();
        }
        assert.equal(refused.hello, null, 'it has to be refused');
        assert.equal(refused.refusal.details?.code, code, JSON.stringify(refused.refusal));
        assert.equal(eraser.erased, 0, refused.closedWith.reason);
        const back = await eraser.attach(g.url);
        assert.ok(back.hello, JSON.stringify(back.refusal));
        await back.close();
      });
    }

    test('keeps its token while the gateway stops', async () => {
      const eraser = new Eraser(rule, ...(await pair()));
      const stopping = g.stop();
      for (let gone = false; !gone; ) gone = await eraser.attach(g.url).then((s) => (s.hello ? s.close() : undefined), () => true);
      await stopping;
      await g.up();
      admin = await connect(g.url, { token: g.token });
      assert.equal(eraser.erased, 0);
      assert.ok((await eraser.attach(g.url)).hello);
    });

    test('loses its token when an operator revokes the role, and only then', async () => {
      const eraser = new Eraser(rule, ...(await pair()));
      await admin.call('device.token.rotate', { deviceId: eraser.device.deviceId, role: 'operator' });
      await admin.call('device.token.rotate', { deviceId: eraser.device.deviceId, role: 'operator' });
      assert.ok((await eraser.attach(g.url)).hello, 'rotation is no revocation');
      await admin.call('device.token.revoke', { deviceId: eraser.device.deviceId, role: 'operator' });
      const refused = await eraser.attach(g.url);
      assert.equal(refused.hello, null);
      assert.equal(eraser.erased, 1, JSON.stringify([refused.refusal, refused.closedWith]));
    });
  });
}

describe('the any rule: a paired device is never refused', () => {
  let eraser;
  before(async () => { eraser = new Eraser('any', ...(await pair()), g.token); });

  const attaches = async () => {
    const s = await eraser.attach(g.url);
    assert.ok(s.hello, JSON.stringify(s.refusal ?? s.closedWith));
    assert.equal(eraser.erased, 0);
    await s.close();
  };
  const file = () => path.join(g.state, 'openclaw.json');

  /** What a user does to the gateway; the device connects before, after, and after a restart by each way. */
  const states = {
    'nothing': () => {},
    'its token rotated twice': async () => {
      for (let i = 0; i < 2; i++) await admin.call('device.token.rotate', { deviceId: eraser.device.deviceId, role: 'operator' });
    },
    'its stored token corrupted': () => { eraser.token = 'x'.repeat(43); },
    'another shared token': () => g.edit((c) => { c.gateway.auth.token = g.token = 'T2'; }),
    'auth mode none': () => g.edit((c) => { c.gateway.auth = { mode: 'none' }; }),
    'auth mode token again': () => g.edit((c) => { c.gateway.auth = { mode: 'token', token: g.token }; }),
    'a password instead': () => g.edit((c) => { c.gateway.auth = { mode: 'password', password: 'P1' }; }),
    'and back': () => g.edit((c) => { c.gateway.auth = { mode: 'token', token: g.token }; }),
    'the WhatsApp keys moved': () => g.edit((c) => { c.channels = { whatsapp: { ackReaction: { emoji: '👀' } } }; }),
    'a file that is no JSON': () => fs.writeFileSync(file(), '{ gateway: { auth: '),
    'a restored backup': () => { fs.rmSync(file()); g.edit((c) => { c.gateway = { mode: 'local', bind: 'loopback', port: g.port, auth: { mode: 'token', token: g.token } }; }); },
    'a locked address': async () => {
      await until('the limiter to lock', async () => (await connect(g.url, { token: `guess ${Math.random()}` })).refusal?.details?.code === 'AUTH_RATE_LIMITED');
    },
  };
  for (const [what, change] of Object.entries(states)) {
    test(`with ${what}`, async () => {
      await attaches();
      await change();
      await attaches();
      for (const signal of ['SIGTERM', 'SIGKILL']) {
        await g.restart(signal);
        await attaches();
      }
      admin = await connect(g.url, { token: g.token });
    });
  }
  test('with OPENCLAW_GATEWAY_TOKEN set to another value', async () => {
    await g.restart('SIGTERM', { OPENCLAW_GATEWAY_TOKEN: 'from an old unit file' });
    await attaches();
    await restart();
  });
  test('ten of them knocking without a pause through restarts', async () => {
    const tries = { hello: 0, unreachable: 0, cut: 0 };
    let over = false;
    const knock = async () => {
      while (!over) {
        const s = await eraser.attach(g.url).catch(() => null);
        tries[s?.hello ? 'hello' : s ? 'cut' : 'unreachable'] += 1;
        s?.ws.terminate();
      }
    };
    const knocking = Array.from({ length: 10 }, knock);
    // On a busy machine few get in between two ends.
    for (let i = 0; i < 10 || (i < 100 && tries.hello <= 20); i++) await g.restart(i % 2 ? 'SIGKILL' : 'SIGTERM');
    over = true;
    await Promise.all(knocking);
    assert.deepEqual(eraser.refusals, [], JSON.stringify(tries));
    assert.ok(tries.hello > 20, JSON.stringify(tries));
  });
});
