// The report that Barnacle began with, lived through by everyone who was attached.
//
// Somebody with the reporter's config edits it by hand, by the old CLI and by ours, over RPC and in the Control
// UI, breaks it, fixes it, rotates tokens, restarts, and upgrades the binary in place. Five agents call all
// along on the connection they came with; the only one ever closed is the one whose shared token was taken
// away, when it was.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gateway, openclaw, run, until } from './gateway.mjs';
import { Browser, serveControlUi } from './browser.mjs';
import { connect, newDevice } from './wire.mjs';

let g, ui, browser, page, admin, agents, running = true;
const config = (g, token = g.token) => `{
  // the reporter's board
  gateway: { mode: "local", bind: "loopback", port: ${g.port}, auth: { mode: "token", token: "${token}" } },
  channels: { whatsapp: { allowFrom: ["+15550001"], ackReaction: { emoji: "👀", direct: true, group: "mentions" } } },
  logging: { level: "info" },
}
`;
const text = () => fs.readFileSync(g.file, 'utf8');
const get = () => admin.call('config.get');
const taken = (what, fits) => until(what, async () => { const s = await get(); return s.valid && fits(s.sourceConfig); });
const faults = ({ issues, warnings }) => issues.length + warnings.length;
const whatsapp = (fits) => taken('the edit to be taken', (c) => fits(c.channels.whatsapp));
const count = async () => (await admin.call('status')).barnacle.restarts;

/** Someone who is attached and calls, one call after the other, until its connection is closed. */
async function agent(name, options) {
  const session = await connect(g.url, options);
  assert.ok(session.hello, `${name}: ${JSON.stringify(session.refusal)}`);
  const a = { name, session, calls: 0, faults: [] };
  a.calling = (async () => {
    while (running && !session.closedWith) {
      const answer = await session.send('health', {}).catch((e) => ({ ok: !running || Boolean(session.closedWith), error: e.message }));
      a.calls++;
      if (!answer.ok && answer.error?.code !== 'UNAVAILABLE') a.faults.push(JSON.stringify(answer.error));
      await new Promise((ok) => setTimeout(ok, 10));
    }
  })();
  return a;
}

before(async () => {
  g = await Gateway.start('reporter', {}, {
    text: config,
    program: (home, binary) => { fs.copyFileSync(binary, path.join(home, 'barnacle')); return path.join(home, 'barnacle'); },
  });
  const device = newDevice();
  const paired = await connect(g.url, { device, token: g.token });
  await paired.close();
  // The one who edits has a key of its own, so that no token is its undoing.
  admin = await connect(g.url, { device: newDevice(), token: g.token });
  agents = await Promise.all([
    agent('by device token', { device, deviceToken: paired.token }),
    agent('by key alone', { device }),
    agent('new device with the shared token', { device: newDevice(), token: g.token }),
    agent('a second client of that kind', { device: newDevice(), token: g.token, scopes: ['operator.read'] }),
    agent('shared token alone', { token: g.token }),
  ]);
  [ui, browser] = await Promise.all([serveControlUi(), Browser.start()]);
  page = await browser.controlUi(ui, g);
});
after(async () => {
  running = false;
  await browser?.end();
  await ui?.close();
  await g?.end();
});

/** All are attached as they were, but for `gone`, and have been answered since the last time this was asked. */
async function allAttached(...gone) {
  for (const a of agents) {
    if (gone.includes(a.name)) continue;
    assert.equal(a.session.closedWith, undefined, `${a.name}: ${JSON.stringify(a.session.closedWith)}`);
    const had = a.calls;
    await until(`${a.name} to be answered`, () => a.calls > had + 1);
    assert.deepEqual(a.faults, [], a.name);
  }
  assert.equal(admin.closedWith, undefined);
  assert.equal(page.closes, page.closesBefore, 'the Control UI lost its connection');
}

