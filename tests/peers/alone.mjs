// The script of upstream.mjs against OpenClaw alone: the same agents, the same edits, the same ends of its process. It
// asserts nothing of OpenClaw; it prints what was closed, what was lost, and what was refused to those who came back.
//
//   tests/peers/run alone.mjs
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Fleet, pause, soon } from './fleet.mjs';
import { Gateway, freePort } from './gateway.mjs';
import { startModel } from './model-stand-in.mjs';
import { OpenClaw } from './openclaw.mjs';
import { config } from './openclaw-config.mjs';

const AGENTS = Number(process.env.AGENTS ?? 10), PATIENCE_MS = 300_000;
let model, home, oc;

before(async () => {
  model = await startModel();
  home = Object.assign(new Gateway(), { home: fs.mkdtempSync(path.join(os.tmpdir(), 'barnacle-alone-')), token: 'T1', port: await freePort() });
  home.state = path.join(home.home, '.openclaw');
  home.file = path.join(home.state, 'openclaw.json');
  fs.mkdirSync(home.state, { recursive: true });
  fs.writeFileSync(home.file, config(home, model));
  oc = new OpenClaw(home, home.port);
  await oc.up();
}, { timeout: 2 * PATIENCE_MS });
after(async () => {
  await oc?.stop('SIGKILL');
  await model?.close();
  fs.rmSync(home.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

test('what befalls the same agents on OpenClaw alone', { timeout: 3 * PATIENCE_MS }, async (t) => {
  const fleet = new Fleet(oc.url, () => home.token, 0);
  const { books } = fleet;
  const agents = await Promise.all(Array.from({ length: AGENTS }, (_, i) => fleet.attach(`agent ${i}`)));
  const loops = agents.map((c) => c.loopForGood());
  const step = async (what, act) => {
    const since = Date.now(), before = { ...books }, wrong = fleet.wrong.length;
    await act();
    const back = await fleet.answered(what, agents, 90_000).then(() => 'all are back', () => 'not all came back within 90 s');
    // OpenClaw looks at its file every now and then, and restarts when it has.
    await pause(5000);
    const done = (key) => books[key] - before[key];
    t.diagnostic(`${what}: ${((Date.now() - since) / 1000).toFixed(1)} s, ${done('answers')} answers, ${done('closed')} closed, ${done('lost')} calls lost, ${done('refused')} connects refused, ${fleet.wrong.length - wrong} wrong; ${back}`);
  };
  const edit = (change) => {
    const next = JSON.parse(fs.readFileSync(home.file, 'utf8'));
    change(next);
    home.save(JSON.stringify(next, null, 2));
  };
  await step('they attached', () => {});
  await step('channels.whatsapp.allowFrom', () => edit((c) => { c.channels = { whatsapp: { enabled: false, allowFrom: ['+491701234567'] } }; }));
  await step('messages.ackReaction', () => edit((c) => { c.messages = { ackReaction: '👀', ackReactionScope: 'group-all' }; }));
  await step('agents.defaults', () => edit((c) => { c.agents.defaults.timeoutSeconds = 300; }));
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await step(`${signal} and a start`, async () => {
      await oc.stop(signal);
      await oc.up();
    });
  }
  await step('gateway.auth.token', () => {
    home.token = 'T2-another-shared-token';
    edit((c) => { c.gateway.auth.token = home.token; });
  });
  for (const mode of ['none', 'token']) await step(`gateway.auth.mode ${mode}`, () => edit((c) => { c.gateway.auth.mode = mode; }));
  fleet.running = false;
  await soon(20_000, Promise.all(loops));
  t.diagnostic(JSON.stringify({ clients: AGENTS, ...books }));
  for (const said of [...new Set(fleet.wrong.map((text) => text.replace(/^\S+ agent \d+/, 'an agent')))].slice(0, 12)) t.diagnostic(said);
});
