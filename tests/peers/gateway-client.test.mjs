// `@openclaw/gateway-client`, the reference client, as operator and as node.
//
// It keeps its device token through `hostDeps`, here a map that the test may spoil. It erases the token
// when a 1008 close says "device token mismatch", or a refusal's code says so, so every erasure is counted.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { GatewayClient } from '@openclaw/gateway-client';
import { Gateway, until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

let g, admin;
before(async () => { g = await Gateway.start('gateway-client'); });
after(() => g?.end());
beforeEach(async () => { admin = await connect(g.url, { token: g.token }); });
afterEach(() => admin.ws.terminate());

/** A client with its store; `attached()` waits for the next hello, `settled` tells how a connect went. */
function peer(o = {}) {
  const identity = o.identity ?? newDevice();
  const store = o.store ?? new Map();
  const p = { identity, store, hellos: [], errors: [], closes: [], paused: [], gaps: [], erased: 0 };
  const key = ({ deviceId, role }) => `${deviceId}:${role}`;
  p.client = new GatewayClient({
    url: g.url, clientName: 'cli', mode: 'cli', deviceIdentity: identity,
    scopes: ['operator.read', 'operator.write'], ...o.options,
    hostDeps: {
      signDevicePayload: (pem, payload) => crypto.sign(null, Buffer.from(payload), pem).toString('base64url'),
      publicKeyRawBase64UrlFromPem: (pem) => crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64url'),
      loadDeviceAuthToken: (at) => store.get(key(at)) ?? null,
      storeDeviceAuthToken: ({ token, scopes, ...at }) => store.set(key(at), { token, scopes }),
      clearDeviceAuthToken: (at) => { p.erased += 1; store.delete(key(at)); },
      logError: () => {},
    },
    onHelloOk: (hello) => p.hellos.push(hello),
    onConnectError: (error) => p.errors.push(error),
    onClose: (code, reason) => p.closes.push({ code, reason }),
    onReconnectPaused: (info) => p.paused.push(info),
    onGap: (gap) => p.gaps.push(gap),
    onEvent: (event) => o.onEvent?.(p, event),
  });
  p.role = o.options?.role ?? 'operator';
  p.entry = () => store.get(key({ deviceId: identity.deviceId, role: p.role }));
  p.attached = (count) => until('hello-ok', () => {
    if (p.paused.length) throw new Error(`gave up: ${JSON.stringify(p.paused)}`);
    return p.hellos.length >= count && p.hellos.at(-1);
  }, 20_000).catch((e) => { throw new Error(`${e.message} ${p.errors.map((x) => x.message)}`); });
  p.client.start();
  return p;
}

/** Pairs a device once, with the shared token, and returns its identity and store. */
async function paired(options = {}) {
  const p = peer({ options: { token: g.token, ...options } });
  await p.attached(1);
  await p.client.stopAndWait();
  assert.ok(p.entry()?.token, 'the device token was stored');
  return { identity: p.identity, store: p.store, entry: p.entry };
}

describe('as operator', () => {
  test('it pairs silently, stores its token, and comes back with that alone', async () => {
    const { identity, store, entry } = await paired();
    const token = entry().token;
    const p = peer({ identity, store });
    const hello = await p.attached(1);
    assert.equal(hello.protocol, 4);
    assert.equal(hello.auth.deviceToken, token, 'the same token again');
    assert.equal((await p.client.request('health', {})).ok, true);
    await assert.rejects(p.client.request('device.pair.list', {}), /operator\.pairing/);
    await p.client.stopAndWait();
  });

  for (const signal of ['SIGTERM', 'SIGKILL']) {
    test(`it reconnects by itself after ${signal} and a start`, async () => {
      const p = peer(await paired());
      await p.attached(1);
      await g.restart(signal);
      await p.attached(2);
      assert.equal((await p.client.request('health', {})).ok, true);
      assert.deepEqual([p.erased, p.paused, p.gaps], [0, [], []]);
      await p.client.stopAndWait();
    });
  }

  for (const [what, harm, options] of [
    ['rotated', ({ identity }) => admin.call('device.token.rotate', { deviceId: identity.deviceId, role: 'operator' })],
    ['rotated twice', async ({ identity }) => {
      for (let i = 0; i < 2; i++) await admin.call('device.token.rotate', { deviceId: identity.deviceId, role: 'operator' });
    }],
    ['corrupted', ({ entry }) => { entry().token = 'x'.repeat(43); }],
    ['deleted', ({ store }) => store.clear()],
    ['left alone, while the shared token in hand is wrong', () => {}, { token: 'stale' }],
  ]) {
    test(`it attaches with its stored token ${what}, and again after a restart`, async () => {
      const had = await paired();
      await harm(had);
      const p = peer({ ...had, options });
      const hello = await p.attached(1);
      assert.equal((await p.client.request('health', {})).ok, true);
      assert.equal(had.entry().token, hello.auth.deviceToken, 'the store holds the current token');
      await g.restart('SIGKILL');
      await p.attached(2);
      assert.deepEqual([p.erased, p.paused], [0, []]);
      await p.client.stopAndWait();
    });
  }

  test('asking for more than approved costs it nothing', async () => {
    const had = await paired({ scopes: ['operator.read'] });
    g.edit((c) => { c.gateway.nodes = { pairing: { autoApproveLocal: false } }; });
    await g.restart();
    const p = peer({ ...had, options: { scopes: ['operator.read', 'operator.write'] } });
    const hello = await p.attached(1);
    assert.deepEqual(hello.auth.scopes, ['operator.read']);
    assert.equal((await p.client.request('health', {})).ok, true);
    await p.client.stopAndWait();
    g.edit((c) => { delete c.gateway.nodes; });
    await g.restart();
  });

  test('revoked while attached, it is closed, told so, and kept out', async () => {
    const p = peer(await paired());
    await p.attached(1);
    await admin.call('device.token.revoke', { deviceId: p.identity.deviceId, role: 'operator' });
    await until('it to give up', () => p.paused.length);
    assert.equal(p.closes[0].code, 1008);
    assert.equal(p.hellos.length, 1);
    await p.client.stopAndWait();
  });
});

describe('as node', () => {
  const commands = ['board.blink', 'board.read'];
  const options = { clientName: 'node-host', mode: 'node', role: 'node', scopes: [], commands, clientDisplayName: 'bench board' };
  /** Answers what it is asked, as a node host does. */
  const onEvent = (p, event) => {
    if (event.event !== 'node.invoke.request') return;
    const { id, nodeId, command, paramsJSON } = event.payload;
    const payloadJSON = JSON.stringify({ command, got: JSON.parse(paramsJSON ?? 'null') });
    p.client.request('node.invoke.result', { id, nodeId, ok: true, payloadJSON }).catch((e) => p.errors.push(e));
  };
  const invoke = (p, command = 'board.read') => admin.call('node.invoke', {
    nodeId: p.identity.deviceId, command, params: { pin: 17 }, timeoutMs: 10_000, idempotencyKey: crypto.randomUUID(),
  });
  const answer = (result) => result.payload ?? JSON.parse(result.payloadJSON);

  test('it pairs, waits with its commands, is approved, invoked, restarted under, and invoked again', async () => {
    g.edit((c) => { c.gateway.nodes = { allowCommands: commands }; });
    await g.restart();
    admin = await connect(g.url, { token: g.token });
    const p = peer({ onEvent, options: { ...options, token: g.token } });
    await p.attached(1);
    assert.ok(p.entry()?.token, 'the node token was stored');

    await assert.rejects(invoke(p), 'no command before approval');
    const { pending } = await admin.call('node.pair.list');
    const request = pending.find((r) => r.nodeId === p.identity.deviceId);
    assert.deepEqual([...request.commands].sort(), commands);
    await admin.call('node.pair.approve', { requestId: request.requestId });
    const listed = (await admin.call('node.list')).nodes.find((n) => n.nodeId === p.identity.deviceId);
    assert.deepEqual([[...listed.commands].sort(), listed.connected], [commands, true]);
    assert.deepEqual(answer(await invoke(p)), { command: 'board.read', got: { pin: 17 } });

    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const before = p.hellos.length;
      await g.restart(signal);
      admin = await connect(g.url, { token: g.token });
      await p.attached(before + 1);
      await until('the node to be listed', async () => (await admin.call('node.list')).nodes.some((n) => n.nodeId === p.identity.deviceId && n.connected));
      assert.deepEqual(answer(await invoke(p, 'board.blink')), { command: 'board.blink', got: { pin: 17 } });
    }
    await p.client.stopAndWait();

    p.entry().token = 'x'.repeat(43);
    const back = peer({ identity: p.identity, store: p.store, onEvent, options });
    await back.attached(1);
    assert.deepEqual(answer(await invoke(back)), { command: 'board.read', got: { pin: 17 } });
    assert.deepEqual([back.erased, back.paused, p.erased], [0, [], 0]);
    const event = await back.client.request('node.event', { event: 'board.button', payloadJSON: '{"pin":4}' });
    assert.equal(event.ok, true);
    await back.client.stopAndWait();
  });
});
