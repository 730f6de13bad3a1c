// A real OpenClaw of another host behind the gateway under test: TLS with its own certificate, a state of its own, and
// an address that is not loopback, which OpenClaw treats as another host's. This gateway is a device there.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Gateway, freePort, openclawOk, run, until } from './gateway.mjs';
import { OpenClaw } from './openclaw.mjs';
import { connect, newDevice } from './wire.mjs';

// The certificate of the other gateway is signed by itself; the one under test pins it.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';

const address = Object.values(os.networkInterfaces()).flat().find((a) => a.family === 'IPv4' && !a.internal)?.address;
const skip = address ? false : 'this host has no address but loopback';
const SLOW = 120_000;

let g, server, client;

/** The host of the other gateway: a home of its own, whose CLI approves what waits there. */
async function elsewhere() {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'barnacle-elsewhere-'));
  const state = path.join(home, '.openclaw');
  const host = {
    home, state,
    env: (more = {}) => ({
      PATH: process.env.PATH, HOME: home, OPENCLAW_HOME: home, OPENCLAW_STATE_DIR: state,
      OPENCLAW_CONFIG_PATH: path.join(state, 'openclaw.json'), NO_COLOR: '1', ...more,
    }),
    tail: () => '',
  };
  const port = await freePort();
  fs.mkdirSync(state);
  fs.writeFileSync(path.join(state, 'openclaw.json'), JSON.stringify({
    gateway: { mode: 'local', bind: 'lan', port, auth: { mode: 'token', token: 'S1' }, tls: { enabled: true }, nodes: { pairing: { sshVerify: false } } },
  }));
  const o = new OpenClaw(host, port);
  o.url = `wss://${address}:${port}`;
  o.cert = path.join(state, 'gateway/tls/gateway-cert.pem');
  o.pin = () => new crypto.X509Certificate(fs.readFileSync(o.cert)).fingerprint256;
  o.cli = (...args) => openclawOk(host, args);
  o.listens = () => until('OpenClaw to listen', () => new Promise((ok, no) => {
    const ws = new WebSocket(o.url, { rejectUnauthorized: false });
    ws.once('open', () => { ws.terminate(); ok(true); });
    ws.once('error', no);
  }), 240_000);
  return o;
}

