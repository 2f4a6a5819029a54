// What `make api` starts and prints, on a port and with a secret of our own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { psql } from './lib/psql.mjs';
import { freePort, takePort } from './lib/ports.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const tool = join(here, '../../tools/serve');
const database = process.env.MPS_TEST_DB;
const secret = 'a "secret" of at least thirty-two $characters';
const secretLine = new RegExp(`^secret +${secret.replace('$', '\\$')}$`, 'm');
const directory = mkdtempSync(join(tmpdir(), 'mps-api-'));
let port, printed;

const api = (verb, environment = {}) =>
  execFileSync(tool, [verb, database, directory], {
    env: { ...process.env, PORT: String(port), PGRST_JWT_SECRET: secret, ...environment },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

const printedAs = (name) => new RegExp(`^${name} +(\\S+)$`, 'm').exec(printed)[1];

before(async () => {
  port = await freePort();
  printed = api('start');
});

after(() => {
  api('stop');
  rmSync(directory, { recursive: true });
});

test('it listens where it was asked to, and signs with the secret that it was given', () => {
  assert.equal(printedAs('URL'), `http://127.0.0.1:${port}`);
  assert.match(printed, secretLine);
  const claims = (name) => JSON.parse(Buffer.from(printedAs(name).split('.')[1], 'base64url').toString());
  assert.equal(claims('member').role, 'authenticated');
  assert.equal(claims('operator').role, 'authenticated');
  assert.equal(claims('service_role').role, 'service_role');
});

test('the printed snippet runs as it is, again and again', () => {
  const snippet = /\/\/ -- snippet\n([^]*)\/\/ -- end/.exec(printed)[1];
  const file = join(here, `.snippet-${process.pid}.mjs`);
  writeFileSync(file, snippet);
  try {
    for (const balance of ['81.5', '163']) {
      const said = execFileSync('node', [file], { encoding: 'utf8', env: { PATH: process.env.PATH } });
      assert.match(said, /ZF\d+ took 18\.5/);
      assert.ok(said.includes(balance), said);
    }
  } finally {
    rmSync(file);
  }
  const statement = "SELECT count(*) FROM app.transactions t JOIN app.merchants m ON m.id = t.merchant_id WHERE m.code = 'CAFE-001'";
  assert.equal(psql(statement), '2');
});

test('below /rest/v1 and without it, with every answer of PostgREST passed on', async () => {
  const headers = { authorization: `Bearer ${printedAs('member')}`, 'accept-profile': 'app' };
  for (const path of ['/rest/v1/error_codes?token=eq.ARCHIVED', '/error_codes?token=eq.ARCHIVED']) {
    const answer = await fetch(`${printedAs('URL')}${path}`, { headers });
    assert.equal(answer.status, 200);
    assert.equal((await answer.json())[0].http_status, 409);
  }
  const page = await (await fetch(`${printedAs('URL')}/rest/v1/`, { headers })).json();
  assert.deepEqual([page.host, page.basePath], [`127.0.0.1:${port}`, '/rest/v1']);
  const refused = await fetch(`${printedAs('URL')}/rest/v1/rpc/tx_by_no?p_tx_no=ZF1`, { headers });
  assert.equal(refused.status, 404);
  assert.equal((await refused.json()).message, 'TX_NOT_FOUND');
  const visitor = await fetch(`${printedAs('URL')}/rest/v1/v_user_cards`);
  assert.equal(visitor.status, 401);
  const preflight = await fetch(`${printedAs('URL')}/rest/v1/rpc/tx_by_no`, { method: 'OPTIONS' });
  assert.deepEqual([preflight.status, preflight.headers.get('access-control-allow-origin')], [204, '*']);
});

test('without a secret the one of before is kept, and so are the keys', () => {
  const key = printedAs('member').split('.')[2];
  const again = api('start', { PGRST_JWT_SECRET: '' });
  assert.match(again, secretLine);
  assert.ok(key);
});

test('a database that was made before the roles were there gets their levels', () => {
  const levels = `SELECT has_function_privilege('authenticated', 'sec.level_client()', 'EXECUTE'),
                         has_function_privilege('service_role', 'sec.level_backend()', 'EXECUTE')`;
  psql("SELECT sec.revoke_api('authenticated', 'client'), sec.revoke_api('service_role', 'backend')");
  assert.equal(psql(levels), 'f|f');
  printed = api('start');
  assert.equal(psql(levels), 't|t');
});

test('a port that is taken and a secret that is too short are said so', async () => {
  assert.throws(() => api('start', { PGRST_JWT_SECRET: 'short' }), /shorter than 32 characters/);
  const { port: taken, server: other } = await takePort();
  assert.throws(() => api('start', { PORT: String(taken) }), new RegExp(`port ${taken} is not to be had`));
  other.close();
  printed = api('start');
});

test('plain PostgREST answers createClient with 404: that is what the proxy is for', async () => {
  const answer = await fetch(`${process.env.MPS_REST_URL}/rest/v1/v_user_cards`);
  assert.equal(answer.status, 404);
});
