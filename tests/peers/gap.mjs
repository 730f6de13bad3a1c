// What clients see of an edit and of a restart: a figure, not a test.
//
//   node gap.mjs [--openclaw] [--rounds 5]
//
// Twenty clients hold a connection each, three of them call `health` every 10 ms (OpenClaw puts a restart off
// while requests are under way, so more of them would never see one); who is closed comes back as fast as it
// can. Then `openclaw.json` is edited, or the gateway is restarted over RPC. A caller's gap is its longest
// time between two answers around that. With `--openclaw` the same is done to the `openclaw` package that is
// installed here, else to BARNACLE_BIN.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Gateway, here, until } from './gateway.mjs';
import { connect } from './wire.mjs';

const CLIENTS = 20, CALLERS = 3;
const { values: asked } = parseArgs({ options: { openclaw: { type: 'boolean' }, rounds: { type: 'string', default: '5' } } });

/** A script that runs the installed `openclaw` as if it were the binary. */
function openclaw(home) {
  const program = path.join(home, 'openclaw');
  fs.writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${path.join(here, 'node_modules/openclaw/openclaw.mjs')}' "$@"\n`, { mode: 0o755 });
  return program;
}
const g = await Gateway.start('gap', {}, asked.openclaw ? { program: openclaw } : {});
const url = `ws://127.0.0.1:${g.realPort}`;
const attach = () => until('a client to attach', async () => {
  const s = await connect(url, { token: g.token });
  return s.hello && s;
}, 60_000);

const clients = await Promise.all(Array.from({ length: CLIENTS }, async () => ({ session: await attach(), gap: 0, last: performance.now(), closed: 0 })));
let running = true;
const pause = (ms) => new Promise((ok) => setTimeout(ok, ms));
const loops = clients.map(async (c, i) => {
  while (running) {
    const answer = i < CALLERS ? await c.session.send('health', {}).catch(() => null) : await Promise.race([c.session.closed.then(() => null), pause(50)]);
    if (answer?.ok) {
      const now = performance.now();
      c.gap = Math.max(c.gap, now - c.last);
      c.last = now;
      await pause(10);
    }
    if (c.session.closedWith && running) {
      c.closed++;
      c.session = await attach();
    }
  }
});

/** What is done, and for how long at most it is waited for connections to be closed. */
const patience = asked.openclaw ? 60_000 : 1000;
const steps = [
  ['edit: an allowed sender of WhatsApp', (n) => g.edit((c) => { c.channels = { whatsapp: { allowFrom: [`+1555000${n}`] } }; }), 3000],
  ['edit: log level', (n) => g.edit((c) => { c.logging = { level: n % 2 ? 'debug' : 'info' }; }), 3000],
  ['edit: bind address', (n) => g.edit((c) => { c.gateway.bind = n % 2 ? 'auto' : 'loopback'; }), patience],
  ['restart over RPC', () => clients[0].session.send('gateway.restart.request', { reason: 'figure' }).catch(() => {}), patience],
];
console.log(`${asked.openclaw ? 'OpenClaw' : 'Barnacle'}, ${CLIENTS} clients, ${asked.rounds} rounds each`);
for (const [what, act, watch] of steps) {
  const gaps = [];
  let closed = 0;
  for (let round = 1; round <= Number(asked.rounds); round++) {
    for (const c of clients) Object.assign(c, { gap: 0, closed: 0 });
    await act(round);
    await until('somebody to be closed', () => clients.some((c) => c.closed), watch).catch(() => {});
    await until('everyone to be back', () => clients.every((c) => !c.session.closedWith), 120_000);
    const since = performance.now();
    await until('the callers to be answered', () => clients.slice(0, CALLERS).every((c) => c.last > since), 120_000);
    gaps.push(...clients.slice(0, CALLERS).map((c) => c.gap));
    closed += clients.reduce((sum, c) => sum + c.closed, 0);
  }
  gaps.sort((a, b) => a - b);
  const at = (q) => gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * q))].toFixed(1);
  console.log(`${what.padEnd(38)} gap p50 ${at(0.5)} ms, longest ${at(1)} ms; closed ${closed} of ${CLIENTS * Number(asked.rounds)}`);
}
running = false;
await Promise.race([Promise.all(loops), pause(1000)]);
await g.end();
process.exit(0);
