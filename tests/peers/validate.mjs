// Validates recorded frames against the protocol's own schema (version 4), as its package ships it.
//
//   node validate.mjs [--least hello=1,response=1,event=1] frames.jsonl…
//
// A line is `{"method": the request's method or null, "frame": what the gateway sent}`. Every frame is held
// against its envelope; a hello-ok, and each event or answer that the schema defines, also against that
// definition; a refused connect against the protocol's lists of codes and next steps. Prints what it saw by
// kind, and exits with 1 at any violation, or when it saw too little to mean anything.
import fs from 'node:fs';
import path from 'node:path';
import Ajv from 'ajv';
import { ConnectErrorDetailCodes } from '@openclaw/gateway-protocol/connect-error-details';
import { ErrorCodes } from '@openclaw/gateway-protocol/gateway-error-details';

const shipped = path.join(import.meta.dirname, 'node_modules/@openclaw/gateway-protocol/protocol.schema.json');
const schema = JSON.parse(fs.readFileSync(shipped, 'utf8'));
const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema({ $id: 'p', definitions: schema.definitions });

const NEXT_STEPS = ['retry_with_device_token', 'update_auth_configuration', 'update_auth_credentials', 'wait_then_retry', 'review_auth_configuration'];
const object = (properties) => ({ type: 'object', required: Object.keys(properties), properties });
const row = { $ref: 'p#/definitions/SessionRow' }, integer = { type: 'integer', minimum: 0 };
const page = object({ sessionKey: { type: 'string' }, messages: { type: 'array', items: { type: 'object' } }, hasMore: { type: 'boolean' }, totalMessages: integer, sessionInfo: row });
/** Names that do not follow from the method's or event's own. */
const RESULTS = {
  connect: 'HelloOk', 'config.schema': 'ConfigSchemaResponse',
  'system-presence': { type: 'array', items: { $ref: 'p#/definitions/PresenceEntry' } },
  'sessions.list': object({ sessions: { type: 'array', items: row }, count: integer, totalCount: integer, hasMore: { type: 'boolean' } }),
  'sessions.describe': object({ session: { anyOf: [row, { type: 'null' }] } }),
  'chat.history': { anyOf: [{ $ref: 'p#/definitions/ChatHistoryCursorResult' }, page] },
  // A closed object without the installed ones in the schema; a running 2026.9.6 lists them, and the page goes by that.
  'skills.proposals.list': object({ updatedAt: { type: 'string' }, proposals: { type: 'array' }, installedSkills: { type: 'array' } }),
  'chat.startup': { anyOf: [{ $ref: 'p#/definitions/ChatHistoryCursorResult' }, page] },
};
const EVENTS = {
  // A closed object without the session in the schema; a running 2026.9.6 names it, and clients go by that.
  agent: object({ runId: { type: 'string', minLength: 1 }, stream: { type: 'string', minLength: 1 }, seq: integer, ts: integer, data: { type: 'object' } }),
  'session.message': object({ sessionKey: { type: 'string' }, message: { type: 'object' }, messageId: { type: 'string' }, messageSeq: integer, session: row }),
  presence: { type: 'object', required: ['presence'], properties: { presence: { type: 'array', items: { $ref: 'p#/definitions/PresenceEntry' } } } },
  'connect.challenge': {
    type: 'object', required: ['nonce', 'ts'],
    properties: { nonce: { type: 'string', minLength: 16 }, ts: { type: 'integer', minimum: 0 } },
  },
};

/** Barnacle's own methods, which the schema does not list. */
const OWN_METHODS = ['config.plan'];

const compiled = new Map();
function shape(known, name, ending) {
  if (!compiled.has(name + ending)) {
    const definition = known[name] ?? name.split(/[.-]/).map((w) => w[0].toUpperCase() + w.slice(1)).join('') + ending;
    const exists = typeof definition === 'object' || schema.definitions[definition];
    compiled.set(name + ending, exists ? ajv.compile(typeof definition === 'object' ? definition : { $ref: `p#/definitions/${definition}` }) : null);
  }
  return compiled.get(name + ending);
}

