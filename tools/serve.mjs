// The front of `tools/serve`: Supabase's gateway serves PostgREST below /rest/v1, and createClient() asks there; PostgREST by
// itself answers that with 404.
//
//   node serve.mjs serve PORT URL    passes http://127.0.0.1:PORT/rest/v1/... (and /...) on to PostgREST at URL
//   node serve.mjs print PORT        prints the URL, keys signed with MPS_JWT_SECRET, and a snippet
import { createHmac } from 'node:crypto';
import { createServer, request } from 'node:http';

const [verb, port, target] = process.argv.slice(2);
const cors = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, HEAD, POST, OPTIONS',
  'access-control-allow-headers': '*, authorization, apikey, content-type, accept-profile, content-profile, prefer, x-client-info',
};

function serve() {
  const server = createServer((incoming, answer) => {
    if (incoming.method === 'OPTIONS') return answer.writeHead(204, cors).end();
    const url = new URL(incoming.url.replace(/^\/rest\/v1(?=\/|\?|$)/, '') || '/', target);
    const { host, ...headers } = incoming.headers;
    const outgoing = request(url, { method: incoming.method, headers }, (from) => {
      answer.writeHead(from.statusCode, { ...from.headers, ...cors });
      from.pipe(answer);
    });
    outgoing.on('error', (error) => answer.writeHead(502, cors).end(JSON.stringify({ message: `PostgREST: ${error.message}` })));
    incoming.pipe(outgoing);
  });
  server.on('error', (error) => {
    console.log(error.message);
    process.exit(1);
  });
  server.listen(Number(port), '127.0.0.1', () => console.log('listens'));
}

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A key as Supabase signs it (HS256), good for ten years. */
function key(claims) {
  const body = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url({ ...claims, exp: Math.floor(Date.now() / 1000) + 315360000 })}`;
  return `${body}.${createHmac('sha256', process.env.MPS_JWT_SECRET).update(body).digest('base64url')}`;
}

function print() {
  const url = `http://127.0.0.1:${port}`;
  const member = key({ role: 'authenticated', sub: '11111111-1111-4111-8111-111111111111' });
  const till = key({ role: 'authenticated', sub: '22222222-2222-4222-8222-222222222222' });
  const server = key({ role: 'service_role' });
  console.log(`The API listens until \`make api-stop\`.

URL              ${url}
page (OpenAPI)   curl -H "Authorization: Bearer $KEY" ${url}/rest/v1/
secret           ${process.env.MPS_JWT_SECRET}
member           ${member}
operator         ${till}
service_role     ${server}

The member's user is 11111111-1111-4111-8111-111111111111, the operator's 22222222-2222-4222-8222-222222222222, a cashier of the
merchant CAFE-001. Keys for others: sign {"role": "authenticated", "sub": "<uuid>", "exp": ...} with the secret (HS256).

A snippet that runs, from a directory with @supabase/supabase-js (tests/client is one):

// -- snippet
import { createClient } from '@supabase/supabase-js'

const as = (key) => createClient('${url}', key, {
  db: { schema: 'app' },
  auth: { persistSession: false },
  realtime: { transport: class {} }, // for Node below 22 only: MPS needs no websockets
})
const must = ({ data, error }) => {
  if (error) throw new Error(\`\${error.message}: \${error.details}\`)
  return data
}
const member = as('${member}')
const till = as('${till}')
const server = as('${server}')

const [me] = must(await member.rpc('register_member', { p_name: 'Li Lei' }))
must(await server.rpc('user_recharge_personal_card', { p_personal_card_id: me.card_id, p_amount: 100, p_payment_method: 'cash' }))
const [code] = must(await member.rpc('rotate_card_qr', { p_card_id: me.card_id }))
const [paid] = must(await till.rpc('merchant_charge_by_qr', { p_merchant_code: 'CAFE-001', p_qr_plain: code.qr_plain, p_amount: 18.5 }))
console.log(paid.tx_no, 'took', paid.final_amount)
const page = must(await member.rpc('card_statement', { p_card_id: me.card_id, p_limit: 5 }))
console.table(page, ['tx_no', 'tx_type', 'change', 'balance_after'])
// -- end`);
}

({ serve, print })[verb]();
