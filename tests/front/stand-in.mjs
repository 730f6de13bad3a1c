// A stand-in for OpenClaw where the installer is to fail: it starts at once, and answers what the installer asks.
//
//   node stand-in.mjs gateway [--port <port>] [--only <port>]     ends at once on another port than that of --only
//
// It is told how to misbehave by files in its home: `slow` has it listen only once that file is gone.
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import WebSocket, { WebSocketServer } from '/opt/node_modules/ws/wrapper.mjs';

const option = (name) => process.argv.flatMap((word, at, all) => (word === name ? [all[at + 1]] : []))[0];
const config = fs.readFileSync(path.join(process.env.HOME, '.openclaw/openclaw.json'), 'utf8');
const port = Number(option('--port') ?? process.env.OPENCLAW_GATEWAY_PORT ?? /port: (\d+)/.exec(config)[1]);
const token = process.env.OPENCLAW_GATEWAY_TOKEN ?? /token: ?"([^"]*)"/.exec(config)?.[1];
const only = option('--only');
if (only && Number(only) !== port) process.exit(1);
while (fs.existsSync(path.join(process.env.HOME, 'slow'))) await new Promise((ok) => setTimeout(ok, 50));

const answers = {
  status: { runtimeVersion: '2026.9.6' },
  'device.pair.list': { paired: [], pending: [] },
  'node.pair.list': { paired: [], pending: [] },
  'sessions.list': { sessions: [], count: 0, totalCount: 0, hasMore: false },
};
const hello = (connId) => ({
  type: 'hello-ok', protocol: 4,
  server: { version: '2026.9.6', buildId: '2026.9.6-stand-in', bootId: String(process.pid), connId },
  features: { methods: Object.keys(answers), events: ['connect.challenge', 'tick'] },
  snapshot: { presence: [], health: {}, stateVersion: { presence: 1, health: 1 }, uptimeMs: 1, authMode: 'token' },
  auth: { role: 'operator', scopes: ['operator.admin'] },
  policy: { maxPayload: 26214400, maxBufferedBytes: 52428800, tickIntervalMs: 30000 },
});
const server = new WebSocketServer({ host: option('--bind') === 'lan' ? '0.0.0.0' : '127.0.0.1', port });
server.on('error', (error) => { console.error(error.message); process.exit(1); });
let connections = 0;
server.on('connection', (socket) => {
  const send = (frame) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));
  const id = `c${(connections += 1)}`;
  send({ type: 'event', event: 'connect.challenge', payload: { nonce: id, ts: Date.now() } });
  socket.on('message', (data) => {
    const frame = JSON.parse(data);
    const refuse = (code, message) => send({ type: 'res', id: frame.id, ok: false, error: { code, message } });
    if (frame.method === 'connect') {
      if (frame.params.auth?.token !== token) return refuse('INVALID_REQUEST', 'unauthorized: gateway token mismatch');
      return send({ type: 'res', id: frame.id, ok: true, payload: hello(id) });
    }
    const payload = answers[frame.method];
    if (!payload) return refuse('INVALID_REQUEST', `unknown method: ${frame.method}`);
    send({ type: 'res', id: frame.id, ok: true, payload });
  });
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
