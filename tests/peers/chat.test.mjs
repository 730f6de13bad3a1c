// Clients that others wrote talk with an agent of Barnacle alone; its model is a stand-in (model-stand-in.mjs).
//
// `openclaw agent`, `openclaw tui` in a terminal that python's pty makes, `openclaw acp` over its stdio, openclaw-mcp over
// HTTP, openclaw-node, and PyPI's openclaw-sdk and bamboo-claw. What each shows is compared with what the model was told and with the transcript.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { OpenClawClient } from 'openclaw-node';
import { Gateway, here, openclaw, until } from './gateway.mjs';
import { startModel } from './model-stand-in.mjs';
import { config } from './openclaw-config.mjs';
import { connect } from './wire.mjs';

const CLI = path.join(here, 'node_modules/openclaw/openclaw.mjs');
let g, model, admin;
before(async () => {
  model = await startModel();
  g = await Gateway.start('chat', {}, { text: (g) => config(g, model) });
  admin = await connect(g.url, { token: g.token });
});
after(async () => {
  admin?.ws.terminate();
  await g?.end();
  await model?.close();
});

const said = ({ content }) => (typeof content === 'string' ? content : content.map((part) => part.text ?? '').join(''));
/** What was said in a session: `role: text`, without what a client adds before a message. */
const history = async (sessionKey) => (await admin.call('chat.history', { sessionKey })).messages.map((m) => `${m.role}: ${said(m)}`);

describe('openclaw agent', () => {
  test('a message is answered', async () => {
    const r = await openclaw(g, ['agent', '--session-key', 'agent:main:cli', '--message', 'hello from the CLI', '--json']);
    assert.equal(r.code, 0, r.out + r.err);
    const answer = r.json();
    assert.equal(answer.status, 'ok');
    assert.match(answer.result.payloads[0].text, /you said: .*hello from the CLI/s);
    const lines = await history('agent:main:cli');
    assert.equal(lines.length, 2, lines.join('\n'));
    assert.match(lines[1], /^assistant: you said: /);
  });
  test('for a person it prints the answer', async () => {
    const r = await openclaw(g, ['agent', '--agent', 'main', '--message', 'say it plainly']);
    assert.equal(r.code, 0, r.out + r.err);
    assert.match(r.out, /you said: .*say it plainly/s);
  });
});

