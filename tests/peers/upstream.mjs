// In front of a real OpenClaw: clients attach to Barnacle, OpenClaw stands behind it in the same home, and nobody
// attached notices what befalls it.
//
// A second tap stands between the two, so that it can be told what reached OpenClaw and what did not. The model is
// a stand-in that streams as slowly as a test needs. OpenClaw takes ten seconds to start on an idle machine, so one
// instance serves all tests, and is killed where a test says so.
//
//   tests/peers/run upstream.mjs        apart from the others, which leave OpenClaw too little of a small machine
//   SCREENSHOTS=<folder> …              keeps pictures of the page, while OpenClaw is away and when it is back
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GatewayClient } from '@openclaw/gateway-client';
import { Gateway, freePort, here, run, until } from './gateway.mjs';
import { OpenClaw } from './openclaw.mjs';
import { config } from './openclaw-config.mjs';
import { startModel } from './model-stand-in.mjs';
import { Browser, allText } from './browser.mjs';
import { Fleet, SCOPES as OPERATOR, ends, pause, soon, within } from './fleet.mjs';
import { startTap } from './tap.mjs';
import { connect, newDevice } from './wire.mjs';

const list = (file) => fs.readFileSync(path.join(here, file), 'utf8').trim().split('\n');
const ADVERTISED = list('methods-2026.9.6.txt');
/** What each method needs, of OpenClaw's own list: the one that Barnacle judges by. */
const SCOPES = new Map(list('../../src/protocol/methods.tsv').map((row) => row.split('\t')));
/** What Barnacle waits for an OpenClaw that is away, and some more for one that is slow. */
const WAIT_MS = 120_000, PATIENCE_MS = 300_000;
/** Barnacle 9.9.9, which writes a hand-over down in another way: see tests/upgrade. `run` builds it. */
const NEXT = process.env.BARNACLE_NEXT;
const AGENTS = Number(process.env.AGENTS ?? 10);

let model, tap, oc, g, url, admin, node, nodeId;
before(async () => {
  model = await startModel();
  const port = await freePort();
  tap = await startTap(() => port);
  g = await Gateway.start('upstream', {}, {
    kept: false, text: (g) => config(g, model), args: () => ['--upstream', `ws://127.0.0.1:${tap.port}`],
    // A copy of its own, to be replaced by another version.
    program: (home, binary) => { fs.copyFileSync(binary, path.join(home, 'barnacle')); return path.join(home, 'barnacle'); },
  });
  url = `ws://127.0.0.1:${g.realPort}`;
  oc = new OpenClaw(g, port);
  oc.spawn();
  node = startNode(g.token);
  await oc.ready();
  admin = await until('a connection', async () => {
    const s = await connect(url, { token: g.token, device: newDevice() });
    if (s.hello?.server.version.startsWith('2026.')) return s;
    // Until Barnacle has heard OpenClaw for the first time, its hello-ok is its own.
    s.ws.terminate();
    return null;
  }, PATIENCE_MS);
  await until('OpenClaw to answer through Barnacle', async () => (await admin.send('sessions.list', {})).ok, PATIENCE_MS);
}, { timeout: 2 * PATIENCE_MS });
after(async () => {
  node?.kill('SIGKILL');
  await oc?.stop('SIGKILL');
  await g?.end();
  await tap?.close();
  await model?.close();
});

