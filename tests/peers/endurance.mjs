// OpenClaw's own client library for tests/soak: attaches, calls, and says a line for each connection that closes.
//
//   node endurance.mjs <port> <count>
import crypto from 'node:crypto';
import { GatewayClient } from '@openclaw/gateway-client';
import { newDevice } from './wire.mjs';

const [port, count] = process.argv.slice(2).map(Number);
for (let n = 0; n < count; n++) {
  const store = new Map();
  const key = ({ deviceId, role }) => `${deviceId}:${role}`;
  let hellos = 0;
  const client = new GatewayClient({
    url: `ws://127.0.0.1:${port}`, token: 'T1', clientName: 'cli', mode: 'cli', deviceIdentity: newDevice(),
    scopes: ['operator.read'],
    hostDeps: {
      signDevicePayload: (pem, payload) => crypto.sign(null, Buffer.from(payload), pem).toString('base64url'),
      publicKeyRawBase64UrlFromPem: (pem) => crypto.createPublicKey(pem).export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64url'),
      loadDeviceAuthToken: (at) => store.get(key(at)) ?? null,
      storeDeviceAuthToken: ({ token, scopes, ...at }) => store.set(key(at), { token, scopes }),
      clearDeviceAuthToken: () => console.log(`erased its device token (${n})`),
      logError: () => {},
    },
    onHelloOk: () => console.log(`${hellos++ ? 'back' : 'attached'} ${n}`),
    onClose: (code, reason) => console.log(`closed ${n} ${code} ${reason}`),
    onReconnectPaused: (info) => console.log(`gave up (${n}): ${JSON.stringify(info)}`),
    onGap: (gap) => console.log(`gap (${n}): ${JSON.stringify(gap)}`),
  });
  client.start();
  setInterval(() => client.request('health', {}).catch(() => {}), 1000 + 10 * n);
}
