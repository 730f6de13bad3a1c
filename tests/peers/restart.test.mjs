// A hundred restarts that nobody sees, with everybody calling.
//
// 200 clients stay attached: the real Control UI in a browser, the reference client as operator and as node,
// bare WebSockets without a device, some that read slowly, some whose large messages are under way in
// fragments. All of them call all the time while the gateway restarts, by signal and by RPC in turn. Counted
// over all of it: connections closed, answers lost, answers doubled, gaps in `seq`, and connects refused to
// a prober that knocks every 2 ms from a thread of its own.
//
// Then, under the same load and in the same books, the program on disk is replaced: by ones that cannot go on
// from here, which the old one says and serves on, and by another version, which takes over.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { GatewayClient } from '@openclaw/gateway-client';
import WebSocket from 'ws';
import { Gateway, run, until } from './gateway.mjs';
import { Browser, serveControlUi } from './browser.mjs';
import { connect, newDevice } from './wire.mjs';

const RESTARTS = Number(process.env.RESTARTS ?? 100);
const FLEET = { bare: 80, operators: 60, nodes: 19, slow: 20, fragments: 20, page: 1 };
const COMMAND = 'board.echo';
/** Barnacle 9.9.9, which writes a hand-over down in another way: see tests/upgrade. `run` builds it. */
const NEXT = process.env.BARNACLE_NEXT;
/** What is no successor, and what is said of it. */
const UNFIT = [
  ['#!/bin/sh\nkill -SEGV $$\n', 'signal 11'],
  ['\x7fELF, or so it says', 'cannot be run'],
  ['#!/bin/sh\necho barnacle 9.9.9 can go on from anything\n', 'cannot take over'],
];

const seen = { calls: 0, answers: 0, retried: 0, lost: 0, doubled: 0, wrong: 0, closed: 0, gaps: 0, events: 0 };
const closes = [], wrong = [];
let g, url, ui, browser, page, admin, running = true;
const pause = (ms) => new Promise((ok) => setTimeout(ok, ms));

/** A bare WebSocket that keeps the books of its own answers and of `seq`. */
class Bare {
  static async attach() {
    const b = new Bare();
    b.session = await connect(url, { token: g.token });
    assert.ok(b.session.hello, JSON.stringify(b.session.refusal));
    b.open = new Map();
    b.next = 0;
    b.seq = Math.max(-1, ...b.session.events.map((e) => e.seq ?? -1));
    b.session.ws.on('message', (data) => b.take(JSON.parse(String(data))));
    b.session.ws.on('close', (code, reason) => {
      if (!running) return;
      seen.closed++;
      closes.push(`bare ${code} ${reason}`);
    });
    return b;
  }

  take(frame) {
    if (frame.type === 'event') {
      seen.events++;
      if (typeof frame.seq !== 'number') return;
      if (this.seq >= 0 && frame.seq !== this.seq + 1) seen.gaps++;
      this.seq = frame.seq;
      return;
    }
    const done = this.open.get(frame.id);
    if (!done) { seen.doubled++; return; }
    this.open.delete(frame.id);
    done(frame);
  }

  /** Sends a request, in `parts` fragments if there are more than one, and judges the answer by `fits`. */
  async call(method, params, fits, parts = 1) {
    const id = String(this.next++);
    const text = JSON.stringify({ type: 'req', id, method, params });
    const answer = new Promise((ok) => this.open.set(id, ok));
    seen.calls++;
    for (let i = 0; i < parts; i++) {
      const at = (n) => Math.floor((text.length * n) / parts);
      this.session.ws.send(text.slice(at(i), at(i + 1)), { fin: i === parts - 1, binary: false });
      if (i < parts - 1) await pause(5);
    }
    judge(await answer, fits);
  }
}

/** An answer is the right one, or asks for patience; anything else is wrong. */
function judge(frame, fits) {
  seen.answers++;
  if (frame.ok ? fits(frame.payload) : frame.error?.code === 'UNAVAILABLE' && frame.error.retryAfterMs > 0) {
    if (!frame.ok) seen.retried++;
    return;
  }
  seen.wrong++;
  wrong.push(JSON.stringify(frame).slice(0, 300));
}

/** The reference client. It comes back by itself, so a second hello is a connection that was lost. */
async function reference(options, onEvent) {
  const identity = newDevice();
  const p = { identity, hellos: 0 };
  p.client = new GatewayClient({
    url, clientName: 'cli', mode: 'cli', token: g.token, deviceIdentity: identity, scopes: ['operator.read', 'operator.write'], ...options,
    hostDeps: {
      signDevicePayload: (pem, payload) => crypto.sign(null, Buffer.from(payload), pem).toString('base64url'),
      publicKeyRawBase64UrlFromPem: (pem) => crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64url'),
      loadDeviceAuthToken: () => null, storeDeviceAuthToken: () => {}, clearDeviceAuthToken: () => {}, logError: () => {},
    },
    onHelloOk: () => p.hellos++,
    onClose: (code, reason) => {
      if (!running) return;
      seen.closed++;
      closes.push(`${options.role ?? 'operator'} ${code} ${reason}`);
    },
    onGap: () => seen.gaps++,
    onEvent: (event) => { seen.events++; onEvent?.(p, event); },
  });
  p.client.start();
  await until('a reference client', () => p.hellos);
  p.call = async (method, params, fits) => {
    seen.calls++;
    await p.client.request(method, params).then(
      (payload) => judge({ ok: true, payload }, fits),
      (e) => running && judge({ ok: false, error: { code: e.gatewayCode ?? e.code, retryAfterMs: e.retryAfterMs, message: e.message } }, fits),
    );
  };
  return p;
}

