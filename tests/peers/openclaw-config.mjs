// openclaw.json of a gateway `g`, whose model is the stand-in `model`.
export const config = (g, model) => JSON.stringify({
  gateway: { mode: 'local', bind: 'loopback', port: g.port, auth: { mode: 'token', token: g.token } },
  update: { checkOnStart: false },
  agents: { defaults: { model: { primary: 'stand-in/echo' } } },
  models: {
    providers: {
      'stand-in': {
        baseUrl: model.url, apiKey: 'none', api: 'openai-completions',
        models: [{ id: 'echo', name: 'echo', contextWindow: 32000, maxTokens: 1000 }],
      },
    },
  },
}, null, 2);