/** `openclaw node run`, in a home of its own, attached to Barnacle. */
function startNode(token) {
  const home = path.join(g.home, 'node');
  const state = path.join(home, '.openclaw');
  fs.mkdirSync(state, { recursive: true });
  const entry = path.join(here, 'node_modules/openclaw/openclaw.mjs');
  const child = spawn(process.execPath, [entry, 'node', 'run', '--host', '127.0.0.1', '--port', String(g.port), '--display-name', 'headless'], {
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

test('hello-ok is of both: OpenClaw\'s methods, events and version, and a connection of Barnacle\'s own', async () => {
  const direct = await connect(oc.url, { token: g.token });
  assert.ok(direct.hello, JSON.stringify(direct.refusal));
  const [theirs, ours] = [direct.hello, admin.hello];
  for (const name of ['version', 'buildId', 'bootId']) assert.equal(ours.server[name], theirs.server[name], name);
  assert.notEqual(ours.server.connId, theirs.server.connId);
  for (const name of ['config.plan', 'health', 'device.pair.list']) assert.ok(ours.features.methods.includes(name), name);
  const own = (event) => ours.features.events.includes(event);
  assert.deepEqual(theirs.features.methods.filter((m) => !ours.features.methods.includes(m)), []);
  // Who may attach is Barnacle's alone.
  const kept = theirs.features.events.filter((e) => !e.startsWith('device.pair.'));
  assert.deepEqual(kept.filter((e) => !own(e)), [], 'events that are not announced');
  assert.ok(own('config.reloaded'), 'an event of Barnacle\'s own');
  assert.deepEqual(ADVERTISED.filter((m) => !ours.features.methods.includes(m)), [], 'methods of the list');
  assert.equal(new Set(ours.features.methods).size, ours.features.methods.length, 'none is named twice');
  await direct.close();
});

for (const [kind, device] of [['with a derived identity', newDevice()], ['without one', undefined]]) {
  test(`every advertised method is judged by its scope, and what is refused never reaches OpenClaw, ${kind}`, { timeout: PATIENCE_MS }, (t) => judged(t, device));
}
async function judged(t, device) {
  const reader = await connect(url, { token: g.token, device, scopes: ['operator.read'] });
  assert.deepEqual(reader.hello.auth.scopes, ['operator.read']);
  await until('its way to OpenClaw', async () => (await reader.send('sessions.list', {})).ok);
  // A request keeps its id on the way through.
  const ids = new Set(), send = reader.ws.send.bind(reader.ws);
  reader.ws.send = (text) => { ids.add(JSON.parse(text).id); send(text); };
  const reached = (method) => tap.frames.some(({ dir, frame }) => dir === 'client' && frame.method === method && ids.has(frame.id));
  tap.frames.length = 0;
  const seen = { refused: 0, answered: 0, params: 0, failed: 0, silent: [] }, wrong = [];
  const one = async (method) => {
    const answer = await soon(10_000, reader.send(method, {}).catch((e) => ({ closed: e.message })));
    const scope = SCOPES.get(method);
    const readable = scope === 'operator.read' || scope === 'dynamic';
    // Some wait for what never comes, and a busy OpenClaw is slow; a refusal is neither.
    if (!answer) return readable ? seen.silent.push(method) : wrong.push(`${method}: no answer`);
    const { code, message = '' } = answer.error ?? {};
    const said = `${method}: ${JSON.stringify(answer.error ?? answer.closed)}`;
    if (answer.closed || /unknown method/i.test(message)) return wrong.push(said);
    const refused = /missing scope|unauthorized role/.test(message);
    if (refused) seen.refused++;
    else if (answer.ok) seen.answered++;
    else if (code === 'INVALID_REQUEST') seen.params++;
    else seen.failed++;
    if (!readable && !refused) wrong.push(`let through: ${said}`);
    if (!readable && reached(method)) wrong.push(`reached OpenClaw: ${method}`);
    if (scope === 'operator.read' && refused) wrong.push(said);
  };
  const left = [...ADVERTISED];
  await Promise.all(Array.from({ length: 8 }, async () => { for (let m; (m = left.shift());) await one(m); }));
  t.diagnostic(JSON.stringify(seen));
  assert.deepEqual(wrong, []);
  assert.ok(seen.answered + seen.params > seen.silent.length + seen.failed, JSON.stringify(seen));
  reader.ws.terminate();
}

test('a node host behind both is approved, invoked and answers', { timeout: PATIENCE_MS }, async () => {
  const listed = (fits) => until('the node', async () => (await admin.call('node.list')).nodes.find((n) => n.displayName === 'headless' && n.connected && fits(n)), PATIENCE_MS)
    .catch((e) => { throw new Error(`${e.message}\n${node.said}\n${g.tail()}`); });
  ({ nodeId } = await listed(() => true));
  await assert.rejects(which(), 'no command before approval');
  const { pending } = await admin.call('node.pair.list');
  const request = pending.find((r) => r.nodeId === nodeId);
  assert.ok(request?.commands.includes('system.which'), JSON.stringify(pending));
  await admin.call('node.pair.approve', { requestId: request.requestId });
  await listed((n) => n.commands.includes('system.which'));
  // The first one at an approval may be told to come again.
  assert.match(await until('an answer', which, 60_000), /\/sh\b/);
});
async function which() {
  const params = { nodeId, command: 'system.which', params: { bins: ['sh'] }, timeoutMs: 15_000, idempotencyKey: crypto.randomUUID() };
  const result = await admin.call('node.invoke', params);
  return JSON.stringify(result.payload ?? result.payloadJSON);
}

let fleet;
/** Requests to pair that were announced. */
const paired = [];

/** Saves `change` of openclaw.json; the connections that the plan names are the ones that may go. */
async function edit(what, change) {
  const next = JSON.parse(fs.readFileSync(g.file, 'utf8'));
  change(next);
  const raw = JSON.stringify(next, null, 2);
  const plan = await admin.call('config.plan', { raw });
  for (const { connId } of plan.closes) fleet.doomed.add(connId);
  const told = admin.events.length;
  g.save(raw);
  await until(`${what} to be taken`, () => admin.events.slice(told).some((e) => e.event === 'config.reloaded'), 30_000)
    .catch((e) => { throw new Error(`${e.message}\n${JSON.stringify(plan)}\n${g.tail()}`); });
  return plan;
}

/** The reference client. It comes back by itself, so a second hello is a connection that was lost. */
async function reference() {
  const p = { hellos: 0, closes: [], answered: 0 };
  p.client = new GatewayClient({
    url, clientName: 'cli', mode: 'cli', token: g.token, deviceIdentity: newDevice(), scopes: OPERATOR,
    hostDeps: {
      signDevicePayload: (pem, payload) => crypto.sign(null, Buffer.from(payload), pem).toString('base64url'),
      publicKeyRawBase64UrlFromPem: (pem) => crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64url'),
      loadDeviceAuthToken: () => null, storeDeviceAuthToken: () => {}, clearDeviceAuthToken: () => fleet.note('a device token erased'), logError: () => {},
    },
    onHelloOk: () => p.hellos++,
    onClose: (code, reason) => { if (fleet.running) { fleet.books.closed++; fleet.closes.push(`reference ${code} ${reason}`); } },
    onReconnectPaused: (info) => fleet.note(`the reference client gave up: ${JSON.stringify(info)}`),
  });
  p.client.start();
  await until('the reference client', () => p.hellos);
  return p;
}

test('nobody attached notices what befalls OpenClaw, the configuration or Barnacle', { timeout: 4 * PATIENCE_MS }, async (t) => {
  fleet = new Fleet(url, () => g.token, WAIT_MS);
  const { books } = fleet;
  const agents = await Promise.all(Array.from({ length: AGENTS }, (_, i) => fleet.attach(`agent ${i}`)));
  const bare = await fleet.attach('without a device', {});
  const peer = await reference();
  const browser = await Browser.start();
  t.after(async () => { fleet.running = false; peer.client.stop(); await browser.end(); });
  // The page as Barnacle serves it, which is OpenClaw's.
  const page = await browser.open(`http://127.0.0.1:${g.realPort}/#token=${g.token}`);
  const opened = () => page.frames.some((f) => f.dir === 'gateway' && f.text.includes('"hello-ok"'));
  await until('the page to be attached', opened, PATIENCE_MS).catch(async (e) => { throw new Error(`${e.message}\n${(await page.text()).slice(0, 800)}\n${page.console.slice(-5).join('\n')}`); });
  page.closesBefore = page.closes;
  admin.onevent = (e) => { if (e.event === 'device.pair.requested') paired.push(JSON.stringify(e.payload)); };
  const loops = [...agents.map((c) => c.loop()), bare.loopForGood()];
  const wellKnown = (async () => {
    while (fleet.running) {
      const since = Date.now();
      await peer.client.request('sessions.list', {}, { timeoutMs: PATIENCE_MS }).then(() => peer.answered++, (e) => fleet.running && fleet.note(`the reference client after ${Date.now() - since} ms: ${e.message}`));
      await pause(100);
    }
  })();
  const step = async (what, act) => {
    const since = Date.now(), before = { ...books };
    await act();
    await fleet.answered(what, agents, PATIENCE_MS).catch((e) => { throw new Error(`${e.message}\n${fleet.wrong.slice(-3).join('\n')}\n${g.tail()}\n${oc.tail()}`); });
    t.diagnostic(`${what}: ${((Date.now() - since) / 1000).toFixed(1)} s, ${books.answers - before.answers} answers, ${books.closed - before.closed} closed, ${books.mustGo - before.mustGo} had to go, ${fleet.wrong.length} wrong so far`);
  };
  const cli = async (args, env = {}) => {
    const r = await run(process.execPath, [path.join(here, 'node_modules/openclaw/openclaw.mjs'), ...args], g.env(env), PATIENCE_MS);
    if (r.code !== 0) fleet.note(`openclaw ${args.join(' ')}: exit ${r.code} ${r.err.slice(-400)}`);
    return r;
  };
  // Of `status` a part is OpenClaw's, which may be away.
  const restarts = () => fs.readFileSync(path.join(g.home, 'gateway.log'), 'utf8').split(' handed over from ').length;
  /** Restarts Barnacle in its process. */
  const restart = async () => {
    const before = restarts();
    g.child.kill('SIGUSR1');
    await until('the restart', () => restarts() > before, PATIENCE_MS);
  };
  const { pid } = g.child;

  await step('they attached', () => {});
  // A run that streams through all that does not touch OpenClaw's process. An edit while OpenClaw still prepares it
  // ends it, so its first words are waited for.
  const stream = await fleet.attach('stream');
  await stream.call('sessions.subscribe', {});
  await stream.call('chat.send', { sessionKey: 'main', message: 'slowly 100', idempotencyKey: 'streamed' });
  await within(PATIENCE_MS, 'the first words', stream.s.event('chat', (p) => p.runId === 'streamed' && /piece/.test(JSON.stringify(p))));
  await step('channels.whatsapp.allowFrom', () => edit('channels', (c) => { c.channels = { whatsapp: { enabled: false, allowFrom: ['+491701234567'] } }; }));
  await step('messages.ackReaction', () => edit('messages', (c) => { c.messages = { ackReaction: '👀', ackReactionScope: 'group-all' }; }));
  await step('agents.defaults', () => edit('agents', (c) => { c.agents.defaults.timeoutSeconds = 300; }));
  await step('Barnacle by SIGUSR1', restart);
  const final = await within(PATIENCE_MS, 'the end of the streamed run', stream.s.event('chat', ends('streamed')));
  assert.equal(final.payload.state, 'final', JSON.stringify(final.payload));
  assert.match(JSON.stringify(final.payload), /piece 100/);

  // The page reads the transcript when a run ends, and what is typed before that it keeps to itself.
  await until('the page to be at rest', () => atRest(page), PATIENCE_MS);
  await step('OpenClaw by SIGTERM and a start, and a word typed into the page meanwhile', async () => {
    await oc.stop('SIGTERM');
    const call = cli(['gateway', 'call', 'health']);
    await page.type('typed while away').catch(async (e) => { throw new Error(`${e.message}\n${(await page.text()).slice(0, 800)}`); });
    await shot(page, 'away');
    await oc.up();
    await call;
    // OpenClaw takes what it had added to the message out of the answer again, so that the two read the same.
    await page.until('the message and its answer on the page', `(${allText})(document.body).split('typed while away').length > 2`, PATIENCE_MS);
    await shot(page, 'answered');
  });
  await step('OpenClaw by kill -9 and a start', async () => {
    await oc.stop('SIGKILL');
    const call = cli(['gateway', 'call', 'sessions.list', '--timeout', String(PATIENCE_MS)]);
    await oc.up();
    await call;
  });
  await step('openclaw gateway restart', async () => {
    const away = () => fs.readFileSync(path.join(g.home, 'gateway.log'), 'utf8').split(' is away: ').length;
    const before = away();
    await cli(['gateway', 'restart'], { OPENCLAW_GATEWAY_PORT: String(oc.port) });
    await until('OpenClaw to restart', () => away() > before, PATIENCE_MS);
  });
  await step('both at once', async () => {
    await Promise.all([oc.stop('SIGKILL'), restart()]);
    await oc.up();
  });
  await step('gateway.auth.token', async () => {
    g.token = 'T2-another-shared-token';
    await edit('the token', (c) => { c.gateway.auth.token = g.token; });
  });
  for (const mode of ['none', 'token']) {
    await step(`gateway.auth.mode ${mode}`, async () => {
      await edit(`the mode ${mode}`, (c) => { c.gateway.auth.mode = mode; });
    });
  }
  await step('Barnacle by its command', async () => {
    const { code, err } = await run(g.program, ['gateway', 'restart', '--url', url, '--token', g.token], g.env());
    assert.equal(code, 0, err);
  });
  await step('Barnacle by an upgrade', async () => {
    fs.copyFileSync(NEXT, `${g.program}.new`);
    fs.renameSync(`${g.program}.new`, g.program);
    await admin.call('gateway.restart.request', { reason: 'upgrade' });
    await until('Barnacle 9.9.9', () => /Barnacle 9\.9\.9 handed over from/.test(g.tail()), PATIENCE_MS).catch((e) => { throw new Error(`${e.message}\n${g.tail()}`); });
  });
  await cli(['nodes', 'status', '--timeout', String(PATIENCE_MS)]);
  if (nodeId) assert.match(await until('the node to answer', which, PATIENCE_MS), /\/sh\b/);
  // Last, since OpenClaw means to restart for a port, puts that off while it is asked anything, for 300 s at most, and
  // meanwhile refuses everybody who shows a token that was edited after it.
  await step('gateway.port, which the command line of both overrules', () => edit('the port', (c) => { c.gateway.port += 1; }));
  await step('gateway.port as it was', () => edit('the port', (c) => { c.gateway.port -= 1; }));
  assert.equal(g.child.pid, pid);

  fleet.running = false;
  await soon(20_000, Promise.all([...loops, wellKnown]));
  books.closed += page.closes - page.closesBefore;
  if (page.closes > page.closesBefore) fleet.closes.push('the page');
  const pending = (await admin.call('device.pair.list')).pending;
  t.diagnostic(JSON.stringify({ clients: AGENTS + 5, ...books, reference: peer.answered }));
  assert.deepEqual(fleet.wrong.slice(0, 10), []);
  assert.deepEqual(fleet.closes.slice(0, 10), []);
  assert.deepEqual({ closed: books.closed, lost: books.lost, hellos: peer.hellos, gaps: books.gaps, paired, pending }, { closed: 0, lost: 0, hellos: 1, gaps: 0, paired: [], pending: [] });
  assert.ok(books.mustGo > 0, 'the one without a device had to go with its token');
});

/** Whether the page has seen the end of the streamed run, and was answered whatever it asked. */
function atRest(page) {
  const frames = page.frames.map(({ dir, text }) => { try { return { dir, ...JSON.parse(text) }; } catch { return {}; } });
  const ended = frames.findIndex((f) => f.event === 'chat' && ends('streamed')(f.payload));
  const answered = new Set(frames.filter((f) => f.type === 'res').map((f) => f.id));
  const asked = frames.slice(ended).filter((f) => f.type === 'req');
  return ended >= 0 && asked.some((f) => f.method === 'chat.history') && asked.every((f) => answered.has(f.id));
}

/** Takes a picture of the page, where `SCREENSHOTS` names a folder. */
async function shot(page, name) {
  if (process.env.SCREENSHOTS) await page.screenshot(path.join(process.env.SCREENSHOTS, `${name}.png`));
}

/** One kill for the two tests that follow: the client, and what it waits for of the run that was lost. */
const outage = {};
test('a message sent while OpenClaw is away is answered when it is back, once', { timeout: 2 * PATIENCE_MS }, async (t) => {
  const s = await connect(url, { token: g.token, device: newDevice(), scopes: ['operator.read', 'operator.write'] });
  await s.call('sessions.subscribe', {});
  await s.call('chat.send', { sessionKey: 'main', message: 'slowly 3000', idempotencyKey: 'lost' });
  await within(PATIENCE_MS, 'its first words', s.event('chat', (p) => p.runId === 'lost' && /piece/.test(JSON.stringify(p))));
  const waits = s.send('agent.wait', { runId: 'lost', timeoutMs: PATIENCE_MS });
  waits.catch(() => {});
  Object.assign(outage, { s, waits });
  await oc.stop('SIGKILL');
  const asked = model.asked.length;
  const meanwhile = s.send('chat.send', { sessionKey: 'other', message: 'are you there', idempotencyKey: 'meanwhile' });
  meanwhile.catch(() => {});
  assert.equal(await soon(500, meanwhile), null, 'it waits');
  await oc.up();
  const sent = await within(PATIENCE_MS, 'chat.send', meanwhile);
  assert.ok(sent.ok, JSON.stringify(sent));
  const answer = await within(PATIENCE_MS, 'the answer', s.event('chat', ends('meanwhile')));
  assert.equal(answer.payload.state, 'final', JSON.stringify(answer.payload));
  const history = await until('the transcript', async () => {
    const { messages } = await s.call('chat.history', { sessionKey: 'other' });
    return messages.some((m) => m.role === 'assistant') && messages;
  }, 60_000);
  const texts = (role) => history.filter((m) => m.role === role).map((m) => JSON.stringify(m.content));
  assert.equal(texts('user').filter((text) => text.includes('are you there')).length, 1, JSON.stringify(history));
  assert.equal(texts('assistant').filter((text) => text.includes('you said')).length, 1, JSON.stringify(history));
  t.diagnostic(`the model was asked ${model.asked.length - asked} times since`);
});

// OpenClaw resumes an interrupted turn, but under another id: whoever waits for this one would wait for ever.
test('a run that OpenClaw lost in that kill is ended', { timeout: PATIENCE_MS }, async () => {
  const { s, waits } = outage;
  const ended = await within(60_000, 'the end of the lost run', s.event('chat', ends('lost')));
  assert.equal(ended.payload.state, 'error', JSON.stringify(ended.payload));
  const waited = await within(60_000, 'agent.wait', waits);
  assert.ok(waited.ok && waited.payload.status === 'error', JSON.stringify(waited));
  s.ws.terminate();
});

test('kill -9 of Barnacle: clients come back, and runs in OpenClaw go on', { timeout: PATIENCE_MS }, async () => {
  const device = newDevice();
  const attach = async () => {
    const s = await connect(url, { token: g.token, device, scopes: OPERATOR });
    await s.call('sessions.subscribe', {});
    return s;
  };
  // Not in the session of the run that was lost: OpenClaw resumes that one.
  const before = await attach();
  await before.call('chat.send', { sessionKey: 'goes-on', message: 'slowly 50', idempotencyKey: 'goes-on' });
  await within(PATIENCE_MS, 'its first words', before.event('chat', (p) => p.runId === 'goes-on' && /piece/.test(JSON.stringify(p))));
  await g.restart('SIGKILL');
  const after = await until('the same device to be let in', attach);
  const final = await within(PATIENCE_MS, 'the end of the run', after.event('chat', ends('goes-on')));
  assert.equal(final.payload.state, 'final', JSON.stringify(final.payload));
  assert.match(JSON.stringify(final.payload), /piece 50/);
  const waited = await after.call('agent.wait', { runId: 'goes-on', timeoutMs: 10_000 });
  assert.equal(waited.status, 'ok', JSON.stringify(waited));
  after.ws.terminate();
});
