// A wire tap: a TCP relay in front of the gateway that passes every byte as it is and reads along.
//
// The clients under test are processes and libraries that cannot be asked what they received, so the
// frames for the conformance check are taken from the wire. Decoding is passive (RFC 6455 section 5.2):
// a frame the tap cannot read is still relayed. The listening port stays the same while the gateway
// behind it restarts, as the port of a real gateway does; a connection that comes while it is down is
// reset, like a refused one.
import net from 'node:net';
import fs from 'node:fs';
import path from 'node:path';

/** Starts a tap. `target()` says where the gateway is now; frames go to `frames`, an array, as they pass, and to a file if it has a `name`. */
export async function startTap(target, name) {
  const tap = { frames: [], closes: [], cut: () => sockets.forEach((s) => s.destroy()) };
  const sockets = new Set();
  const out = process.env.BARNACLE_FRAMES && name && sink(name);
  const server = net.createServer((client) => {
    const up = net.connect(target(), '127.0.0.1');
    const methods = new Map();
    const fromClient = reader((op, data) => {
      const frame = op === 1 && parse(data);
      if (frame?.type === 'req') methods.set(frame.id, frame.method);
      if (frame) tap.frames.push({ dir: 'client', frame });
    });
    const fromGateway = reader((op, data) => {
      if (op === 8) tap.closes.push({ code: data.length > 1 ? data.readUInt16BE(0) : 1005, reason: data.toString('utf8', 2) });
      const frame = op === 1 && parse(data);
      if (!frame) return;
      const method = frame.type === 'res' ? (methods.get(frame.id) ?? null) : null;
      tap.frames.push({ dir: 'gateway', method, frame });
      if (out) fs.writeSync(out, JSON.stringify({ method, frame }) + '\n');
    });
    for (const [from, to, read] of [[client, up, fromClient], [up, client, fromGateway]]) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (chunk) => { read(chunk); if (to.writable) to.write(chunk); });
      from.on('end', () => to.end());
      from.on('error', () => to.resetAndDestroy());
      from.on('close', () => { sockets.delete(from); to.destroy(); });
    }
    up.on('error', () => client.resetAndDestroy());
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  tap.port = server.address().port;
  tap.close = async () => { tap.cut(); await new Promise((ok) => server.close(ok)); if (out) fs.closeSync(out); };
  return tap;
}

function sink(name) {
  fs.mkdirSync(process.env.BARNACLE_FRAMES, { recursive: true });
  return fs.openSync(path.join(process.env.BARNACLE_FRAMES, `${name}-${process.pid}.jsonl`), 'a');
}

function parse(data) {
  try { return JSON.parse(data.toString()); } catch { return null; }
}

/** Feeds on bytes of one direction: an HTTP head, then WebSocket frames; calls `each(opcode, payload)`. */
function reader(each) {
  let rest = Buffer.alloc(0), head = true, parts = [];
  return (chunk) => {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    if (head) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      head = false;
      rest = rest.subarray(end + 4);
    }
    for (;;) {
      if (rest.length < 2) return;
      const masked = rest[1] & 0x80, short = rest[1] & 0x7f;
      let at = 2, len = short;
      if (short === 126) { if (rest.length < 4) return; len = rest.readUInt16BE(2); at = 4; }
      if (short === 127) { if (rest.length < 10) return; len = Number(rest.readBigUInt64BE(2)); at = 10; }
      const mask = masked && rest.subarray(at, at + 4);
      if (masked) at += 4;
      if (rest.length < at + len) return;
      const data = Buffer.from(rest.subarray(at, at + len));
      if (masked) for (let i = 0; i < len; i++) data[i] ^= mask[i & 3];
      const fin = rest[0] & 0x80, op = rest[0] & 0x0f;
      rest = rest.subarray(at + len);
      if (op >= 8) { each(op, data); continue; }
      parts.push(data);
      if (fin) { each(1, Buffer.concat(parts)); parts = []; }
    }
  };
}
