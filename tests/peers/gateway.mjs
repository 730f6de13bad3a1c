// A gateway under test: its own home, its own port, a wire tap in front.
//
// `openclaw.json` names the tap's port and the gateway is started with `--port`, so that a client that
// reads the same config file (the CLI does) passes through the tap. Set BARNACLE_BIN to run another
// binary: the suites were first proven against OpenClaw itself, through a wrapper of two lines. Nothing
// sleeps: readiness is the first answer to a `connect`, the end is the process's exit.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { startTap } from './tap.mjs';

export const here = path.dirname(fileURLToPath(import.meta.url));
const binary = process.env.BARNACLE_BIN ?? path.join(here, '../../target/quick/barnacle');
/** What a gateway may take to listen. OpenClaw needs seconds, Barnacle milliseconds. */
const READY_MS = 60_000;

// A suite that dies takes its gateways with it.
const children = new Set();
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));

export async function freePort() {
  const probe = net.createServer();
  await new Promise((ok) => probe.listen(0, '127.0.0.1', ok));
  const { port } = probe.address();
  await new Promise((ok) => probe.close(ok));
  return port;
}

/** Retries until `probe` gives something; it is `probe` that waits, a turn is as long as its failure takes. */
export async function until(what, probe, ms = 15_000) {
  const end = Date.now() + ms;
  for (let last; ; ) {
    try {
      const got = await probe();
      if (got) return got;
    } catch (error) { last = error; }
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${what}${last ? ` (${last.message})` : ''}`);
    await new Promise((ok) => setTimeout(ok, 15));
  }
}

export class Gateway {
  /**
   * Starts one. `name` names its file of recorded frames, unless it is not `kept`; `config` is merged into `gateway`, or `text(g)` is
   * the whole of openclaw.json. `program(home)` gives the binary to run, if not the one under test itself, and
   * `args(g)` what is added to its command line.
   */
  static async start(name, config = {}, { text, program, args, kept = true } = {}) {
    const g = new Gateway();
    g.home = fs.mkdtempSync(path.join(os.tmpdir(), `barnacle-${name}-`));
    g.state = path.join(g.home, '.openclaw');
    g.token = 'T1';
    g.realPort = await freePort();
    g.tap = await startTap(() => g.realPort, kept ? name : undefined);
    g.port = g.tap.port;
    g.url = `ws://127.0.0.1:${g.port}`;
    g.file = path.join(g.state, 'openclaw.json');
    g.program = program?.(g.home, binary) ?? binary;
    g.args = (await args?.(g)) ?? [];
    fs.mkdirSync(g.state, { recursive: true });
    if (text) fs.writeFileSync(g.file, text(g));
    else g.edit((c) => {
      c.gateway = { mode: 'local', bind: 'loopback', port: g.port, auth: { mode: 'token', token: g.token }, ...config };
    });
    await g.up();
    return g;
  }

  /** The environment of everything that lives in this home: no variable of the caller's leaks in. */
  env(more = {}) {
    const kept = ['PATH', 'LANG', 'TMPDIR', 'RUST_LOG', 'BARNACLE_FRAMES'].filter((k) => process.env[k]);
    return {
      ...Object.fromEntries(kept.map((k) => [k, process.env[k]])),
      HOME: this.home, OPENCLAW_HOME: this.home, OPENCLAW_STATE_DIR: this.state,
      OPENCLAW_CONFIG_PATH: this.file, NO_COLOR: '1', ...more,
    };
  }

  async up(env = {}) {
    this.log = fs.openSync(path.join(this.home, 'gateway.log'), 'a');
    this.child = spawn(this.program, ['gateway', 'run', '--port', String(this.realPort), ...this.args], {
      env: this.env(env), stdio: ['ignore', this.log, this.log],
    });
    const child = this.child;
    children.add(child);
    this.exited = new Promise((ok, no) => {
      child.once('exit', (code, signal) => { children.delete(child); ok({ code, signal }); });
      child.once('error', no);
    });
    const gone = this.exited.then((how) => { throw new Error(`the gateway went: ${JSON.stringify(how)}\n${this.tail()}`); });
    gone.catch(() => {});
    await Promise.race([gone, until('the gateway to listen', () => answers(this.realPort), READY_MS)]);
  }

  async stop(signal = 'SIGTERM') {
    this.child.kill(signal);
    const how = await this.exited;
    fs.closeSync(this.log);
    return how;
  }

  /** Down by `signal`, then up again with what is on disk. */
  async restart(signal = 'SIGTERM', env = {}) {
    const how = await this.stop(signal);
    await this.up(env);
    return how;
  }

  /** Edits what `openclaw.json` says. */
  edit(change) {
    const config = fs.existsSync(this.file) ? JSON.parse(fs.readFileSync(this.file, 'utf8')) : {};
    change(config);
    this.save(JSON.stringify(config, null, 2));
  }

  /** Saves `openclaw.json` as an editor does: a new file in its place. */
  save(text) {
    fs.writeFileSync(`${this.file}.new`, text);
    fs.renameSync(`${this.file}.new`, this.file);
  }

  tail() {
    return fs.readFileSync(path.join(this.home, 'gateway.log'), 'utf8').slice(-2000);
  }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop('SIGKILL');
    await this.tap.close();
    fs.rmSync(this.home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** Resolves with true once the gateway at `port` gives `connect` an answer other than "not yet". */
export function answers(port) {
  return new Promise((ok, no) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`);
    const client = { id: 'test', version: '1', platform: 'linux', mode: 'test' };
    ws.on('message', (data) => {
      const frame = JSON.parse(String(data));
      if (frame.type === 'event') ws.send(JSON.stringify({ type: 'req', id: '1', method: 'connect', params: { minProtocol: 4, maxProtocol: 4, client } }));
      else { ok(frame.error?.code !== 'UNAVAILABLE'); ws.terminate(); }
    });
    ws.once('error', no);
    ws.once('close', () => no(new Error('closed before an answer')));
  });
}

/** Runs a program to its end: `{code, out, err}`. Never throws for an exit code. */
export function run(program, args, env, ms = 60_000) {
  return new Promise((ok, no) => {
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (d) => (out += d));
    child.stderr.on('data', (d) => (err += d));
    const late = setTimeout(() => child.kill('SIGKILL'), ms);
    child.once('error', no);
    child.once('close', (code, signal) => { clearTimeout(late); ok({ code: code ?? signal, out, err }); });
  });
}

/** Runs the `openclaw` CLI in the gateway's home. `which`: `.` is 2026.9.6, `legacy` is 2026.2.17. */
export async function openclaw(g, args, which = '.', env = {}) {
  const entry = path.join(here, which, 'node_modules/openclaw/openclaw.mjs');
  const r = await run(process.execPath, [entry, ...args], g.env(env));
  r.json = () => JSON.parse(r.out.slice(r.out.search(/^[{[]/m)));
  return r;
}

/** As `openclaw`, and the exit code has to be 0. */
export async function openclawOk(g, args, which, env) {
  const r = await openclaw(g, args, which, env);
  if (r.code !== 0) throw new Error(`openclaw ${args.join(' ')}: exit ${r.code}\n${r.out}\n${r.err}\n${g.tail()}`);
  return r;
}
