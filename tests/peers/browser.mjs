// A headless Chromium with the real Control UI in it, driven over the DevTools protocol.
//
// The page is what the `openclaw` package ships, served from a port of its own by a few lines here, as
// users do who open the UI of one gateway and point it at another. `Page.run` evaluates in the page;
// nothing sleeps, a condition is asked for until it holds.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import WebSocket from 'ws';
import { here, until } from './gateway.mjs';

const ui = path.join(here, 'node_modules/openclaw/dist/control-ui');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json', '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2', '.wasm': 'application/wasm' };

/** Serves the Control UI's files on a free port of loopback; any other path is the page itself. */
export async function serveControlUi() {
  const server = http.createServer((request, response) => {
    const wanted = path.join(ui, path.normalize(new URL(request.url, 'http://ui').pathname));
    const file = wanted.startsWith(ui) && fs.statSync(wanted, { throwIfNoEntry: false })?.isFile() ? wanted : path.join(ui, 'index.html');
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    // The page names its assets from where it stands; the app's routes are folders deep.
    if (file.endsWith('.html')) response.end(fs.readFileSync(file, 'utf8').replace('<head>', '<head><base href="/">'));
    else fs.createReadStream(file).pipe(response);
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => { server.closeAllConnections(); return new Promise((ok) => server.close(ok)); },
  };
}

export class Browser {
  /** Starts Debian's Chromium with a profile of its own; `CHROMIUM` may name another binary. */
  static async start() {
    const b = new Browser();
    b.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'barnacle-chromium-'));
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--window-size=1400,1000', '--remote-debugging-port=0', `--user-data-dir=${b.profile}`];
    b.child = spawn(process.env.CHROMIUM ?? 'chromium', [...flags, 'about:blank'], { stdio: 'ignore' });
    b.exited = new Promise((ok, no) => { b.child.once('exit', ok); b.child.once('error', no); });
    b.exited.catch(() => {});
    process.once('exit', () => b.child.kill('SIGKILL'));
    const active = path.join(b.profile, 'DevToolsActivePort');
    b.port = await until('Chromium', () => {
      const [port, target] = fs.readFileSync(active, 'utf8').split('\n');
      return target && Number(port);
    }, 60_000);
    return b;
  }

  /** Opens the Control UI that `ui` serves, attached to the gateway `g`, as its user would: by link and consent. */
  async controlUi(ui, g, token = g.token) {
    const page = await this.open(`${ui.origin}/?gatewayUrl=${encodeURIComponent(g.url)}#token=${token}`);
    await page.click('^Switch to ');
    await page.until('the Control UI to be attached', `(${allText})(document.body).includes('Connected')`);
    // The page tries the address it was served from before it is told of another.
    page.closesBefore = page.closes;
    return page;
  }

  /** Opens a page and attaches to it. */
  async open(url) {
    const target = await (await fetch(`http://127.0.0.1:${this.port}/json/new?about:blank`, { method: 'PUT' })).json();
    const page = new Page(new WebSocket(target.webSocketDebuggerUrl, { perMessageDeflate: false }));
    await page.ready;
    for (const domain of ['Page', 'Runtime', 'Network']) await page.command(`${domain}.enable`);
    await page.command('Page.navigate', { url });
    return page;
  }

  async end() {
    this.child.kill('SIGKILL');
    await this.exited;
    fs.rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Page {
  constructor(ws) {
    this.ws = ws;
    this.next = 1;
    this.waiting = new Map();
    /** Frames of the page's WebSockets as they passed, how often one closed, and what the console said. */
    this.frames = [];
    this.closes = 0;
    this.closesBefore = 0;
    this.console = [];
    this.ready = new Promise((ok, no) => { ws.once('open', ok); ws.once('error', no); });
    ws.on('message', (data) => this.#take(JSON.parse(String(data))));
  }

  #take({ id, result, error, method, params }) {
    if (id) return error ? this.waiting.get(id)?.no(new Error(error.message)) : this.waiting.get(id)?.ok(result);
    if (method === 'Network.webSocketClosed') this.closes++;
    if (method === 'Network.webSocketFrameSent') this.frames.push({ dir: 'client', text: params.response.payloadData });
    if (method === 'Network.webSocketFrameReceived') this.frames.push({ dir: 'gateway', text: params.response.payloadData });
    if (method === 'Runtime.exceptionThrown') this.console.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Runtime.consoleAPICalled') this.console.push(params.args.map((a) => a.value ?? a.description).join(' '));
  }

  command(method, params = {}) {
    const id = this.next++;
    return new Promise((ok, no) => {
      this.waiting.set(id, { ok, no });
      this.ws.send(JSON.stringify({ id, method, params }));
    }).finally(() => this.waiting.delete(id));
  }

  /** Evaluates `code` (an expression) in the page; it may be a promise. */
  async run(code) {
    const { result, exceptionDetails } = await this.command('Runtime.evaluate', { expression: code, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Asks until `code` is truthy, and gives what it was. */
  until(what, code, ms = 60_000) {
    return until(what, () => this.run(code), ms);
  }

  /** What the page says, elements' shadow trees included. */
  text() {
    return this.run(`(${allText})(document.body)`);
  }

  /** Clicks the first thing visible whose own words fit `words` (a regular expression's source), once there is one. */
  click(words, ms) {
    return this.until(`something to click: ${words}`, `(${clickOn})(${JSON.stringify(words)})`, ms);
  }

  /** Chooses the option that reads `option` in the `<select>` that is labelled `label`. */
  select(label, option, ms) {
    return this.until(`${label}: ${option}`, `(${chooseIn})(${JSON.stringify(label)}, ${JSON.stringify(option)})`, ms);
  }

  /** Types into the first text area that is visible, and sends it off by Enter. */
  async type(text, ms) {
    await this.until('somewhere to type', `(${focusText})()`, ms);
    await this.command('Input.insertText', { text });
    const enter = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' };
    for (const type of ['keyDown', 'keyUp']) await this.command('Input.dispatchKeyEvent', { type, ...enter });
  }

  /** Goes to another page of the app without loading it anew. */
  go(route) {
    return this.run(`history.pushState({}, '', ${JSON.stringify(route)}), dispatchEvent(new PopStateEvent('popstate'))`);
  }

  async screenshot(file) {
    const { data } = await this.command('Page.captureScreenshot', { format: 'png' });
    fs.writeFileSync(file, Buffer.from(data, 'base64'));
  }
}

// These run in the page.

/** All text below a node of the page, shadow trees included. */
export function allText(root) {
  let text = '';
  const walk = (node) => {
    if (node.nodeType === 3) text += node.data;
    if (node.nodeType === 1 && ['SCRIPT', 'STYLE'].includes(node.tagName)) return;
    for (const child of [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes]) walk(child);
    if (node.nodeType === 1) text += ' ';
  };
  walk(root);
  return text.replace(/\s+/g, ' ');
}

function clickOn(words) {
  const fits = new RegExp(words), found = [];
  const walk = (node) => {
    if (node.matches?.('button, a, summary, label, input, [role=button], [role=tab], [role=switch], [role=radio]')) {
      const names = [node.getAttribute('aria-label'), node.textContent].map((t) => (t ?? '').replace(/\s+/g, ' ').trim());
      if (names.some((t) => fits.test(t)) && node.getClientRects().length && !node.disabled) found.push(node);
    }
    for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) walk(child);
  };
  walk(document.body);
  found[0]?.click();
  return found.length;
}

function focusText() {
  let area;
  const walk = (node) => {
    if (!area && node.matches?.('textarea') && node.getClientRects().length && !node.disabled) area = node;
    for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) walk(child);
  };
  walk(document.body);
  area?.focus();
  return area !== undefined;
}

function chooseIn(label, option) {
  let select;
  const walk = (node) => {
    if (node.matches?.('select') && node.getAttribute('aria-label') === label) select = node;
    for (const child of [...(node.shadowRoot?.children ?? []), ...(node.children ?? [])]) walk(child);
  };
  walk(document.body);
  const wanted = [...(select?.options ?? [])].find((o) => o.textContent.trim() === option);
  if (!wanted || select.disabled) return false;
  select.value = wanted.value;
  select.dispatchEvent(new Event('change', { bubbles: true }));
  return true;
}
