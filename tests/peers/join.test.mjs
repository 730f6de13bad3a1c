// `openclaw devices join-code` and `openclaw connect <url>` as they are shipped: one line pairs a node, once.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway, here, openclaw, openclawOk, run, until } from './gateway.mjs';
import { connect } from './wire.mjs';

const CLI = path.join(here, 'node_modules/openclaw/openclaw.mjs');
let g, admin, node;

/** The environment of another machine: a home of its own, and no secret of this one. */
function elsewhere(name) {
  const home = path.join(g.home, name), state = path.join(home, '.openclaw');
  fs.mkdirSync(state, { recursive: true });
  return g.env({ HOME: home, OPENCLAW_HOME: home, OPENCLAW_STATE_DIR: state, OPENCLAW_CONFIG_PATH: path.join(state, 'openclaw.json') });
}

before(async () => {
  g = await Gateway.start('join');
  admin = await connect(g.url, { token: g.token });
});
after(async () => {
  node?.kill('SIGKILL');
  admin?.ws.terminate();
  await g?.end();
});

test('a node joins by the URL that the CLI prints', { timeout: 240_000 }, async () => {
  const made = (await openclawOk(g, ['devices', 'join-code', '--json'])).json();
  assert.match(made.joinUrl, /^http:\/\/127\.0\.0\.1:\d+\/j\/[\w-]{22}$/);
  assert.ok(made.command.includes(`openclaw connect ${made.joinUrl}`), made.command);
  node = spawn(process.execPath, [CLI, 'connect', made.joinUrl, '--display-name', 'joined'], { env: elsewhere('node'), stdio: ['ignore', 'pipe', 'pipe'] });
  node.said = '';
  for (const out of [node.stdout, node.stderr]) out.on('data', (d) => (node.said += d));
  await until('the node to be connected', async () => (await admin.call('node.list')).nodes.some((n) => n.displayName === 'joined' && n.connected), 120_000)
    .catch((e) => { throw new Error(`${e.message}\n${node.said}\n${g.tail()}`); });
  const { paired } = await admin.call('device.pair.list');
  assert.deepEqual(paired.filter((d) => d.displayName === 'joined').map((d) => d.roles), [['node']]);
  // Another machine gets nothing by it.
  const again = await run(process.execPath, [CLI, 'connect', made.joinUrl], elsewhere('other'), 120_000);
  assert.notEqual(again.code, 0);
  assert.match(again.out + again.err, /join code was not found or has expired/);
});

test('where the URL would be read on the way, the CLI says what to do', { timeout: 120_000 }, async () => {
  const asked = JSON.stringify({ joinUrl: true, publicUrl: 'http://192.168.1.2:18789' });
  const r = await openclaw(g, ['gateway', 'call', 'device.pair.setupCode', '--params', asked]);
  assert.notEqual(r.code, 0);
  assert.match(r.out + r.err, /require TLS/);
});
