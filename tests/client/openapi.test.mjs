// The page that PostgREST makes of the schema: what a developer who opens the URL reads.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { http, sign } from './lib/api.mjs';
import { psql } from './lib/psql.mjs';

async function pageOf(role) {
  const { status, text } = await http('GET', '', { jwt: sign({ role, sub: '7d3f5a52-26c1-4a3b-9a10-0d6f5b1f8a11' }) });
  assert.equal(status, 200, text);
  return JSON.parse(text);
}

const views = ['error_codes', 'v_member_coupons', 'v_usage_logs', 'v_user_cards'];

for (const role of ['authenticated', 'service_role']) {
  test(`${role}: every function has a summary of one sentence and a description`, async () => {
    const { paths } = await pageOf(role);
    const rpcs = Object.entries(paths).filter(([path]) => path.startsWith('/rpc/'));
    assert.ok(rpcs.length >= 16, `${rpcs.length}`);
    for (const [path, { post }] of rpcs) {
      assert.match(post.summary, /^[A-Z][^]{0,159}\.$/, path);
      assert.doesNotMatch(post.summary, /\. [A-Z]|\n/, path);
      assert.match(post.description, /Results: /, path);
    }
  });

  test(`${role}: no batch of a job is there, and nothing of operators`, async () => {
    const { paths } = await pageOf(role);
    const strangers = Object.keys(paths).filter((path) => /_batch|maintain|archive|migrate|\/verify|health|schedule/.test(path));
    assert.deepEqual(strangers, []);
  });

  test(`${role}: views have no verb of writing, and every column is described`, async () => {
    const { paths, definitions } = await pageOf(role);
    for (const [relation, { properties }] of Object.entries(definitions)) {
      // The page shows columns that the role may not read, too.
      const granted = psql(
        `SELECT attname FROM pg_attribute WHERE attrelid = 'app.${relation}'::regclass AND attnum > 0
         AND has_column_privilege('${role}', attrelid, attnum, 'SELECT')`,
      );
      for (const column of granted.split('\n')) assert.ok(properties[column].description, `${relation}.${column}`);
    }
    for (const view of views) {
      assert.deepEqual(Object.keys(paths[`/${view}`]), ['get'], view);
      for (const [column, { description }] of Object.entries(definitions[view].properties)) {
        assert.ok(description, `${view}.${column}`);
      }
    }
  });

  // PostgREST shows the verbs of writing on every table, whatever may be done to it.
  test(`${role}: what the page offers of writing to tables is refused`, async () => {
    const { paths } = await pageOf(role);
    const tables = Object.entries(paths).filter(([path, verbs]) => !path.startsWith('/rpc/') && verbs.post);
    assert.ok(tables.length >= 8);
    for (const [path] of tables) {
      const table = path.slice(1);
      const column = psql(`SELECT attname FROM pg_attribute WHERE attrelid = 'app.${table}'::regclass AND attnum = 1`);
      for (const [method, query] of [['POST', ''], ['PATCH', `?${column}=is.null`], ['DELETE', `?${column}=is.null`]]) {
        const body = method === 'DELETE' ? undefined : JSON.stringify({ [column]: null });
        const jwt = sign({ role, sub: '7d3f5a52-26c1-4a3b-9a10-0d6f5b1f8a11' });
        const { status, text } = await http(method, `${table}${query}`, { jwt, body });
        assert.deepEqual([status, JSON.parse(text).code], [403, '42501'], `${method} ${table}: ${text}`);
      }
    }
  });
}

test('anon sees nothing', async () => {
  assert.deepEqual(Object.keys((await pageOf('anon')).paths), ['/']);
});
