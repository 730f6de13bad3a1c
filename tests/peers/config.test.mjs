// The configuration, changed under a running gateway by everyone who may: the real `openclaw config`
// commands, which edit the file themselves, the reference client over RPC, and a hand with an editor.
//
// Three clients stay attached all along (shared token, device, node). No edit here is meant for them, so
// none may be closed; what an edit does mean is looked for from outside: an origin of a browser is admitted
// exactly while `gateway.controlUi.allowedOrigins` lists it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { GatewayClient } from '@openclaw/gateway-client';
import { Gateway, openclaw, openclawOk, until } from './gateway.mjs';
import { connect, newDevice } from './wire.mjs';

const REDACTED = '__OPENCLAW_REDACTED__';
let g, file, attached, client;
const text = () => fs.readFileSync(file, 'utf8');
const onDisk = () => JSON.parse(text());

before(async () => {
  g = await Gateway.start('config');
  file = g.file;
  attached = await Promise.all([
    connect(g.url, { token: g.token }),
    connect(g.url, { device: newDevice(), token: g.token }),
    connect(g.url, { device: newDevice(), token: g.token, role: 'node', client: { id: 'node-host', mode: 'node' } }),
  ]);
  for (const s of attached) assert.ok(s.hello, JSON.stringify(s.refusal));
  client = new GatewayClient({
    url: g.url, clientName: 'gateway-client', mode: 'backend', token: g.token, scopes: ['operator.admin', 'operator.read'],
    hostDeps: { logError: () => {} }, deviceIdentity: null,
    onHelloOk: (hello) => (client.hello = hello), onClose: (code, reason) => (client.closedWith = { code, reason }),
  });
  client.start();
  await until('the reference client', () => client.hello);
});
after(async () => {
  await client?.stopAndWait();
  await g?.end();
});

/** Nobody was closed: the attached still answer on the connections they had. */
async function nobodyClosed() {
  for (const s of attached) {
    assert.equal(s.closedWith, undefined, JSON.stringify(s.closedWith));
    if (s.hello.auth.role === 'operator') assert.equal((await s.call('health')).ok, true);
  }
  assert.equal(client.closedWith, undefined, JSON.stringify(client.closedWith));
  assert.equal((await client.request('health', {})).ok, true);
}

/** Whether a browser's page from `origin` may attach. */
async function admits(origin) {
  const s = await connect(g.url, { token: g.token, origin, client: { id: 'openclaw-control-ui', mode: 'webchat' }, device: newDevice() });
  s.ws.terminate();
  return s.refusal?.details?.code !== 'CONTROL_UI_ORIGIN_NOT_ALLOWED';
}
const admitted = (origin) => until(`${origin} to be admitted`, () => admits(origin));
const refused = (origin) => until(`${origin} to be refused`, async () => !(await admits(origin)));
const get = () => client.request('config.get', {});

describe('openclaw config', () => {
  test('get, file and validate read what the gateway runs with', async () => {
    const [port, at, valid, token] = await Promise.all([
      openclawOk(g, ['config', 'get', 'gateway.port', '--json']), openclawOk(g, ['config', 'file']),
      openclawOk(g, ['config', 'validate']), openclawOk(g, ['config', 'get', 'gateway.auth.token']),
    ]);
    assert.equal(Number(port.out), g.port);
    assert.equal(at.out.trim(), file);
    assert.match(valid.out, /valid/i);
    assert.ok(!token.out.includes(g.token));
  });

  test('set applies while everyone stays, unset takes it back', async () => {
    const origin = 'https://desk.example';
    assert.equal(await admits(origin), false);
    await openclawOk(g, ['config', 'set', 'gateway.controlUi.allowedOrigins', JSON.stringify([origin]), '--strict-json']);
    await admitted(origin);
    assert.deepEqual((await get()).sourceConfig.gateway.controlUi.allowedOrigins, [origin]);
    await openclawOk(g, ['config', 'unset', 'gateway.controlUi.allowedOrigins']);
    await refused(origin);
    await nobodyClosed();
  });

  test('what is invalid is refused by the CLI, and leaves the file and the gateway alone', async () => {
    const had = text();
    const r = await openclaw(g, ['config', 'set', 'gateway.port', 'hello']);
    assert.equal(r.code, 1);
    assert.match(r.err, /gateway\.port/);
    assert.equal(text(), had);
    await nobodyClosed();
  });

  test('six at once: each is in the file or says that it is not, and the gateway has what the file has', async () => {
    const edits = [
      ['ui.seamColor', '#aa0001'], ['logging.level', 'debug'], ['session.scope', 'global'],
      ['logging.consoleLevel', 'warn'], ['messages.ackReaction', 'ok'], ['update.checkOnStart', false],
    ];
    const at = (config, key) => key.split('.').reduce((o, k) => o?.[k], config);
    const set = ([key, value]) => openclaw(g, ['config', 'set', key, String(value)]);
    const first = await Promise.all(edits.map(set));
    first.forEach((r, i) => {
      if (r.code === 0) assert.equal(at(onDisk(), edits[i][0]), edits[i][1], `${edits[i][0]} was acknowledged and lost`);
      else assert.match(r.err, /changed while|nothing was changed/, `${edits[i][0]}: ${r.err}`);
    });
    for (const [i, r] of first.entries()) if (r.code !== 0) assert.equal((await set(edits[i])).code, 0);
    for (const [key, value] of edits) assert.equal(at(onDisk(), key), value, key);
    await until('the gateway to have it all', async () => {
      const { sourceConfig } = await get();
      return edits.every(([key, value]) => at(sourceConfig, key) === value);
    });
    await nobodyClosed();
  });

  test('CLI and RPC at once lose nothing of each other', async () => {
    const cli = openclaw(g, ['config', 'set', 'ui.seamColor', '#bb0002']);
    let patched = 0;
    for (let end = false; !end && patched < 20; ) {
      const { hash } = await get();
      const raw = JSON.stringify({ messages: { ackReaction: `r${patched}` } });
      const made = await client.request('config.patch', { raw, baseHash: hash }).catch((e) => assert.match(e.message, /changed since last load/));
      if (made) patched++;
      end = await Promise.race([cli.then(() => true), new Promise((ok) => setTimeout(ok, 250, false))]);
    }
    assert.ok(patched > 0);
    const { code, err } = await cli;
    if (code === 0) assert.equal(onDisk().ui.seamColor, '#bb0002', 'acknowledged to the CLI and lost');
    else assert.match(err, /changed/);
    assert.equal(onDisk().messages.ackReaction, `r${patched - 1}`, 'acknowledged over RPC and lost');
    await nobodyClosed();
  });
});