before(async () => {
  if (skip) return;
  server = await elsewhere();
  server.spawn();
  g = await Gateway.start('remote', {}, { kept: false });
  fs.writeFileSync(path.join(g.home, 'token'), 'S1\n', { mode: 0o600 });
  client = await connect(g.url, { token: g.token });
  await server.listens();
});
after(async () => {
  await client?.close();
  await server?.stop('SIGKILL');
  await g?.end();
  if (server) fs.rmSync(server.g.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

/** Barnacle's own file. */
function upstream(more = {}) {
  const file = path.join(g.state, 'barnacle/barnacle.json');
  const keys = { url: server.url, tlsFingerprint: server.pin(), tokenFile: path.join(g.home, 'token'), ...more };
  fs.writeFileSync(`${file}.new`, JSON.stringify({ upstream: keys }));
  fs.renameSync(`${file}.new`, file);
}

const report = async () => (await client.call('health')).upstream ?? {};
const told = (what, fits) => until(what, async () => {
  const now = await report();
  if (!fits(now)) throw new Error(`${JSON.stringify(now)}\n${g.tail()}`);
  return now;
}, SLOW);
const connected = () => told('it to be connected', (now) => now.state === 'connected');
const grants = () => JSON.parse(fs.readFileSync(path.join(g.state, 'barnacle/upstream-tokens.json'), 'utf8')).grants;

/** The first request that waits there and fits. */
async function asked(fits) {
  const now = await told('a request', (r) => r.pairings?.some(fits));
  return now.pairings.find(fits);
}

/** What the owner of the other host does there; its CLI takes seconds for each. */
async function there(method, params) {
  const owner = await connect(server.url.replace(address, '127.0.0.1'), { token: 'S1', client: { id: 'gateway-client', mode: 'backend' } });
  await owner.call(method, params);
  await owner.close();
}

const approve = ({ requestId }) => there('device.pair.approve', { requestId });

test('the pairing is asked for, named, and used as soon as it is approved', { skip }, async () => {
  upstream();
  const request = await asked((p) => p.role === 'operator');
  const refused = await client.send('sessions.list', {});
  assert.equal(refused.error.code, 'UNAVAILABLE');
  assert.match(refused.error.message, new RegExp(request.requestId));
  const doctor = await run(g.program, ['doctor'], g.env());
  assert.match(doctor.out + doctor.err, new RegExp(request.command));
  assert.equal(request.command, `openclaw devices approve ${request.requestId}`);
  await server.cli(...request.command.split(' ').slice(1));
  await connected();
  assert.ok(Array.isArray((await client.call('sessions.list', {})).sessions));
  const file = path.join(g.state, 'barnacle/upstream-tokens.json');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  for (const other of fs.readdirSync(path.dirname(file)).filter((name) => name !== path.basename(file))) {
    assert.ok(!fs.readFileSync(path.join(path.dirname(file), other)).includes(grants()[0].token), other);
  }
});

test('a client has there what it has here, and no more', { skip }, async () => {
  const reader = await connect(g.url, { token: g.token, scopes: ['operator.read'], client: { id: 'gateway-client', mode: 'backend' } });
  assert.ok(Array.isArray((await reader.call('sessions.list', {})).sessions));
  const refused = await reader.send('sessions.patch', { key: 'agent:main:main', label: 'x' });
  assert.match(refused.error.message, /operator\.(write|admin)/);
  await reader.close();
});

test('a token that was rotated there is taken over', { skip }, async () => {
  const [{ device, token }] = grants();
  await there('device.token.rotate', { deviceId: device, role: 'operator' });
  await until('a call', async () => (await client.call('sessions.list', {})).sessions, SLOW);
  await until('the new token', () => grants()[0].token !== token);
});

test('a node has a pairing of its own there, and is told what it waits for', { skip }, async () => {
  const who = { role: 'node', device: newDevice(), token: g.token, client: { id: 'node-host', mode: 'node', displayName: 'Shed' }, commands: ['system.which'], caps: ['system'] };
  const node = await connect(g.url, who);
  assert.ok(node.hello, JSON.stringify(node.refusal));
  const request = await asked((p) => p.role === 'node');
  const refused = await node.send('node.pluginTools.update', { tools: [] });
  assert.match(refused.error.message, new RegExp(request.requestId));
  await approve(request);
  await told('the node to be let in', (r) => !r.pairings);
  const pending = await until('its commands to be asked for', async () => (await client.call('node.pair.list', {})).pending.find((p) => p.displayName === 'Shed'), SLOW);
  assert.ok(pending.requestId);
  assert.deepEqual(grants().map((grant) => grant.role).sort(), ['node', 'operator']);
  await node.close();
});

test('a restart of this gateway closes nobody, and it is connected again', { skip }, async () => {
  const r = await run(g.program, ['gateway', 'restart'], g.env());
  assert.equal(r.code, 0, r.out + r.err);
  assert.ok(Array.isArray((await client.call('sessions.list', {})).sessions));
  assert.equal(client.closedWith, undefined);
});

test('a device that was removed there asks again', { skip }, async () => {
  const { device } = grants().find((grant) => grant.role === 'operator');
  await there('device.pair.remove', { deviceId: device });
  const first = await asked((p) => p.role === 'operator');
  assert.equal(first.deviceId, device);
  await approve(first);
  await connected();
  assert.ok(Array.isArray((await client.call('sessions.list', {})).sessions));
});

test('a restart there is waited for, and another certificate is not trusted until it is pinned', { skip }, async () => {
  const old = server.pin();
  await server.stop();
  await told('it to be away', (now) => now.state === 'away');
  const waiting = client.call('sessions.list', {});
  fs.rmSync(path.dirname(server.cert), { recursive: true });
  server.spawn();
  await server.listens();
  const { why } = await told('the wrong certificate', (now) => /fingerprint/.test(now.why ?? ''));
  const plain = (pin) => pin.replaceAll(':', '').toLowerCase();
  for (const part of [plain(server.pin()), plain(old), 'upstream.tlsFingerprint']) assert.ok(why.includes(part), `${part}: ${why}`);
  upstream();
  assert.ok(Array.isArray((await waiting).sessions));
  assert.equal(client.closedWith, undefined);
});