/** Answers what it is asked with the length and the sum of what came, and the thing itself. */
function echo(p, event) {
  if (event.event !== 'node.invoke.request') return;
  const { id, nodeId, paramsJSON } = event.payload;
  p.client.request('node.invoke.result', { id, nodeId, ok: true, payloadJSON: paramsJSON }).catch((e) => running && wrong.push(`result: ${e.message}`));
}

/** Knocks at the port every 2 ms, from a thread of its own, and counts who is not let in. */
function prober(port) {
  const code = `
    const net = require('node:net'), { parentPort, workerData } = require('node:worker_threads');
    let tried = 0, refused = 0, longest = 0, on = true;
    parentPort.on('message', () => (on = false));
    (async () => {
      while (on) {
        const since = performance.now();
        await new Promise((ok) => {
          const s = net.connect(workerData, '127.0.0.1');
          s.once('connect', () => { s.destroy(); ok(); });
          s.once('error', () => { refused++; ok(); });
        });
        tried++;
        longest = Math.max(longest, performance.now() - since);
        await new Promise((ok) => setTimeout(ok, 2));
      }
      parentPort.postMessage({ tried, refused, longest });
    })();`;
  const worker = new Worker(code, { eval: true, workerData: port });
  const told = new Promise((ok, no) => { worker.once('message', ok); worker.once('error', no); });
  return () => { worker.postMessage('end'); return told; };
}

before(async () => {
  const program = (home, binary) => (fs.copyFileSync(binary, `${home}/barnacle`), `${home}/barnacle`);
  g = await Gateway.start('restart', { nodes: { allowCommands: [COMMAND] } }, { program });
  url = `ws://127.0.0.1:${g.realPort}`;
  admin = await connect(url, { token: g.token });
  assert.ok(admin.hello, JSON.stringify(admin.refusal));
  [ui, browser] = await Promise.all([serveControlUi(), Browser.start()]);
  page = await browser.controlUi(ui, { url, token: g.token });
});
after(async () => {
  running = false;
  await browser?.end();
  await ui?.close();
  await g?.end();
});

const told = async () => (await admin.call('status')).barnacle;
const restarts = async () => (await told()).restarts;

/** Puts a file in the program's place, as an upgrade does: beside it, then renamed over it. */
function replace(put) {
  const beside = `${g.program}.new`;
  put(beside);
  fs.chmodSync(beside, 0o755);
  fs.renameSync(beside, g.program);
}

/** Asks for a restart by RPC, by signal and by the command line: the old one serves on, and says why. */
async function stays(why) {
  const before = await restarts();
  const { ok, error } = await admin.send('gateway.restart.request', { reason: 'upgrade' });
  assert.ok(!ok && error.message.includes('the gateway keeps running') && error.message.includes(why), JSON.stringify(error));
  g.child.kill('SIGUSR1');
  await until(`no restart: ${why}`, async () => { const said = (await told()).notRestarted ?? ''; return said.includes('SIGUSR1') && said.includes(why); });
  const { code, err } = await run(process.env.BARNACLE_BIN, ['gateway', 'restart', '--url', url, '--token', g.token], g.env());
  assert.ok(code === 1 && err.includes(why), `${code} ${err}`);
  assert.equal(await restarts(), before);
}

/** Restarts into the other version, which reports the version that it took over from. */
async function upgrade(from) {
  const said = `Barnacle 9.9.9 handed over from ${from}`;
  const times = () => fs.readFileSync(`${g.home}/gateway.log`, 'utf8').split(said).length;
  const before = times();
  await admin.call('gateway.restart.request', { reason: 'upgrade' });
  await until(said, () => times() > before, 20_000).catch((e) => { throw new Error(`${e.message}\n${g.tail()}`); });
}

