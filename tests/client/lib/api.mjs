// supabase-js against the PostgREST that tools/postgrest started, as whoever a test wants to be.
import { createHmac, randomUUID } from 'node:crypto';
import { createClient } from '@supabase/supabase-js';

const url = process.env.MPS_REST_URL;
const secret = process.env.MPS_JWT_SECRET;
if (!url || !secret) throw new Error('MPS_REST_URL and MPS_JWT_SECRET are not set: start PostgREST with tools/postgrest');

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const inOneHour = () => Math.floor(Date.now() / 1000) + 3600;

/** A JWT as GoTrue signs it (HS256). */
export function sign(claims, { key = secret, alg = 'HS256' } = {}) {
  const body = `${base64url({ alg, typ: 'JWT' })}.${base64url({ exp: inOneHour(), ...claims })}`;
  const signature = alg === 'none' ? '' : createHmac('sha256', key).update(body).digest('base64url');
  return `${body}.${signature}`;
}

/** The client of whoever holds this JWT. */
export function clientOf(jwt) {
  return createClient(url, jwt, {
    db: { schema: 'app' },
    auth: { persistSession: false, autoRefreshToken: false },
    // Only rpc() and from() are used here; without this, Node below 22 needs a WebSocket package.
    realtime: { transport: class {} },
    // Supabase's gateway serves PostgREST below /rest/v1; PostgREST by itself does not.
    global: { fetch: (input, init) => fetch(String(input).replace('/rest/v1/', '/'), init) },
  });
}

/** A signed-in user, by the id in its JWT. */
export function signedIn(id = randomUUID(), claims = {}) {
  return Object.assign(clientOf(sign({ ...claims, sub: id, role: 'authenticated' })), { id });
}

/** The shop's own server: the service key of Supabase. */
export const backend = clientOf(sign({ role: 'service_role' }));

/** A visitor with the public (anon) key. */
export const visitor = clientOf(sign({ role: 'anon' }));

/** A bare HTTP request, for what supabase-js hides: exact bytes, methods, headers. */
export async function http(method, path, { jwt, body, headers = {} } = {}) {
  const answer = await fetch(`${url}/${path}`, {
    method,
    body,
    headers: {
      'accept-profile': 'app',
      'content-profile': 'app',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(jwt === undefined ? {} : { authorization: `Bearer ${jwt}` }),
      ...headers,
    },
  });
  return { status: answer.status, text: await answer.text() };
}