/** What is wrong with a frame: sentences, none if nothing is. Counts what was checked in `seen`. */
export function faults({ method, frame }, seen = new Map()) {
  const found = [];
  const count = (kind) => seen.set(kind, (seen.get(kind) ?? 0) + 1);
  const hold = (check, value, what) => {
    if (!check(value)) found.push(`${what}: ${ajv.errorsText(check.errors, { dataVar: what })}`);
  };
  const among = (list, value, what) => {
    if (value !== undefined && !list.includes(value)) found.push(`${what}: ${JSON.stringify(value)} is not in the protocol's list`);
  };
  const envelope = { res: 'ResponseFrame', event: 'EventFrame' }[frame?.type];
  if (!envelope) return [`a gateway sends no frame of type ${JSON.stringify(frame?.type)}`];
  hold(shape({ [envelope]: envelope }, envelope, ''), frame, envelope);
  if (frame.type === 'event') {
    count('event');
    const check = shape(EVENTS, frame.event, 'Event');
    if (check) hold(check, frame.payload, frame.event);
    count(`event ${frame.event}${check ? ', held against its definition' : ''}`);
    return found;
  }
  count('response');
  if (frame.ok) {
    const hello = frame.payload?.type === 'hello-ok';
    // In front of OpenClaw, a gateway says of itself what that one says, which is more than its schema has.
    if (hello && /^2026\./.test(frame.payload.server?.version)) return found;
    const of = hello ? 'connect' : method;
    const check = of && shape(RESULTS, of, 'Result');
    if (check) hold(check, frame.payload, of);
    if (hello) {
      const unknown = (frame.payload.features?.methods ?? []).filter((name) => !schema.methods[name] && !OWN_METHODS.includes(name));
      if (unknown.length) found.push(`features.methods: ${unknown} are not in the schema`);
    }
    count(hello ? 'hello' : `answer to ${method}${check ? ', held against its definition' : ''}`);
    return found;
  }
  among(Object.values(ErrorCodes), frame.error?.code, 'error.code');
  if (!frame.error) found.push('a failed response says no error');
  if (method === 'connect') {
    const details = frame.error?.details ?? {};
    among(Object.values(ConnectErrorDetailCodes), details.code, 'details.code');
    among(NEXT_STEPS, details.recommendedNextStep, 'details.recommendedNextStep');
    count(`refusal ${details.code ?? `without a code: ${frame.error?.message}`}`);
  } else {
    count(`error ${[frame.error?.code, frame.error?.details?.code, method].filter(Boolean).join(' ')}`);
  }
  return found;
}

function main(args) {
  const least = { hello: 1, response: 1, event: 1 };
  if (args[0] === '--least') for (const [, kind, n] of args.splice(0, 2)[1].matchAll(/(\w+)=(\d+)/g)) least[kind] = Number(n);
  const seen = new Map(), wrong = new Map();
  for (const file of args) {
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
      if (!line) continue;
      const record = JSON.parse(line);
      for (const fault of faults(record, seen)) if (!wrong.has(fault)) wrong.set(fault, [file, line]);
    }
  }
  for (const [kind, n] of [...seen].sort()) console.log(String(n).padStart(7), kind);
  for (const [fault, [file, line]] of wrong) console.log(`VIOLATION ${fault}\n  first in ${file}: ${line.slice(0, 600)}`);
  const few = Object.entries(least).filter(([kind, n]) => (seen.get(kind) ?? 0) < n);
  for (const [kind, n] of few) console.log(`TOO FEW ${kind}: ${seen.get(kind) ?? 0}, at least ${n} wanted`);
  console.log(`${args.length} files, ${wrong.size} violations`);
  return wrong.size || few.length ? 1 : 0;
}

if (process.argv[1] === import.meta.filename) process.exitCode = main(process.argv.slice(2));
