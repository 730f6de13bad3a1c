// The headless node of the `openclaw` CLI (`openclaw node run`), as it is shipped: it attaches with its
// commands, an operator's CLI approves and invokes them, and it stays attached through what befalls the
// gateway and its own stored token. It reads no token from a file here, only OPENCLAW_GATEWAY_TOKEN, and
// that only until it is paired.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway, here, openclawOk, until } from './gateway.mjs';
import { connect } from './wire.mjs';

let g, admin, node, nodeId;

/** Starts the node host in a home of its own, so that it has its own device. */
function startNode(token) {
  const home = path.join(g.home, 'node');
  const state = path.join(home, '.openclaw');
  fs.mkdirSync(state, { recursive: true });
  const child = spawn(process.execPath, [
    path.join(here, 'node_modules/openclaw/openclaw.mjs'), 'node', 'run', '--host', '127.0.0.1',
    '--port', String(g.port), '--display-name', 'headless',
  ], {
    env: g.env({
      HOME: home, OPENCLAW_HOME: home, OPENCLAW_STATE_DIR: state,
      OPENCLAW_CONFIG_PATH: path.join(state, 'openclaw.json'), OPENCLAW_GATEWAY_TOKEN: token,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', (d) => (child.said += d));
  process.once('exit', () => child.kill('SIGKILL'));
  return child;
}
/** Kills the node, and waits until the gateway has noticed. */
const stopNode = async () => {
  await new Promise((ok) => { node.once('exit', ok); node.kill('SIGKILL'); });
  await until('the node to be gone', async () => !(await admin.call('node.list')).nodes.some((n) => n.connected));
};

/** Waits until the node is listed as connected, and returns its entry. */
const listed = () => until('the node to be connected', async () => (await admin.call('node.list')).nodes.find((n) => n.displayName === 'headless' && n.connected), 120_000)
  .catch((e) => { throw new Error(`${e.message}\n${node.said}\n${g.tail()}`); });
const which = async () => {
  const params = { nodeId, command: 'system.which', params: { bins: ['sh'] }, timeoutMs: 15_000, idempotencyKey: crypto.randomUUID() };
  const result = await admin.call('node.invoke', params);
  return JSON.stringify(result.payload ?? result.payloadJSON);
};

before(async () => {
  g = await Gateway.start('node-host');
  admin = await connect(g.url, { token: g.token });
  node = startNode(g.token);
});
after(async () => {
  node?.kill('SIGKILL');
  await g?.end();
});

test('it pairs, and waits with its commands until the CLI approves them', async () => {
  ({ nodeId } = await listed());
  const { pending } = await admin.call('node.pair.list');
  assert.equal(pending.length, 1);
  assert.ok(pending[0].commands.includes('system.which'));
  await assert.rejects(which(), 'no command before approval');
  await openclawOk(g, ['nodes', 'approve', pending[0].requestId]);
  assert.ok((await listed()).commands.includes('system.which'));
});
test('the CLI invokes it', async () => {
  const { out } = await openclawOk(g, ['nodes', 'invoke', '--node', 'headless', '--command', 'system.which', '--params', '{"bins":["sh"]}']);
  assert.match(out, /\/sh\b/);
});
for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`after ${signal} and a start it is back with its approved commands`, async () => {
    await g.restart(signal);
    admin = await connect(g.url, { token: g.token });
    assert.ok((await listed()).commands.includes('system.which'));
    assert.match(await which(), /\/sh\b/);
  });
}
test('rotated meanwhile and started with a stale token in its environment, it is the same node', async () => {
  await stopNode();
  for (let i = 0; i < 2; i++) await admin.call('device.token.rotate', { deviceId: nodeId, role: 'node' });
  node = startNode('a shared token of last week');
  const entry = await listed();
  assert.equal(entry.nodeId, nodeId);
  assert.match(await which(), /\/sh\b/);
  assert.equal((await admin.call('node.pair.list')).pending.length, 0, 'nothing waits again');
});