test(`${Object.values(FLEET).reduce((a, b) => a + b)} clients call all the time through ${RESTARTS} restarts`, { timeout: 480_000 }, async (t) => {
  const many = (n, make) => Promise.all(Array.from({ length: n }, make));
  const node = { clientName: 'node-host', mode: 'node', role: 'node', scopes: [], commands: [COMMAND] };
  const [bare, slow, fragments] = [await many(FLEET.bare, Bare.attach), await many(FLEET.slow, Bare.attach), await many(FLEET.fragments, Bare.attach)];
  const operators = await many(FLEET.operators, () => reference({}));
  const nodes = await many(FLEET.nodes, () => reference(node, echo));
  for (const { requestId } of (await admin.call('node.pair.list')).pending) await admin.call('node.pair.approve', { requestId });

  const healthy = (payload) => payload.ok === true;
  const nodeIds = nodes.map((p) => p.identity.deviceId);
  let turn = 0;
  const invoke = (text) => {
    const params = { text, sum: crypto.createHash('sha256').update(text).digest('hex') };
    const fits = (payload) => {
      const back = payload.payload ?? JSON.parse(payload.payloadJSON);
      return back.sum === params.sum && crypto.createHash('sha256').update(back.text).digest('hex') === params.sum;
    };
    return [{ nodeId: nodeIds[turn++ % nodeIds.length], command: COMMAND, params, timeoutMs: 20_000, idempotencyKey: crypto.randomUUID() }, fits];
  };
  const letters = (n) => 'abcdefghij'.repeat(n / 10);
  const loops = [
    ...bare.map(async (b) => { while (running) { await b.call('health', {}, healthy); await pause(20); } }),
    ...operators.map(async (p) => { while (running) { await p.call('health', {}, healthy); await pause(40); } }),
    ...fragments.map(async (b, i) => {
      while (running) {
        const [params, fits] = invoke(letters(10_000 + 3_000 * i));
        await b.call('node.invoke', params, fits, 4);
        await pause(200);
      }
    }),
    ...slow.map(async (b, i) => {
      while (running) {
        b.session.ws._socket.pause();
        const answers = Array.from({ length: i < 2 ? 5 : 2 }, () => b.call('node.invoke', ...invoke(letters(i < 2 ? 1_000_000 : 50_000))));
        await pause(400);
        b.session.ws._socket.resume();
        await Promise.all(answers);
        await pause(i < 2 ? 1500 : 300);
      }
    }),
    // Devices come and go, which everyone is told.
    (async () => {
      const device = newDevice();
      while (running) {
        const s = await connect(url, { device, token: g.token, scopes: ['operator.read'] }).catch((e) => (running && closes.push(`a new connection: ${e.message}`), seen.closed++, null));
        if (s && !s.hello) { seen.wrong++; wrong.push(JSON.stringify(s.refusal)); }
        await s?.close();
        await pause(3000);
      }
    })(),
  ];

  const stopProbing = prober(g.realPort);
  const pid = g.child.pid, since = Date.now();
  const had = await restarts();
  for (let n = 1; n <= RESTARTS; n++) {
    // A saved edit is an event for everyone, and may fall into the restart.
    g.edit((c) => { c.logging = { consoleLevel: n % 2 ? 'debug' : 'info' }; });
    if (n % 2) g.child.kill(n % 4 === 1 ? 'SIGUSR1' : 'SIGUSR2');
    else await admin.call('gateway.restart.request', { reason: `restart ${n}` });
    if (n % 10 === 0) await page.go(n % 20 ? '/settings/advanced' : '/settings/gateway');
    await until(`restart ${n}`, async () => (await restarts()) >= had + n, 20_000).catch((e) => { throw new Error(`${e.message}\n${g.tail()}`); });
    await pause(50);
  }
  const took = Date.now() - since;
  const binary = fs.readFileSync(g.program);
  for (const [text, why] of UNFIT) {
    replace((file) => fs.writeFileSync(file, text));
    await stays(why);
  }
  replace((file) => fs.copyFileSync(NEXT, file));
  for (const from of ['0.', '9.9.9', '9.9.9']) await upgrade(from);
  // Back is not possible: that one writes nothing that this version reads.
  replace((file) => fs.writeFileSync(file, binary));
  await stays('format 4');
  const upgraded = Date.now() - since - took;
  const probed = await stopProbing();
  running = false;
  await Promise.race([Promise.all(loops), pause(15_000)]);
  seen.lost = seen.calls - seen.answers;

  const numbers = page.frames.filter((f) => f.dir === 'gateway').map((f) => { try { return JSON.parse(f.text).seq; } catch { return undefined; } }).filter((n) => typeof n === 'number');
  seen.gaps += numbers.filter((n, i) => i > 0 && n !== numbers[i - 1] + 1).length;
  seen.closed += page.closes - page.closesBefore;
  const again = [...operators, ...nodes].reduce((sum, p) => sum + p.hellos - 1, 0);
  t.diagnostic(JSON.stringify({ restarts: RESTARTS, ms: took, upgradesMs: upgraded, clients: 200, ...seen, attachedAgain: again, probed }));
  assert.equal(g.child.pid, pid);
  assert.equal(g.child.exitCode, null);
  assert.deepEqual(wrong.slice(0, 5), []);
  assert.deepEqual(closes.slice(0, 5), []);
  assert.deepEqual({ lost: seen.lost, doubled: seen.doubled, wrong: seen.wrong, closed: seen.closed, gaps: seen.gaps, again, refused: probed.refused },
    { lost: 0, doubled: 0, wrong: 0, closed: 0, gaps: 0, again: 0, refused: 0 });
  assert.ok(seen.answers > 100 * RESTARTS && seen.events > RESTARTS, 'there was load');
  assert.equal(admin.ws.readyState, WebSocket.OPEN);
});
