// Libraries that others wrote from the protocol's pages: `openclaw-node` (protocol 4, v2 payload), PyPI
// `openclaw-sdk` (protocol 3, path /gateway, a key and a token by OpenClaw's own files) and `bamboo-claw`
// (protocol 3, calls itself the Control UI and sends an Origin).
//
// openclaw-node erases its token whenever a connection ends before hello-ok, bamboo-claw on any refusal
// while it also has the shared token: with both a single wrong refusal costs the user a pairing.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { OpenClawClient } from 'openclaw-node';
import { Gateway, here, until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

let g, admin;
before(async () => { g = await Gateway.start('libraries'); });
after(() => g?.end());
beforeEach(async () => { admin = await connect(g.url, { token: g.token }); });
afterEach(() => admin.ws.terminate());

const rotate = (deviceId) => admin.call('device.token.rotate', { deviceId, role: 'operator' });
const restart = async (signal) => {
  await g.restart(signal);
  admin = await connect(g.url, { token: g.token });
};
const isPaired = async (deviceId) => (await admin.call('device.pair.list')).paired.some((d) => d.deviceId === deviceId);
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
const write = (file, data) => fs.writeFileSync(file, JSON.stringify(data));
const WRONG = 'x'.repeat(43);

describe('openclaw-node', () => {
  const file = () => path.join(g.home, 'openclaw-node.json');
  const open = async (token) => {
    const client = new OpenClawClient({ url: g.url, token, deviceIdentityPath: file(), reconnectIntervalMs: 50 });
    client.on('error', () => {});
    const hello = await client.connect();
    return { client, hello };
  };

  test('it connects, pairs, calls, and comes back with its device token alone', async () => {
    const first = await open(g.token);
    assert.equal((await first.client.health()).ok, true);
    await first.client.disconnect();
    const { deviceId, deviceToken } = read(file());
    assert.ok(await isPaired(deviceId));
    assert.equal(deviceToken, first.hello.auth.deviceToken);
    const again = await open();
    assert.equal(again.hello.auth.deviceToken, deviceToken);
    await again.client.disconnect();
  });
  test('it reconnects after SIGTERM and after kill -9, and keeps its token', async () => {
    const { client } = await open();
    const { deviceToken } = read(file());
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const back = new Promise((ok) => client.once('connected', ok));
      await restart(signal);
      await back;
      // It may have come back to the one that was about to stop.
      const health = await until('an answer', () => client.health().catch(() => null));
      assert.equal(health.ok, true);
      assert.equal(read(file()).deviceToken, deviceToken);
    }
    await client.disconnect();
  });
  for (const [what, harm] of [
    ['rotated', () => rotate(read(file()).deviceId)],
    ['corrupted', () => write(file(), { ...read(file()), deviceToken: WRONG })],
    ['deleted', () => { const { deviceToken, ...rest } = read(file()); write(file(), rest); }],
  ]) {
    test(`with its token ${what} it attaches at the first try, without the shared token`, async () => {
      await harm();
      const { client, hello } = await open();
      assert.equal((await client.health()).ok, true);
      assert.equal(read(file()).deviceToken, hello.auth.deviceToken, 'and holds the current one');
      await client.disconnect();
    });
  }
});