describe('over RPC', () => {
  const patch = async (change, more = {}) => client.request('config.patch', { raw: JSON.stringify(change), baseHash: (await get()).hash, ...more });
  const refusal = (method, params) => client.request(method, params).then(() => assert.fail(`${method} was taken`), (e) => e);

  test('config.get shows the file without its secrets', async () => {
    const snapshot = await get();
    assert.equal(snapshot.path, file);
    assert.deepEqual([snapshot.exists, snapshot.valid, snapshot.issues], [true, true, []]);
    assert.equal(snapshot.parsed.gateway.auth.token, REDACTED);
    assert.equal(snapshot.raw, text().replace(JSON.stringify(g.token), JSON.stringify(REDACTED)));
    assert.ok(snapshot.config.gateway && snapshot.sourceConfig.gateway && snapshot.resolved.gateway);
    assert.ok(!JSON.stringify(snapshot).includes(`"${g.token}"`), 'the token is nowhere');
    assert.equal((await get()).hash, snapshot.hash);
  });

  test('config.patch: objects merge, null deletes, the answer holds the next hash', async () => {
    const made = await patch({ messages: { ackReaction: 'yes', responsePrefix: 'p' } });
    assert.equal(made.ok, true);
    assert.equal(made.hash, (await get()).hash);
    assert.ok(made.changedPaths.some((p) => p.startsWith('messages')), JSON.stringify(made.changedPaths));
    assert.deepEqual([onDisk().messages.ackReaction, onDisk().messages.responsePrefix], ['yes', 'p']);
    await client.request('config.patch', { raw: '{ messages: { responsePrefix: null } }', baseHash: made.hash });
    assert.deepEqual([onDisk().messages.ackReaction, 'responsePrefix' in onDisk().messages], ['yes', false]);
    assert.equal(onDisk().gateway.auth.token, g.token);
    await nobodyClosed();
  });

  test('config.patch applies before it answers', async () => {
    const origin = 'https://patched.example';
    await patch({ gateway: { controlUi: { allowedOrigins: [origin] } } });
    assert.equal(await admits(origin), true);
    await patch({ gateway: { controlUi: { allowedOrigins: null } } }, { replacePaths: ['gateway.controlUi.allowedOrigins'] });
    assert.equal(await admits(origin), false);
    await nobodyClosed();
  });

  test('a patch that drops entries of a list has to say so', async () => {
    await patch({ gateway: { controlUi: { allowedOrigins: ['https://a.example', 'https://b.example'] } } });
    const had = text();
    const no = { raw: JSON.stringify({ gateway: { controlUi: { allowedOrigins: ['https://a.example'] } } }), baseHash: (await get()).hash };
    assert.match((await refusal('config.patch', no)).message, /allowedOrigins/);
    assert.equal(text(), had);
    await client.request('config.patch', { ...no, replacePaths: ['gateway.controlUi.allowedOrigins'] });
    assert.deepEqual(onDisk().gateway.controlUi.allowedOrigins, ['https://a.example']);
  });

  test('config.set and config.apply take back what config.get gave, and the secret survives', async () => {
    for (const [method, level] of [['config.set', 'error'], ['config.apply', 'info']]) {
      const { raw, hash } = await get();
      const edited = JSON.parse(raw);
      edited.logging = { level };
      const made = await client.request(method, { raw: JSON.stringify(edited, null, 2), baseHash: hash });
      assert.equal(made.ok, true);
      assert.equal(made.config.gateway.auth.token, REDACTED);
      assert.deepEqual([onDisk().logging.level, onDisk().gateway.auth.token], [level, g.token]);
    }
    const again = await connect(g.url, { token: g.token });
    assert.ok(again.hello, 'the token still lets in');
    await again.close();
    await nobodyClosed();
  });

  test('a stale base, no base, a hand that was quicker: refused, and the file is theirs', async () => {
    const { raw, hash } = await get();
    const change = JSON.stringify({ messages: { ackReaction: 'late' } });
    for (const method of ['config.set', 'config.apply', 'config.patch']) {
      const edit = method === 'config.patch' ? change : JSON.stringify({ ...JSON.parse(raw), messages: { ackReaction: 'late' } });
      assert.match((await refusal(method, { raw: edit })).message, /base hash required/, method);
      assert.match((await refusal(method, { raw: edit, baseHash: '0'.repeat(64) })).message, /changed since last load/, method);
    }
    g.edit((c) => { c.messages.ackReaction = 'by hand'; });
    assert.match((await refusal('config.patch', { raw: change, baseHash: hash })).message, /changed since last load/);
    assert.equal(onDisk().messages.ackReaction, 'by hand');
    await until('the edit to be taken', async () => (await get()).sourceConfig.messages.ackReaction === 'by hand');
    await nobodyClosed();
  });

  test('what is invalid is refused with its paths, and nothing is written', async () => {
    const had = text();
    const { hash } = await get();
    const e = await refusal('config.patch', { raw: '{ gateway: { port: "x" } }', baseHash: hash });
    assert.match(e.message, /gateway\.port/);
    assert.equal(e.details.issues[0].path, 'gateway.port');
    assert.match((await refusal('config.patch', { raw: '{nope', baseHash: hash })).message, /./);
    assert.match((await refusal('config.patch', { raw: '[1]', baseHash: hash })).message, /object/);
    assert.match((await refusal('config.set', { raw: '{ ui: {} }', baseHash: hash })).message, /gateway.mode|rejected|clobber/i);
    assert.equal(text(), had);
    assert.equal((await get()).hash, hash);
    await nobodyClosed();
  });

  test('six patches at once on one base: the winners are all in the file', async () => {
    const { hash } = await get();
    const made = await Promise.allSettled([...'ABCDEF'].map((k) => client.request('config.patch', { raw: JSON.stringify({ env: { vars: { [`SIX_${k}`]: k } } }), baseHash: hash })));
    const vars = onDisk().env?.vars ?? {};
    made.forEach((r, i) => {
      const k = 'ABCDEF'[i];
      if (r.status === 'fulfilled') assert.equal(vars[`SIX_${k}`], k, `${k} was acknowledged and lost`);
      else assert.match(r.reason.message, /changed since last load/);
    });
    assert.ok(made.some((r) => r.status === 'fulfilled'));
    await nobodyClosed();
  });

  test('reading needs operator.read, writing operator.admin', async () => {
    const reader = await connect(g.url, { token: g.token, scopes: ['operator.read'] });
    assert.equal((await reader.send('config.get', {})).ok, true);
    for (const method of ['config.set', 'config.patch', 'config.apply']) {
      const { error } = await reader.send(method, { raw: '{}' });
      assert.equal(error.details.code, 'MISSING_SCOPE', method);
      assert.equal(error.details.missingScope, 'operator.admin');
    }
    await reader.close();
  });

  test('the schema describes itself from the root down', async () => {
    const whole = await client.request('config.schema', {});
    assert.ok(whole.schema.properties.gateway && whole.schema.properties.logging && whole.uiHints && whole.version);
    const node = await client.request('config.schema.lookup', { path: 'gateway' });
    const port = node.children.find((c) => c.key === 'port');
    assert.deepEqual([port.path, port.type, port.hasChildren], ['gateway.port', 'integer', false]);
    assert.equal((await client.request('config.schema.lookup', { path: 'gateway.port' })).schema.type, 'integer');
    assert.match((await refusal('config.schema.lookup', { path: 'gateway.nope' })).message, /not found/);
  });

  test("what the user wrote around a value stays: comments, order, quotes, the file's mode", async () => {
    const before = [
      '// my gateway', '{', "  gateway: { mode: 'local', bind: 'loopback', // not the LAN", `    port: ${g.port},`,
      `    auth: { mode: 'token', token: '${g.token}' } }, /* do not touch */`, '  logging: {',
      "    level: 'info', // quieter than debug", '  },', '}', '',
    ].join('\n');
    fs.writeFileSync(file, before);
    fs.chmodSync(file, 0o640);
    await until('the edit to be taken', async () => (await get()).raw === before.replace(g.token, REDACTED));
    await patch({ logging: { level: 'debug' } });
    assert.match(text(), /level: ["']debug["'], \/\/ quieter than debug/);
    assert.equal(text().replace(/["']debug["']/, "'info'"), before);
    assert.equal(fs.statSync(file).mode & 0o777, 0o640);
    await nobodyClosed();
  });
});
