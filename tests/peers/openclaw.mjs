// A real OpenClaw gateway of the pinned version, to stand behind the one under test: same home, a port of its own.
//
// It runs in a process group, so that what it starts ends with it. It is up when it answers a `connect`, for which
// it needs some ten seconds, and a minute on a busy machine.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { answers, here, until } from './gateway.mjs';

const READY_MS = 240_000;
/** It neither looks for a newer version of itself nor leaves a successor that nobody knows of. */
const ALONE = { OPENCLAW_NO_AUTO_UPDATE: '1', OPENCLAW_NO_RESPAWN: '1', OPENCLAW_DISABLE_BONJOUR: '1', OPENCLAW_TELEMETRY: '0' };

const groups = new Set();
process.once('exit', () => groups.forEach((pid) => kill(pid, 'SIGKILL')));

export class OpenClaw {
  /** One in the home of `g`, to listen on `port`; started by `up`. */
  constructor(g, port) {
    Object.assign(this, { g, port, url: `ws://127.0.0.1:${port}`, log: path.join(g.home, 'openclaw.log') });
  }

  /** Starts it. */
  spawn() {
    const log = fs.openSync(this.log, 'a');
    const entry = path.join(here, 'node_modules/openclaw/openclaw.mjs');
    this.child = spawn(process.execPath, [entry, 'gateway', '--port', String(this.port)], {
      env: this.g.env(ALONE), stdio: ['ignore', log, log], detached: true,
    });
    fs.closeSync(log);
    const { pid } = this.child;
    groups.add(pid);
    this.exited = new Promise((ok) => this.child.once('exit', (code, signal) => { kill(pid, 'SIGKILL'); groups.delete(pid); ok({ code, signal }); }));
  }

  /** Resolves once it answers. On a busy machine it may give a start up; it is started again then, as a service manager would. */
  async ready(attempts = 3) {
    const gone = this.exited.then((how) => { throw Object.assign(new Error(`OpenClaw went: ${JSON.stringify(how)}\n${this.tail()}`), how); });
    gone.catch(() => {});
    try {
      await Promise.race([gone, until('OpenClaw to answer', () => answers(this.port), READY_MS)]);
    } catch (error) {
      if (!error.code || attempts < 2) throw error;
      this.spawn();
      await this.ready(attempts - 1);
    }
  }

  /** Starts it, and waits until it answers. */
  up() {
    this.spawn();
    return this.ready();
  }

  /** Ends it by `signal`. */
  async stop(signal = 'SIGTERM') {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    // A whole group is killed; the gateway alone is asked to stop.
    if (signal === 'SIGKILL') kill(this.child.pid, signal); else this.child.kill(signal);
    await this.exited;
  }

  /** The end of its log, without the lines that stand there once for each refused connection. */
  tail() {
    const lines = fs.readFileSync(this.log, 'utf8').split('\n');
    return lines.filter((line) => !/closed before connect|localPort=/.test(line)).join('\n').slice(-4000);
  }
}

function kill(group, signal) {
  try { process.kill(-group, signal); } catch { /* gone */ }
}
