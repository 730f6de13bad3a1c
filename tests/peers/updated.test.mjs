// The real Control UI in front of an OpenClaw that is updated while the page is open: the page learns it through the
// gateway between them, in its own way, and loads itself anew once.
//
// Behind the gateway is a stand-in, which serves the real page and speaks as much of OpenClaw's protocol as it takes to
// attach, with the build id of the day. It refuses a page of another build as OpenClaw does.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { Browser } from './browser.mjs';
import { Gateway, here, until } from './gateway.mjs';

const ui = path.join(here, 'node_modules/openclaw/dist/control-ui');
const built = JSON.parse(fs.readFileSync(path.join(here, 'node_modules/openclaw/dist/build-info.json'), 'utf8')).buildId;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml' };
let behind, g, browser;

/** The stand-in. */
class Behind {
  build = built;
  boot = 1;
  refused = 0;

  async listen() {
    this.server = http.createServer((request, response) => this.#file(request, response));
    this.sockets = new WebSocketServer({ server: this.server });
    this.sockets.on('connection', (ws) => this.#attach(ws));
    await new Promise((ok) => this.server.listen(0, '127.0.0.1', ok));
    this.url = `ws://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  #file(request, response) {
    // A page loads its assets from beside itself: below /chat, too, they are those of the page.
    const parts = path.normalize(new URL(request.url, 'http://ui').pathname).split('/');
    const all = parts.map((_, n) => path.join(ui, ...parts.slice(n)));
    const isAsset = (file) => file.startsWith(ui + path.sep) && fs.statSync(file, { throwIfNoEntry: false })?.isFile();
    const wanted = all.find(isAsset) ?? all[0];
    const isFile = isAsset(wanted);
    if (!isFile && path.extname(wanted)) return response.writeHead(404).end();
    const file = isFile ? wanted : path.join(ui, 'index.html');
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    fs.createReadStream(file).pipe(response);
  }

  #attach(ws) {
    const send = (frame) => ws.send(JSON.stringify(frame));
    send({ type: 'event', event: 'connect.challenge', payload: { nonce: 'a-nonce-of-the-stand-in', ts: Date.now() } });
    ws.on('message', (data) => {
      const { id, method, params } = JSON.parse(String(data));
      const refuse = (error) => send({ type: 'res', id, ok: false, error });
      if (method !== 'connect') return refuse({ code: 'INVALID_REQUEST', message: 'a stand-in' });
      if (params.client.id === 'openclaw-control-ui' && params.client.buildId !== this.build) {
        this.refused++;
        return refuse({
          code: 'UNAVAILABLE', message: 'protocol mismatch: Control UI updated; reload this page to continue', retryable: false,
          details: { code: 'PROTOCOL_MISMATCH', gatewayBuildId: this.build, reloadRequired: true },
        });
      }
      send({ type: 'res', id, ok: true, payload: this.#hello(params) });
    });
  }

  #hello({ role, scopes }) {
    return {
      type: 'hello-ok', protocol: 4,
      server: { version: '2026.9.6', buildId: this.build, bootId: `boot-${this.boot}`, controlUiBuildSource: 'bundled', connId: 'c' },
      features: { methods: ['sessions.list', 'chat.send'], events: ['chat'], capabilities: [] },
      snapshot: { presence: [], health: {}, stateVersion: { presence: 1, health: 1 }, uptimeMs: 1 },
      auth: { role, scopes }, policy: { maxPayload: 26214400, maxBufferedBytes: 52428800, tickIntervalMs: 30000 },
    };
  }

  /** Ends every connection, and is of another build from now on. */
  update(build) {
    Object.assign(this, { build, boot: this.boot + 1 });
    for (const ws of this.sockets.clients) ws.close(1012);
  }

  async close() {
    this.sockets.clients.forEach((ws) => ws.terminate());
    await new Promise((ok) => this.server.close(ok));
  }
}

before(async () => {
  behind = await new Behind().listen();
  g = await Gateway.start('updated', {}, { args: () => ['--upstream', behind.url], kept: false });
  browser = await Browser.start();
});
after(async () => {
  await browser?.end();
  await g?.end();
  await behind?.close();
});

test('an open page loads itself anew after an update, once', async () => {
  const page = await browser.open(`http://127.0.0.1:${g.realPort}/#token=${g.token}`);
  const hellos = () => page.frames.filter(({ dir, text }) => dir === 'gateway' && text.includes('"hello-ok"'));
  await until('the page to be attached', () => hellos().length, 60_000);
  await page.run('window.mark = true');
  behind.update('2026.10.1-of-the-stand-in');
  await until('the page to be loaded anew', async () => !(await page.run('window.mark ?? false')), 60_000);
  assert.ok(hellos().some(({ text }) => text.includes('2026.10.1-of-the-stand-in')), 'it was told of the new build');
  // What it loads is still of the old build. OpenClaw refuses it again, several times, and it is left in peace.
  await until('the page to be attached again', () => hellos().length > 2, 60_000);
  await page.run('window.mark = true');
  const [said, refused] = [hellos().length, behind.refused];
  await until('OpenClaw to refuse it again', () => behind.refused > refused + 3, 60_000);
  assert.equal(hellos().length, said);
  assert.equal(await page.run('window.mark'), true);
});
