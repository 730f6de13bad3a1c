// The Control UI of a real OpenClaw gateway, through the gateway that stands in front of it: what its page is made of
// comes byte for byte as it comes directly, and the page's bearer is judged by the front.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway, freePort, here, until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

const binary = process.env.BARNACLE_BIN ?? path.join(here, '../../target/quick/barnacle');
let behind, front, port, log;

/** A program that runs OpenClaw's gateway as the binary under test is run. */
function openclawAsBinary(home) {
  const program = path.join(home, 'openclaw-gateway');
  const entry = path.join(here, 'node_modules/openclaw/openclaw.mjs');
  fs.writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`, { mode: 0o755 });
  return program;
}

before(async () => {
  behind = await Gateway.start('behind', {}, { program: openclawAsBinary });
  port = await freePort();
  log = fs.openSync(path.join(behind.home, 'front.log'), 'a');
  const args = ['gateway', 'run', '--port', String(port), '--upstream', `ws://127.0.0.1:${behind.realPort}`];
  front = spawn(binary, args, { env: behind.env(), stdio: ['ignore', log, log] });
  await until('the front to listen', () => fetch(`http://127.0.0.1:${port}/health`));
}, { timeout: 120_000 });

after(async () => {
  front?.kill('SIGKILL');
  await behind?.end();
});

/** The same request both ways; `Host` is the front's, which OpenClaw sees either way. */
async function both(target, headers = {}) {
  const ask = async (at) => {
    const answer = await fetch(`http://127.0.0.1:${at}${target}`, { headers });
    return { status: answer.status, headers: answer.headers, body: Buffer.from(await answer.arrayBuffer()) };
  };
  return [await ask(behind.realPort), await ask(port)];
}

test('the page and its assets are what OpenClaw serves', { timeout: 120_000 }, async () => {
  const page = (await both('/'))[0].body.toString();
  const assets = [...page.matchAll(/(?:src|href)="\.?(\/[^"]+)"/g)].map((m) => m[1]).slice(0, 8);
  assert.ok(assets.length > 0, page.slice(0, 2000));
  for (const target of ['/', '/sessions', '/sw.js', ...assets]) {
    const [direct, through] = await both(target);
    assert.equal(through.status, direct.status, target);
    assert.ok(through.body.equals(direct.body), `${target}: ${direct.body.length} bytes, ${through.body.length}`);
    for (const name of ['content-type', 'cache-control', 'etag', 'x-content-type-options']) {
      assert.equal(through.headers.get(name), direct.headers.get(name), `${target} ${name}`);
    }
  }
});

test("the page's bearer is judged in front", { timeout: 120_000 }, async () => {
  const device = newDevice();
  const client = await connect(`ws://127.0.0.1:${port}`, { device, token: behind.token, scopes: ['operator.read'] });
  const token = client.hello.auth.deviceToken;
  const at = `http://127.0.0.1:${port}`;
  const ask = (target, bearer, method = 'GET') =>
    fetch(at + target, { method, headers: bearer ? { authorization: `Bearer ${bearer}` } : {} });
  assert.equal((await ask('/control-ui-config.json', behind.token)).status, 200);
  assert.equal((await ask('/control-ui-config.json', token)).status, 200, 'a device that OpenClaw has never seen');
  assert.equal((await ask('/control-ui-config.json', 'nonsense')).status, 401);
  assert.equal((await ask('/tools/invoke', undefined, 'POST')).status, 401, 'OpenClaw refuses it');
  assert.equal((await ask('/tools/invoke', token, 'POST')).status, 403, 'it acts as the owner there');
});
