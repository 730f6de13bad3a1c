// The real Control UI in a real browser: its settings page, used as its user uses it.
//
// The page comes from a server of its own and is pointed at the gateway by a link. What it saves has to be
// in the user's file as that one change, with everything around it as the user wrote it, and no connection
// may be lost over it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Gateway, until } from './gateway.mjs';
import { Browser, serveControlUi } from './browser.mjs';
import { connect } from './wire.mjs';

let g, ui, browser, page, admin, file, written;

before(async () => {
  g = await Gateway.start('control-ui');
  file = g.file;
  written = [
    '// kept by hand', '{', `  gateway: { mode: 'local', bind: 'loopback', port: ${g.port},`,
    `    auth: { mode: 'token', token: '${g.token}' } }, // do not share`, '', "  messages: { responsePrefix: 'P' },",
    "  logging: { level: 'info' }, // quieter than debug", '}', '',
  ].join('\n');
  fs.writeFileSync(file, written);
  admin = await connect(g.url, { token: g.token });
  await until('the file to be taken', async () => (await admin.call('config.get')).sourceConfig.messages?.responsePrefix === 'P');
  [ui, browser] = await Promise.all([serveControlUi(), Browser.start()]);
  page = await browser.controlUi(ui, g);
});
after(async () => {
  await browser?.end();
  await ui?.close();
  await g?.end();
});

/** The requests of this method that the page has sent, and those of them that were answered. */
const sent = (dir) => page.frames.filter((f) => f.dir === dir).map((f) => JSON.parse(f.text));
const asked = (method) => sent('client').filter((f) => f.method === method);
const answered = (method) => asked(method).filter(({ id }) => sent('gateway').some((f) => f.id === id));
const failed = async (error) => {
  throw new Error(`${error.message}\nthe page says: ${(await page.text()).slice(0, 1500)}\n${page.console.slice(-5).join('\n')}`);
};
const onDisk = (wanted) => until(`the file to be\n${wanted}`, () => fs.readFileSync(file, 'utf8') === wanted)
  .catch((e) => failed(new Error(`${e.message}\nbut it is\n${fs.readFileSync(file, 'utf8')}`)));

test('one setting changed on the settings page is one value changed in the file', async () => {
  await page.go('/settings/advanced');
  await page.click('^Core').catch(failed);
  await page.click('^Logging').catch(failed);
  await page.select('Log Level', 'debug').catch(failed);
  await onDisk(written.replace("'info'", "'debug'"));
  // DevTools may say so later than the file.
  await until('the request to be seen', () => asked('config.set').length > 0);
  assert.equal(asked('config.set').length, 1);
});

test('and the next, and back', async () => {
  for (const level of ['warn', 'info']) {
    await page.select('Log Level', level).catch(failed);
    await onDisk(written.replace("'info'", `'${level}'`));
  }
});

test('a hand that was quicker keeps what it wrote', async () => {
  const theirs = written.replace("'P'", "'theirs'");
  fs.writeFileSync(file, theirs);
  await page.select('Log Level', 'error').catch(failed);
  await until('the page to have been answered', () => answered('config.set').length > 3);
  assert.match(fs.readFileSync(file, 'utf8'), /'theirs'/);
});

test('through all of it the page was never closed, nor anybody else', async () => {
  assert.equal(page.closes - page.closesBefore, 0);
  assert.equal((await admin.call('health')).ok, true);
});
