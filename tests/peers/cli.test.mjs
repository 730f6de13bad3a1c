// The `openclaw` CLI of 2026.9.6, as it is shipped, against the gateway.
//
// It reads the gateway's own openclaw.json and attaches without a device, as `cli` or `gateway-client`
// with the shared token. Each command has to exit with 0 and say what is true: what it prints is compared
// with what a scripted client sees or loses on its own connection. A start of the CLI takes a second or
// more, so commands that only read run side by side.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Gateway, openclaw, openclawOk } from './gateway.mjs';
import { AFAR, connect, newDevice } from './wire.mjs';

let g, desk, deskDevice, board, boardDevice;

before(async () => {
  g = await Gateway.start('cli');
  deskDevice = newDevice();
  desk = await connect(g.url, { device: deskDevice, token: g.token });
  boardDevice = newDevice();
  board = await connect(g.url, {
    device: boardDevice, token: g.token, role: 'node', commands: ['system.which'],
    client: { id: 'node-host', mode: 'node', displayName: 'bench board' },
  });
  assert.ok(desk.hello && board.hello, JSON.stringify([desk.refusal, board.refusal]));
});
after(() => g?.end());

describe('commands that read', { concurrency: 3 }, () => {
  const json = async (...args) => (await openclawOk(g, [...args, '--json'])).json();

  test('gateway status', async () => {
    const status = await json('gateway', 'status');
    assert.equal(status.rpc.ok, true);
    assert.equal(status.gateway.port, g.port);
    assert.ok(status.gateway.version, 'the version comes from hello-ok');
  });
  test('gateway call health', async () => {
    const health = await json('gateway', 'call', 'health');
    assert.equal(health.ok, true);
    assert.ok(Math.abs(health.ts - Date.now()) < 60_000);
  });
  test('gateway call with a method that does not exist', async () => {
    const r = await openclaw(g, ['gateway', 'call', 'no.such.method']);
    assert.notEqual(r.code, 0);
    assert.match(r.out + r.err, /no\.such\.method/);
  });
  test('status', async () => {
    const status = await json('status');
    assert.equal(status.gateway.reachable, true);
    assert.equal(status.gateway.url, g.url);
    assert.equal(typeof status.sessions.count, 'number');
  });
  test('status for a person', async () => {
    const { out } = await openclawOk(g, ['status']);
    assert.match(out, /reachable/i);
    assert.doesNotMatch(out, /unreachable|mismatch/i);
  });
  test('health', async () => assert.equal((await json('health')).ok, true));
  test('health for a person', async () => assert.equal((await openclawOk(g, ['health'])).code, 0));
  test('nodes list', async () => {
    const { pending, paired } = await json('nodes', 'list');
    const seen = paired.find((n) => n.nodeId === boardDevice.deviceId);
    assert.ok(seen?.connected, 'the node is listed as connected');
    assert.deepEqual(pending.map((n) => [n.nodeId, n.commands]), [[boardDevice.deviceId, ['system.which']]]);
  });
  test('nodes status', async () => {
    const { nodes } = await json('nodes', 'status');
    assert.deepEqual(nodes.map((n) => [n.nodeId, n.displayName, n.connected]), [[boardDevice.deviceId, 'bench board', true]]);
  });
  test('system presence', async () => {
    const entries = await json('system', 'presence');
    assert.ok(entries.some((e) => e.mode === 'gateway' && e.reason === 'self'));
    assert.ok(entries.some((e) => e.deviceId === boardDevice.deviceId && e.host === 'bench board'));
  });
  test('logs', async () => {
    const lines = (await openclawOk(g, ['logs', '--limit', '200', '--json'])).out.trim().split('\n').map((l) => JSON.parse(l));
    assert.equal(lines[0].type, 'meta');
    const said = lines.filter((l) => l.type === 'log');
    assert.ok(said.length > 0 && said.every((l) => l.time && l.level && l.subsystem.startsWith('gateway')), JSON.stringify(said[0]));
  });
  test('what there is none of', async () => {
    for (const [args, said] of [
      ['channels status', /no configured chat channels/], ['cron list', /No automations/], ['cron status', /"enabled": false/], ['skills list', /No skills found/],
      ['gateway stability', /Events: 0/], ['gateway usage-cost', /0 tokens/], ['approvals pending', /No pending approvals/], ['secrets reload', /Secrets reloaded/],
    ]) assert.match((await openclawOk(g, args.split(' '))).out, said, args);
  });
  test('a wrong token is called a wrong gateway token, and no retry is left hanging', async () => {
    const r = await openclaw(g, ['gateway', 'call', 'health', '--url', g.url, '--token', 'not-the-token']);
    assert.notEqual(r.code, 0);
    assert.match(r.out + r.err, /gateway token mismatch/);
    assert.doesNotMatch(r.out + r.err, /device token mismatch/);
  });
});

describe('devices', () => {
  const devices = async (...args) => (await openclawOk(g, ['devices', ...args, '--json'])).json();
  const asks = async () => {
    const device = newDevice();
    const refused = await connect(g.url, { device, token: g.token, headers: AFAR, scopes: ['operator.read'] });
    assert.equal(refused.refusal?.details?.code, 'PAIRING_REQUIRED', JSON.stringify(refused.refusal));
    return { device, request: refused.refusal.details.requestId, back: () => connect(g.url, { device, token: g.token, headers: AFAR, scopes: ['operator.read'] }) };
  };

  test('approve lets in who waited, reject does not', async () => {
    const [yes, no] = [await asks(), await asks()];
    const { pending, paired } = await devices('list');
    assert.deepEqual(pending.map((p) => p.requestId).sort(), [yes.request, no.request].sort());
    assert.ok(paired.some((d) => d.deviceId === deskDevice.deviceId));
    await devices('approve', yes.request);
    await devices('reject', no.request);
    const back = await yes.back();
    assert.ok(back.hello, JSON.stringify(back.refusal));
    assert.deepEqual(back.hello.auth.scopes, ['operator.read']);
    await back.close();
    assert.equal((await no.back()).refusal?.details?.code, 'PAIRING_REQUIRED');
  });
  test('rename shows in the next list', async () => {
    await devices('rename', '--device', deskDevice.deviceId, '--name', 'desk');
    const { out } = await openclawOk(g, ['devices', 'list']);
    assert.match(out, /\bdesk\b/);
  });
  test('rotate leaves the connection and the old token alive', async () => {
    const rotated = await devices('rotate', '--device', deskDevice.deviceId, '--role', 'operator');
    assert.equal(rotated.deviceId, deskDevice.deviceId);
    assert.equal((await desk.call('health')).ok, true);
    const again = await connect(g.url, { device: deskDevice, deviceToken: desk.token });
    assert.ok(again.hello, JSON.stringify(again.refusal));
    assert.notEqual(again.token, desk.token, 'hello-ok hands over the new token');
    await again.close();
  });
  test('revoke closes the live connection and keeps it out', async () => {
    await devices('revoke', '--device', deskDevice.deviceId, '--role', 'operator');
    assert.equal((await desk.closed).code, 1008);
    const back = await connect(g.url, { device: deskDevice, token: g.token });
    assert.equal(back.refusal?.details?.code, 'PAIRING_REQUIRED', JSON.stringify(back.refusal));
  });
  test('remove closes the live connection and forgets the device', async () => {
    await devices('remove', boardDevice.deviceId);
    assert.equal((await board.closed).code, 1008);
    const { paired } = await devices('list');
    assert.ok(!paired.some((d) => d.deviceId === boardDevice.deviceId));
  });
});
