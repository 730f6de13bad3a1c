// `gateway.tls` with the real clients: the CLI, the reference client and the headless node reach the port by
// `wss://`, each by its own way of trusting a certificate that no authority knows, and pin what they are told to.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GatewayClient } from '@openclaw/gateway-client';
import { Gateway, here, openclaw, openclawOk, run, until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

let g, early, fingerprint, secure;

before(async () => {
  g = await Gateway.start('tls');
  early = await connect(g.url, { device: newDevice(), token: g.token });
  g.edit((c) => { c.gateway.tls = { enabled: true }; });
  const file = path.join(g.state, 'gateway/tls/gateway-cert.pem');
  await until('the certificate', () => fs.existsSync(file));
  fingerprint = new crypto.X509Certificate(fs.readFileSync(file)).fingerprint256;
  secure = `wss://127.0.0.1:${g.port}`;
  await until('the edit to be applied', () => early.events.some((e) => e.event === 'config.reloaded'));
});
after(() => g?.end());

/** The reference client, pinned to `pin`; what it lived through is kept. */
function peer(pin, identity = newDevice()) {
  const p = { identity, hellos: 0, closes: [], errors: [] };
  const store = new Map();
  p.client = new GatewayClient({
    url: secure, tlsFingerprint: pin, token: g.token, clientName: 'cli', mode: 'cli', deviceIdentity: identity,
    scopes: ['operator.read', 'operator.write'],
    hostDeps: {
      signDevicePayload: (pem, payload) => crypto.sign(null, Buffer.from(payload), pem).toString('base64url'),
      publicKeyRawBase64UrlFromPem: (pem) => crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64url'),
      loadDeviceAuthToken: ({ role }) => store.get(role) ?? null,
      storeDeviceAuthToken: ({ token, scopes, role }) => store.set(role, { token, scopes }),
      clearDeviceAuthToken: ({ role }) => store.delete(role),
      logError: () => {},
    },
    onHelloOk: () => { p.hellos += 1; },
    onConnectError: (error) => p.errors.push(error.message),
    onClose: (code, reason) => p.closes.push({ code, reason }),
  });
  p.attached = (count) => until('hello-ok', () => p.hellos >= count, 20_000)
    .catch((e) => { throw new Error(`${e.message}: ${p.errors}`); });
  p.client.start();
  return p;
}

test('the CLI of the same host finds the certificate by itself', async () => {
  const health = await openclawOk(g, ['gateway', 'call', 'health', '--json']);
  assert.equal(health.json().ok, true);
  const status = (await openclawOk(g, ['status', '--json'])).json();
  assert.equal(status.gateway.reachable, true);
  assert.equal(status.gateway.url, secure);
});

test('and one elsewhere with the fingerprint in its own configuration', async () => {
  const home = path.join(g.home, 'elsewhere');
  const file = path.join(home, 'openclaw.json');
  const write = (pin) => {
    fs.mkdirSync(home, { recursive: true });
    fs.writeFileSync(file, JSON.stringify({ gateway: { mode: 'remote', remote: { url: secure, token: g.token, tlsFingerprint: pin } } }));
  };
  const env = { HOME: home, OPENCLAW_HOME: home, OPENCLAW_STATE_DIR: home, OPENCLAW_CONFIG_PATH: file };
  write(fingerprint);
  assert.equal((await openclawOk(g, ['gateway', 'call', 'health', '--json'], '.', env)).json().ok, true);
  write('AB'.repeat(32));
  const refused = await openclaw(g, ['gateway', 'call', 'health', '--json'], '.', env);
  assert.notEqual(refused.code, 0);
  assert.match(refused.out + refused.err, /fingerprint/i);
});

test('the reference client attaches with the pin, and not with another', async () => {
  const p = peer(fingerprint);
  await p.attached(1);
  assert.equal((await p.client.request('health', {})).ok, true);
  await p.client.stopAndWait();
  const wrong = peer('AB'.repeat(32));
  await until('it to refuse', () => wrong.errors.some((e) => /fingerprint/i.test(e)));
  assert.equal(wrong.hellos, 0);
  await wrong.client.stopAndWait();
});

test('a restart closes who speaks TLS with 1012, and it is back by itself; who came before is not closed', async () => {
  const p = peer(fingerprint);
  await p.attached(1);
  const r = await run(g.program, ['gateway', 'restart'], g.env());
  assert.equal(r.code, 0, r.out + r.err);
  await p.attached(2);
  assert.deepEqual(p.closes.map((c) => c.code), [1012]);
  assert.equal((await p.client.request('health', {})).ok, true);
  assert.equal((await early.call('health')).ok, true);
  assert.equal(early.closedWith, undefined);
  await p.client.stopAndWait();
});

test('the headless node attaches by TLS', async () => {
  const home = path.join(g.home, 'node');
  fs.mkdirSync(home);
  const node = spawn(process.execPath, [
    path.join(here, 'node_modules/openclaw/openclaw.mjs'), 'node', 'run', '--host', '127.0.0.1', '--port', String(g.port),
    '--tls', '--tls-fingerprint', fingerprint, '--display-name', 'headless',
  ], {
    env: g.env({ HOME: home, OPENCLAW_HOME: home, OPENCLAW_STATE_DIR: home, OPENCLAW_CONFIG_PATH: path.join(home, 'openclaw.json'), OPENCLAW_GATEWAY_TOKEN: g.token }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const out of [node.stdout, node.stderr]) out.on('data', (d) => (said += d));
  try {
    await until('the node to be listed', async () => (await early.call('node.list')).nodes.some((n) => n.displayName === 'headless' && n.connected), 120_000)
      .catch((e) => { throw new Error(`${e.message}\n${said}\n${g.tail()}`); });
  } finally {
    node.kill('SIGKILL');
  }
});

test('switched off, the next comes in plain', async () => {
  g.edit((c) => { delete c.gateway.tls; });
  const plain = await until('the port to speak plainly', () => connect(g.url, { token: g.token }));
  assert.ok(plain.hello, JSON.stringify(plain.refusal));
  assert.equal((await early.call('health')).ok, true);
});
