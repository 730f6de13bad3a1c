// A stand-in for a language model: an OpenAI chat-completions server that repeats what it was told, in a stream.
//
// A message "slowly <n> …" is answered in n pieces, 200 ms each, so that a run lasts as long as a test needs it to.
import http from 'node:http';

const PIECE_MS = 200;

/** Starts one on a free port. `asked` holds the last user message of every request; `open` counts streams under way. */
export async function startModel() {
  const model = { asked: [], open: 0 };
  const server = http.createServer(async (request, response) => {
    if (!request.url.endsWith('/chat/completions')) return json(response, { object: 'list', data: [{ id: 'echo', object: 'model' }] });
    let body = '';
    for await (const chunk of request) body += chunk;
    const { messages = [], stream } = JSON.parse(body);
    const said = lastUser(messages);
    model.asked.push(said);
    const slowly = /slowly (\d+)/.exec(said);
    const words = slowly ? Array.from({ length: Number(slowly[1]) }, (_, i) => `piece ${i + 1} `) : [`you said: ${said}`];
    const id = `chatcmpl-${model.asked.length}`, head = { id, created: Math.floor(Date.now() / 1000), model: 'echo' };
    const usage = { prompt_tokens: 1, completion_tokens: words.length, total_tokens: words.length + 1 };
    if (!stream) {
      const message = { role: 'assistant', content: words.join('') };
      return json(response, { ...head, object: 'chat.completion', choices: [{ index: 0, message, finish_reason: 'stop' }], usage });
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    model.open++;
    response.once('close', () => model.open--);
    const send = (delta, finish_reason = null, more = {}) => response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`);
    send({ role: 'assistant', content: '' });
    for (const content of words) {
      if (response.destroyed) return;
      if (slowly) await new Promise((ok) => setTimeout(ok, PIECE_MS));
      send({ content });
    }
    send({}, 'stop', { usage });
    response.end('data: [DONE]\n\n');
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  model.url = `http://127.0.0.1:${server.address().port}/v1`;
  model.close = () => { server.closeAllConnections(); return new Promise((ok) => server.close(ok)); };
  return model;
}

function json(response, value) {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

/** What the user said last; OpenClaw adds messages of its own in the user's name, all of one form. */
function lastUser(messages) {
  const text = ({ content }) => (typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join(''));
  return messages.filter((m) => m.role === 'user').map(text).findLast((t) => !t.startsWith('<<<BEGIN_OPENCLAW')) ?? '';
}