/** A program in a terminal of 120 by 40, and what is on it without the terminal's own signs. */
function terminal(args, env) {
  const size = 'stty cols 120 rows 40; exec "$@"';
  const child = spawn('python3', ['-c', 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)', 'sh', '-c', size, 'sh', ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const t = { child, text: '' };
  // eslint-disable-next-line no-control-regex
  child.stdout.on('data', (d) => (t.text += String(d).replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[[?<>=][0-9;?]*[ -/]*[@-~]|\x1b[@-_]/g, '')));
  child.stderr.on('data', (d) => (t.text += d));
  t.shows = (what, ms = 60_000) => until(`${what} on the terminal:\n${t.text.slice(-2000)}`, () => what.test(t.text), ms).catch((e) => { throw new Error(`${e.message}\n${t.text.slice(-3000)}`); });
  t.exited = new Promise((ok) => child.once('exit', ok));
  return t;
}

describe('openclaw tui', () => {
  test('it attaches, shows what is said, aborts, and comes back after a restart', { timeout: 240_000 }, async () => {
    const t = terminal([process.execPath, CLI, 'tui', '--session', 'tui'], g.env({ TERM: 'xterm-256color' }));
    try {
      await t.shows(/connected/i, 120_000);
      t.child.stdin.write('hello from the terminal\r');
      await t.shows(/you said: .*hello from the terminal/s);
      // Kill the gateway: the terminal attaches again by itself, and the conversation is there.
      await g.restart('SIGKILL');
      admin = await connect(g.url, { token: g.token });
      const asked = model.asked.length;
      await t.shows(/gateway reconnected/);
      t.child.stdin.write('still there?\r');
      await until('the message to reach the model', () => model.asked.length > asked, 60_000).catch((e) => { throw new Error(`${e.message}\n${t.text.slice(-3000)}`); });
      await t.shows(/you said: .*still there/s);
      // Escape aborts a run.
      t.child.stdin.write('slowly 200 please\r');
      await t.shows(/piece 2/);
      t.child.stdin.write('\x1b');
      await until('the model to be left', () => model.open === 0);
      const lines = await history('agent:main:tui');
      assert.equal(lines.filter((line) => /^user: .*still there/s.test(line)).length, 1, lines.join('\n'));
    } finally {
      t.child.stdin.write('\x03\x03');
      t.child.kill('SIGKILL');
    }
  });
  test('its commands are answered, and nothing that it asks for is an error', { timeout: 240_000 }, async () => {
    const t = terminal([process.execPath, CLI, 'tui', '--session', 'commands'], g.env({ TERM: 'xterm-256color' }));
    try {
      await t.shows(/connected/i, 120_000);
      for (const [typed, shown] of [
        ['/status', /Session agent:main:commands[\s\S]*Nothing is being answered/],
        ['/model stand-in/echo', /model set to stand-in\/echo/],
        ['/gateway-status', /Stored sessions: \d/],
        ['/new', /new session: agent:main:/],
        ['/model', /→ stand-in\/echo/],
      ]) {
        t.child.stdin.write(`${typed}\r`);
        await t.shows(shown);
      }
      assert.doesNotMatch(t.text, /unknown method|does not have|not in this version|INVALID_REQUEST|UNAVAILABLE|failed:/);
    } finally {
      t.child.stdin.write('\x03\x03');
      t.child.kill('SIGKILL');
    }
  });
});

describe('openclaw acp', () => {
  test('a session is made, a prompt is answered in a stream, and the session is listed', { timeout: 120_000 }, async () => {
    const child = spawn(process.execPath, [CLI, 'acp'], { env: g.env(), stdio: ['pipe', 'pipe', 'pipe'] });
    let err = '';
    child.stderr.on('data', (d) => (err += d));
    const waiting = new Map(), updates = [];
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line);
      if (message.method === 'session/update') updates.push(message.params.update);
      else if (waiting.has(message.id)) waiting.get(message.id)(message);
    });
    let id = 0;
    const call = (method, params) => new Promise((ok, no) => {
      id += 1;
      waiting.set(id, (m) => (m.error ? no(new Error(`${method}: ${JSON.stringify(m.error)}\n${err}`)) : ok(m.result)));
      child.once('exit', () => no(new Error(`${method}: it went\n${err}`)));
      child.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\n');
    });
    try {
      const hello = await call('initialize', { protocolVersion: 1, clientCapabilities: {} });
      assert.equal(hello.protocolVersion, 1);
      const { sessionId } = await call('session/new', { cwd: g.home, mcpServers: [] });
      const done = await call('session/prompt', { sessionId, prompt: [{ type: 'text', text: 'hello from the editor' }] });
      assert.equal(done.stopReason, 'end_turn');
      const text = updates.filter((u) => u.sessionUpdate === 'agent_message_chunk').map((u) => u.content.text).join('');
      assert.match(text, /you said: .*hello from the editor/s);
      const { sessions } = await call('session/list', {});
      assert.ok(sessions.length > 0, JSON.stringify(sessions));
    } finally { child.kill(); }
  });
});