/** A Python client in a process of its own, with `home` as its home. */
function python(kind, options, home) {
  const child = spawn(path.join(here, '.venv/bin/python'), [path.join(here, 'peer.py'), kind, JSON.stringify(options)], {
    env: { PATH: process.env.PATH, HOME: home }, stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (d) => (said += d));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (...command) => {
    child.stdin.write(JSON.stringify(command) + '\n');
    const { value, done } = await lines.next();
    if (done) throw new Error(`the Python client ended: ${said}`);
    const answer = JSON.parse(value);
    if (answer.fault) throw new Error(`${command.join(' ')}: ${answer.fault}\n${said}`);
    return answer.ok;
  };
}

describe('bamboo-claw', () => {
  const data = () => path.join(g.home, 'bamboo');
  const tokens = () => path.join(data(), 'device-tokens.json');
  const start = (token = '') => python('bamboo', { url: g.url, token, data: data() }, g.home);
  const deviceId = () => read(path.join(data(), 'device-identity.json')).deviceId;
  const stored = () => read(tokens())[`${deviceId()}:operator`];

  test('it connects with an Origin, pairs, calls, and comes back with its device token alone', async () => {
    const peer = start(g.token);
    assert.equal(await peer('connect'), 3);
    assert.equal(await peer('health'), true);
    await peer('close');
    assert.ok(await isPaired(deviceId()));
    const token = stored();
    const again = start();
    await again('connect');
    assert.equal(stored(), token);
    await again('close');
  });
  test('it reconnects by itself after SIGTERM and after kill -9, and keeps its token', async () => {
    const peer = start(g.token);
    await peer('connect');
    const token = stored();
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const dropped = peer('dropped');
      await restart(signal);
      await dropped;
      assert.equal(await peer('back'), true);
      assert.equal(await peer('health'), true);
      assert.equal(stored(), token);
    }
    await peer('close');
  });
  for (const [what, harm] of [
    ['rotated', () => rotate(deviceId())],
    ['corrupted', () => write(tokens(), { [`${deviceId()}:operator`]: WRONG })],
    ['deleted', () => fs.rmSync(tokens())],
  ]) {
    test(`with its token ${what} and a stale shared token it attaches at the first try`, async () => {
      await harm();
      const peer = start('a shared token of last week');
      const before = g.tap.frames.length;
      await peer('connect');
      assert.equal(await peer('health'), true);
      const tries = g.tap.frames.slice(before).filter((f) => f.dir === 'client' && f.frame.method === 'connect' && f.frame.params.device?.id === deviceId());
      assert.equal(tries.length, 1, 'no refusal came first');
      assert.ok(stored() && stored() !== WRONG);
      await peer('close');
    });
  }
});

describe('openclaw-sdk', () => {
  // It takes key and token from OpenClaw's own files, which the CLI writes; here the test does.
  const device = newDevice();
  const home = () => path.join(g.home, 'sdk');
  const auth = () => path.join(home(), '.openclaw/identity/device-auth.json');
  const start = () => python('sdk', { url: g.url }, home());
  const hold = (token) => write(auth(), {
    version: 1, deviceId: device.deviceId,
    tokens: { operator: { token, role: 'operator', scopes: ['operator.read', 'operator.write'], updatedAtMs: Date.now() } },
  });
  before(async () => {
    fs.mkdirSync(path.dirname(auth()), { recursive: true });
    write(path.join(path.dirname(auth()), 'device.json'), { version: 1, ...device, createdAtMs: Date.now() });
    const s = await connect(g.url, { device, token: g.token, scopes: ['operator.read', 'operator.write'] });
    hold(s.token);
    await s.close();
  });

  test('it connects, calls, and its health is good', async () => {
    const peer = start();
    await peer('connect');
    assert.equal(await peer('health'), true);
    assert.equal((await peer('call', 'health', {})).ok, true);
    await peer('close');
  });
  test('it reconnects after SIGTERM and after kill -9', async () => {
    const peer = start();
    await peer('connect');
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      await restart(signal);
      await peer('dropped');
      await peer('back');
      assert.equal(await peer('health'), true);
    }
    await peer('close');
  });
  for (const [what, harm] of [
    ['rotated', () => rotate(device.deviceId)],
    ['corrupted', () => hold(WRONG)],
    ['emptied', () => hold('')],
  ]) {
    test(`with its token ${what} it attaches`, async () => {
      await harm();
      const peer = start();
      await peer('connect');
      assert.equal(await peer('health'), true);
      await peer('close');
    });
  }
});