describe('the reporter', () => {
  test('edits by hand: the two keys of the report', async () => {
    g.save(text().replace('["+15550001"]', '["+15550001", "+15550002"]'));
    await whatsapp((w) => w.allowFrom.length === 2);
    g.save(text().replace('"mentions"', '"always"'));
    await whatsapp((w) => w.ackReaction.group === 'always');
    await allAttached();
  });

  test('edits by the CLI of 2026.2.17, which knows these keys', async () => {
    const r = await openclaw(g, ['config', 'set', 'channels.whatsapp.ackReaction.group', 'never'], 'legacy');
    assert.equal(r.code, 0, r.out + r.err);
    await whatsapp((w) => w.ackReaction.group === 'never');
    await allAttached();
    g.save(config(g));
    await whatsapp((w) => w.ackReaction.group === 'mentions');
  });

  test('edits by our CLI, comments and all', async () => {
    const r = await run(g.program, ['config', 'set', 'channels.whatsapp.ackReaction.group', 'always'], g.env());
    assert.equal(r.code, 0, r.out + r.err);
    assert.equal(text(), config(g).replace('"mentions"', '"always"'));
    await whatsapp((w) => w.ackReaction.group === 'always');
    await allAttached();
  });

  test('edits over RPC', async () => {
    const { hash } = await get();
    await admin.call('config.patch', { raw: '{ channels: { whatsapp: { ackReaction: { group: "mentions" } } } }', baseHash: hash });
    assert.equal(text(), config(g));
    await allAttached();
  });

  test('edits in the Control UI', async () => {
    await page.go('/settings/advanced');
    await page.click('^Core');
    await page.click('^Logging');
    await page.select('Log Level', 'debug');
    await until('the file to be saved', () => text() === config(g).replace('"info"', '"debug"')).catch((e) => { throw new Error(`${e.message}\n${text()}`); });
    await allAttached();
  });

  for (const [how, broken] of [
    ['cut in half', (t) => t.slice(0, t.length / 2)], ['emptied', () => ''], ['two objects', (t) => t + t],
    ['garbage', () => '\u0000\u0001\u0002'], ['a port that is no port', (t) => t.replace(/port: \d+/, 'port: "x"')], ['a brace too many', (t) => `${t}}`],
  ]) {
    test(`breaks it (${how}), restarts over it, and fixes it`, async () => {
      const good = text(), had = faults(await get());
      g.save(broken(good));
      await until('the fault to be told', async () => faults(await get()) > had);
      await allAttached();
      const before = await count();
      g.child.kill('SIGUSR1');
      await until('the restart', async () => (await count()) > before);
      await allAttached();
      const late = await connect(g.url, { token: g.token });
      assert.ok(late.hello, `a newcomer: ${JSON.stringify(late.refusal)}`);
      await late.close();
      assert.equal(text(), broken(good), 'the file is the user\'s');
      g.save(good);
      await until('it to be whole again', async () => faults(await get()) === had);
      await allAttached();
    });
  }

  test('restarts, by every way there is', async () => {
    for (const restart of [
      () => g.child.kill('SIGUSR1'), () => g.child.kill('SIGUSR2'),
      () => admin.call('gateway.restart.request', { reason: 'because' }),
      async () => { const r = await run(g.program, ['gateway', 'restart'], g.env()); assert.equal(r.code, 0, r.out + r.err); },
    ]) {
      const had = await count();
      await restart();
      await until('the restart', async () => (await count()) > had);
      await allAttached();
    }
  });

  test('upgrades the binary in place, also to one that is none', async () => {
    const binary = fs.readFileSync(g.program);
    const swap = (bytes) => {
      fs.writeFileSync(`${g.program}.new`, bytes, { mode: 0o755 });
      fs.renameSync(`${g.program}.new`, g.program);
    };
    const inode = () => fs.statSync(`/proc/${g.child.pid}/exe`).ino;
    const before = inode(), had = await count();
    swap('#!/bin/false\n');
    g.child.kill('SIGUSR1');
    await until('the restart to be refused', () => /not restarted/.test(g.tail()));
    await allAttached();
    assert.equal(await count(), had);
    swap(binary);
    g.child.kill('SIGUSR1');
    await until('the upgrade', async () => (await count()) > had);
    assert.notEqual(inode(), before, 'the new binary runs');
    await allAttached();
  });

  test('rotates device tokens, then the shared one: only who has nothing else goes', async () => {
    for (const a of agents) {
      if (a.session.hello.auth.deviceToken) await admin.call('device.token.rotate', { deviceId: a.session.deviceId, role: 'operator' });
    }
    await allAttached();
    g.save(text().replace('"T1"', '"T2"'));
    const closed = await agents.at(-1).session.closed;
    assert.deepEqual([closed.code, closed.reason], [4001, 'gateway auth changed']);
    await allAttached('shared token alone');
    const late = await connect(g.url, { token: 'T2' });
    assert.ok(late.hello, 'the new token lets in');
    await late.close();
  });

  test('and in the end everyone has been answered, every time', () => {
    for (const a of agents) {
      assert.deepEqual(a.faults, [], a.name);
      assert.ok(a.calls > 50, `${a.name} called ${a.calls} times`);
    }
  });
});
