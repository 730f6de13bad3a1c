// The `openclaw` CLI of 2026.2.17, which speaks protocol 3 only.
//
// It attaches with a device of its own, kept under identity/ in the state directory, and offers the
// shared token from its config or environment before the device token that it stored. So it shows what a
// user of that time met: a stale OPENCLAW_GATEWAY_TOKEN in the environment, which wins over the file.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway, openclaw, openclawOk } from './gateway.mjs';
import { connect } from './wire.mjs';

let g, admin;
const json = async (...args) => (await openclawOk(g, [...args, '--json'], 'legacy')).json();
const identity = (file) => path.join(g.state, 'identity', file);
const deviceId = () => JSON.parse(fs.readFileSync(identity('device.json'), 'utf8')).deviceId;
const stored = () => JSON.parse(fs.readFileSync(identity('device-auth.json'), 'utf8')).tokens.operator.token;
const staleEnv = { OPENCLAW_GATEWAY_TOKEN: 'a token from before the last change' };

before(async () => {
  g = await Gateway.start('legacy');
  // Its plugins are TypeScript that is compiled at each start; no command here needs them.
  g.edit((c) => { c.plugins = { enabled: false }; });
  admin = await connect(g.url, { token: g.token });
});
after(() => g?.end());

test('it pairs at its first call and stores the token it was given', async () => {
  assert.equal((await json('gateway', 'call', 'health')).ok, true);
  const { paired } = await admin.call('device.pair.list');
  assert.ok(paired.some((d) => d.deviceId === deviceId()), 'its own device is paired');
  assert.ok(stored());
});
test('devices list, nodes list, health', async () => {
  const [devices, nodes, health] = await Promise.all([json('devices', 'list'), openclawOk(g, ['nodes', 'list'], 'legacy'), json('health')]);
  assert.ok(devices.paired.some((d) => d.deviceId === deviceId()));
  assert.match(nodes.out, /Pending: 0 · Paired: 0/);
  assert.equal(health.ok, true);
});
// Its probe asks health, status, system-presence and config.get, and calls the gateway unreachable if one fails.
test('status reaches the gateway', async () => {
  const status = await json('status');
  assert.equal(status.gateway.reachable, true);
  assert.equal(status.gateway.error, null);
});
test('after a restart it continues with what it has', async () => {
  await g.restart('SIGKILL');
  assert.equal((await json('gateway', 'call', 'health')).ok, true);
  admin = await connect(g.url, { token: g.token });
});

for (const [what, harm] of [
  ['rotated', () => admin.call('device.token.rotate', { deviceId: deviceId(), role: 'operator' })],
  ['corrupted', () => fs.writeFileSync(identity('device-auth.json'), fs.readFileSync(identity('device-auth.json'), 'utf8').replace(stored(), 'x'.repeat(43)))],
  ['deleted', () => fs.rmSync(identity('device-auth.json'))],
]) {
  test(`with its stored token ${what} and a stale token in its environment it still attaches`, async () => {
    await harm();
    const r = await openclaw(g, ['gateway', 'call', 'health', '--json'], 'legacy', staleEnv);
    assert.equal(r.code, 0, r.out + r.err);
    const { paired } = await admin.call('device.pair.list');
    assert.equal(paired.filter((d) => d.deviceId === deviceId()).length, 1, 'and it is still the same device');
    assert.ok(stored(), 'it was handed its token again');
  });
}
test('once revoked it is refused and told to wait for approval', async () => {
  await admin.call('device.token.revoke', { deviceId: deviceId(), role: 'operator' });
  const r = await openclaw(g, ['gateway', 'call', 'health', '--json'], 'legacy');
  assert.notEqual(r.code, 0);
  assert.match(r.out + r.err, /pairing|approv/i);
});