describe('openclaw-mcp', () => {
  test('its tools ask the gateway over HTTP, in a session and without one', { timeout: 60_000 }, async () => {
    g.edit((c) => { c.gateway.http = { endpoints: { chatCompletions: { enabled: true } } }; });
    const on = () => fetch(`http://127.0.0.1:${g.realPort}/v1/models`, { headers: { authorization: `Bearer ${g.token}` } });
    await until('the endpoint to be on', async () => (await on()).ok);
    const child = spawn(process.execPath, [path.join(here, 'node_modules/openclaw-mcp/dist/index.js')], {
      env: g.env({ OPENCLAW_URL: `http://127.0.0.1:${g.realPort}`, OPENCLAW_GATEWAY_TOKEN: g.token, OPENCLAW_MODEL: 'openclaw' }), stdio: ['pipe', 'pipe', 'pipe'],
    });
    const waiting = new Map();
    let err = '', id = 0;
    child.stderr.on('data', (d) => (err += d));
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line);
      waiting.get(message.id)?.(message);
    });
    const gone = new Promise((_, no) => child.once('exit', () => no(new Error(`it went\n${err}`))));
    gone.catch(() => {});
    const say = (message) => child.stdin.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');
    const call = (method, params) => Promise.race([gone, new Promise((ok, no) => {
      id += 1;
      waiting.set(id, (m) => (m.error ? no(new Error(`${method}: ${JSON.stringify(m.error)}\n${err}`)) : ok(m.result)));
      say({ id, method, params });
    })]);
    const tool = async (name, args = {}) => {
      const r = await call('tools/call', { name, arguments: args });
      const text = r.content.map((part) => part.text).join('');
      assert.ok(!r.isError, `${name}: ${text}\n${err}`);
      return text;
    };
    try {
      await call('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } });
      say({ method: 'notifications/initialized' });
      assert.equal(JSON.parse(await tool('openclaw_status')).status, 'ok');
      assert.match(await tool('openclaw_chat', { message: 'hello from an assistant' }), /you said: hello from an assistant/);
      assert.match(await tool('openclaw_chat', { message: 'and again', session_id: 'mcp' }), /you said: and again/);
      assert.deepEqual(await history('agent:main:mcp'), ['user: and again', 'assistant: you said: and again']);
      // A task of its own, asked after until it is done.
      const { task_id } = JSON.parse(await tool('openclaw_chat_async', { message: 'later' }));
      const done = await until('the task to be done', async () => {
        const task = JSON.parse(await tool('openclaw_task_status', { task_id }));
        return task.status === 'completed' && task;
      });
      assert.match(JSON.stringify(done), /you said: later/);
    } finally { child.kill(); }
  });
});

describe('libraries', () => {
  test('openclaw-node streams an answer', async () => {
    const client = new OpenClawClient({ url: g.url, token: g.token, deviceIdentityPath: path.join(g.home, 'node.json') });
    client.on('error', () => {});
    await client.connect();
    const chunks = [];
    for await (const chunk of client.chat('slowly 5 please', { sessionKey: 'agent:main:library' })) {
      chunks.push(chunk);
      if (chunk.type === 'error' || chunk.type === 'done') break;
    }
    const text = chunks.filter((c) => c.type === 'text').map((c) => c.text);
    assert.match(text.join(''), /piece 1 .*piece 5/s, JSON.stringify(chunks));
    assert.ok(text.length > 2, `in ${text.length} parts`);
    assert.match(await client.chatSync('all at once', { sessionKey: 'agent:main:library' }), /you said: .*all at once/s);
    await client.disconnect();
  });
  const python = (kind, options) => {
    const child = spawn(path.join(here, '.venv/bin/python'), [path.join(here, 'peer.py'), kind, JSON.stringify(options)], {
      env: { PATH: process.env.PATH, HOME: g.home }, stdio: ['pipe', 'pipe', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (d) => (err += d));
    const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return async (...command) => {
      child.stdin.write(JSON.stringify(command) + '\n');
      const { value, done } = await lines.next();
      const answer = done ? { fault: 'it ended' } : JSON.parse(value);
      if (answer.fault) throw new Error(`${command.join(' ')}: ${answer.fault}\n${err}`);
      return answer.ok;
    };
  };
  test('bamboo-claw sends a message, hears the answer grow, and reads the history', async () => {
    const peer = python('bamboo', { url: g.url, token: g.token, data: path.join(g.home, 'bamboo') });
    await peer('connect');
    const [text, parts, key] = await peer('chat', 'slowly 3 please');
    assert.match(text, /piece 1 .*piece 3/s);
    assert.ok(parts > 2, `in ${parts} parts`);
    const page = await peer('history', key);
    assert.ok(JSON.stringify(page).includes('piece 3'), JSON.stringify(page));
    await peer('close');
  });
});
