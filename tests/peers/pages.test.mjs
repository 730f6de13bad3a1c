// The Control UI as this gateway serves it, alone: every page of it in a real browser, and a chat.
//
// The files are those of the installed OpenClaw. Of each page: what it asks is answered, or refused where the page goes
// on without it (REFUSED); nothing of a refusal is shown; nothing is thrown; the browser blocks nothing of it.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Browser, allText } from './browser.mjs';
import { Gateway, here, until } from './gateway.mjs';
import { startModel } from './model-stand-in.mjs';
import { faults } from './validate.mjs';
import { connect } from './wire.mjs';

/** The pages of `docs/web/urls.md` that need no id. */
const PAGES = [
  '/chat', '/dashboard', '/dashboards', '/custodian', '/new', '/activity', '/apps', '/portals', '/workboard', '/worktrees', '/sessions', '/usage', '/debug', '/logs',
  '/skills', '/skills/workshop', '/plugins', '/automations', '/tasks', '/memory-import',
  ...['agents', 'channels', 'connection', 'general', 'profile', 'communications', 'appearance', 'notifications', 'security', 'secrets', 'advanced', 'approvals',
    'automation', 'mcp', 'memory', 'infrastructure', 'labs', 'about', 'ai-agents', 'model-setup', 'model-providers', 'plugins', 'devices'].map((name) => `/settings/${name}`),
];
/** Methods that pages ask for and go on without: keys of the configuration that only OpenClaw has. */
const REFUSED = ['config.schema.lookup'];

let model, g, browser, page;

before(async () => {
  model = await startModel();
  g = await Gateway.start('pages', {}, {
    text: (g) => JSON.stringify({
      gateway: { mode: 'local', bind: 'loopback', port: g.port, auth: { mode: 'token', token: g.token }, controlUi: { root: path.join(here, 'node_modules/openclaw/dist/control-ui') } },
      agents: { defaults: { model: { primary: 'stand-in/echo' } } },
      models: { providers: { 'stand-in': { baseUrl: model.url, apiKey: 'none', models: [{ id: 'echo', name: 'echo', contextWindow: 32000 }] } } },
    }),
  });
  browser = await Browser.start();
  page = await browser.open(`http://127.0.0.1:${g.realPort}/chat#token=${g.token}`);
  await page.command('Log.enable');
  await until('the Control UI to be attached', () => parsed('gateway').some((f) => f.payload?.type === 'hello-ok'), 60_000);
}, { timeout: 180_000 });
after(async () => {
  await browser?.end();
  await g?.end();
  await model?.close();
});

const parsed = (dir) => page.frames.filter((f) => f.dir === dir).map((f) => JSON.parse(f.text));
/** The requests of the page so far, each with its answer. */
const exchanges = () => {
  const answers = new Map(parsed('gateway').filter((f) => f.type === 'res').map((f) => [f.id, f]));
  return parsed('client').filter((f) => f.type === 'req').map((f) => ({ method: f.method, answer: answers.get(f.id) }));
};
/** Waits until the page has drawn itself and every question of it is answered. */
const rest = (route) => page.until(`${route} to be drawn`, `document.readyState === 'complete' && document.querySelector('openclaw-app') !== null`)
  .then(() => until(`${route} to be answered`, () => exchanges().length > 0 && exchanges().every((e) => e.answer), 30_000))
  .then(() => page.run('new Promise((ok) => requestIdleCallback(() => requestIdleCallback(ok, { timeout: 2000 }), { timeout: 2000 }))'))
  .then(() => until(`${route} to be answered`, () => exchanges().every((e) => e.answer), 30_000));

for (const route of PAGES) {
  test(route, { timeout: 120_000 }, async () => {
    const before = { exchanges: exchanges().length, console: page.console.length };
    await page.go(route);
    await rest(route);
    const asked = exchanges().slice(before.exchanges);
    const failed = asked.filter(({ method, answer }) => !answer.ok && !REFUSED.includes(method)).map(({ method, answer }) => `${method}: ${answer.error.message}`);
    const shown = await page.text();
    assert.deepEqual([...new Set(failed)], []);
    assert.deepEqual(page.console.slice(before.console).filter((line) => !/^\[/.test(line)), []);
    assert.deepEqual(shown.match(/.{0,80}(does not have|unknown method|INVALID_REQUEST).{0,40}/g) ?? [], []);
    const wrong = asked.flatMap(({ method, answer }) => faults({ method, frame: answer }));
    assert.deepEqual([...new Set(wrong)], []);
  });
}

test('a chat is answered', { timeout: 120_000 }, async () => {
  await page.go('/chat');
  await rest('/chat');
  await page.type('hello from the page');
  await page.until('the answer', `(${allText})(document.body).includes('you said: hello from the page')`);
});

test('every method that this gateway offers to pages fits the schema', async () => {
  const client = await connect(g.url, { token: g.token, scopes: ['operator.admin'] });
  const key = { sessionKey: 'agent:main:main' };
  const asked = [
    ['question.list'], ['channels.status'], ['exec.approval.list'], ['tasks.list'], ['sessions.branches.list', key], ['sessions.companion.state', key], ['progressCard.get', key],
    ['sessions.observer.visibility', { visible: true }], ['talk.catalog'], ['system.info'], ['environments.list'], ['plugins.list'], ['commands.list'], ['update.status'],
    ['approval.history'], ['worktrees.list'], ['channels.pairing.list'], ['exec.approval.grants.list'], ['audit.activity.list'], ['logs.tail'],
  ];
  for (const [method, params] of asked) {
    const frame = await client.send(method, params ?? {});
    assert.equal(frame.ok, true, `${method}: ${frame.error?.message}`);
    assert.deepEqual(faults({ method, frame }), [], method);
  }
  await client.close();
});
