// The conformance check can fail: each row is a frame with one thing wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faults } from './validate.mjs';

const res = (method, more) => ({ method, frame: { type: 'res', id: '1', ...more } });
const event = (name, payload) => ({ method: null, frame: { type: 'event', event: name, payload } });
const rows = [
  ['a right tick', event('tick', { ts: 1 }), 0],
  ['a tick with more than its time', event('tick', { ts: 1, extra: 1 }), 1],
  ['a challenge with a short nonce', event('connect.challenge', { nonce: 'x', ts: 1 }), 1],
  ['an event with a property of its own', { method: null, frame: { type: 'event', event: 'health', id: '1' } }, 1],
  ['a request', { method: null, frame: { type: 'req', id: '1', method: 'health' } }, 1],
  ['a hello-ok without a snapshot', res('connect', { ok: true, payload: { type: 'hello-ok', protocol: 4 } }), 1],
  ['a hello-ok with a method of our own', res('connect', { ok: true, payload: { type: 'hello-ok', features: { methods: ['health', 'config.plan', 'no.such'] } } }), 2],
  ['a null where nothing belongs', res('health', { ok: false, error: { code: 'UNAVAILABLE', message: 'x', retryAfterMs: null } }), 1],
  ['an error code of our own', res('health', { ok: false, error: { code: 'NOT_IMPLEMENTED', message: 'x' } }), 1],
  ['a refusal code of our own', res('connect', { ok: false, error: { code: 'INVALID_REQUEST', message: 'x', details: { code: 'AUTH_NO' } } }), 1],
  ['a next step of our own', res('connect', { ok: false, error: { code: 'INVALID_REQUEST', message: 'x', details: { recommendedNextStep: 'pray' } } }), 1],
  ['logs without a cursor', res('logs.tail', { ok: true, payload: { file: 'x', size: 0, lines: [] } }), 1],
  ['a presence entry without a time', res('system-presence', { ok: true, payload: [{ host: 'x' }] }), 1],
];
for (const [name, record, wrong] of rows) {
  test(name, () => assert.equal(faults(record).length, wrong, JSON.stringify(faults(record))));
}
